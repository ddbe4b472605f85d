"""The wheel and the source distribution: what is in them, and that an empty environment needs nothing else."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from rosterd import __version__
from tests.packages import TREE, built_sdist, built_wheel, copied_tree, unpacked

DAEMON: Final = TREE / "daemon"
SHARE: Final = f"rosterd-{__version__}.data/data/share"
SHARED: Final = {
    "man/man1/rosterd.1": "docs/man/rosterd.1",
    "rosterd/errors/503.http": "haproxy/errors/503.http",
    "rosterd/haproxy.cfg.j2": "haproxy/haproxy.cfg.j2",
    "rosterd/haproxy.service.conf": "haproxy/standalone/haproxy.service.conf",
    "rosterd/rosterd.service": "haproxy/standalone/rosterd.service",
    "rosterd/rosterd.toml": "haproxy/rosterd.toml",
    "rosterd/serf.json": "haproxy/standalone/serf.json",
    "rosterd/serf.service": "haproxy/standalone/serf.service",
    "rosterd/state_handler.py": "compose/node/state_handler.py",
    "rosterd/supervisord.conf": "haproxy/standalone/supervisord.conf",
    "rosterd/tmpfiles.conf": "haproxy/standalone/tmpfiles.conf",
}
"""What an installation starts from, and where it stands in the tree."""

INSTALL_S: Final = 300.0
RUN_S: Final = 30.0


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what distributions are made from."""
    return copied_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return built_wheel(tree, tmp_path_factory.mktemp("wheel"))


def content(wheel: Path) -> dict[str, bytes]:
    """Return all files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_all_of_the_daemon_and_what_it_starts_from(wheel: Path) -> None:
    """Each file of the package, the manual page, template, settings and units; and nothing else of the tree."""
    package = {str(path.relative_to(DAEMON)): path for path in (DAEMON / "rosterd").rglob("*") if path.is_file()}
    shared = {f"{SHARE}/{name}": TREE / source for name, source in SHARED.items()}
    wanted = {name: path.read_bytes() for name, path in (package | shared).items() if "__pycache__" not in name}
    assert {name: data for name, data in content(wheel).items() if ".dist-info/" not in name} == wanted


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    """The package's own; the metadata have it from there."""
    metadata = email.message_from_bytes(content(wheel)[f"rosterd-{__version__}.dist-info/METADATA"])
    assert metadata["Version"] == __version__
    for name in ("setup.cfg", "pyproject.toml", "README.md", "compose/Dockerfile", "compose/compose.yaml"):
        assert __version__ not in (TREE / name).read_text(encoding="utf-8"), name


def test_the_source_distribution_gives_the_same_wheel(tree: Path, wheel: Path, tmp_path: Path) -> None:
    """It lacks nothing that the wheel is made from."""
    sources = unpacked(built_sdist(tree, tmp_path / "sdist"), tmp_path / "unpacked")
    assert content(built_wheel(sources, tmp_path / "wheel")) == content(wheel)


@dataclass(frozen=True)
class Environment:
    """A virtual environment, in which nothing is but what a balancer needs."""

    path: Path

    @property
    def share(self) -> Path:
        """What an installation starts from."""
        return self.path / "share" / "rosterd"

    def runs(self, program: str, *arguments: str, **environ: str) -> str:
        """Run a program of this environment away from the tree, and return what it says."""
        done = subprocess.run(
            [self.path / "bin" / program, *arguments],
            cwd=self.path,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environ,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "" or program == "pip", done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment that was empty, filled as docs/operations.md says, from where the set-up has its packages."""
    made = Environment(tmp_path_factory.mktemp("environment"))
    subprocess.run([sys.executable, "-m", "venv", made.path], check=True, timeout=INSTALL_S)
    locked = TREE / "requirements" / "balancer.lock"
    made.runs("pip", "install", "--quiet", "--require-hashes", "--requirement", str(locked))
    made.runs("pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    return made


def test_an_empty_environment_needs_nothing_else(environment: Environment) -> None:
    """Every requirement of the metadata is locked, and the command knows its version and its commands."""
    environment.runs("pip", "check")
    assert environment.runs("rosterd", "--version") == f"rosterd {__version__}\n"
    assert "  run " in environment.runs("rosterd", "--help")


def test_what_it_starts_from_is_fit_to_start_from(environment: Environment) -> None:
    """The settings, template and page that come with it pass the check with a real HAProxy."""
    said = environment.runs(
        "rosterd",
        "check",
        "--settings",
        str(environment.share / "rosterd.toml"),
        ROSTERD_PROXY__TEMPLATE_FILE=str(environment.share / "haproxy.cfg.j2"),
        ROSTERD_PROXY__ERRORS_503_FILE=str(environment.share / "errors" / "503.http"),
    )
    assert said.endswith("are valid\n")


def test_the_manual_page_is_found(environment: Environment) -> None:
    """Below the environment, where `man` looks for it when `bin` is in the path."""
    page = environment.path / "share" / "man" / "man1" / "rosterd.1"
    assert page.read_bytes() == (TREE / "docs" / "man" / "rosterd.1").read_bytes()
    if shutil.which("man"):
        found = subprocess.run(
            ["man", "-w", "rosterd"],
            env=os.environ | {"PATH": f"{environment.path / 'bin'}:{os.environ['PATH']}", "MANPATH": ""},
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert found.stdout.strip() == str(page)

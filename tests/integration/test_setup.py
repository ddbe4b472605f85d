"""What compose/setup does with .venv, seen on a small tree of its own that needs no package index."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "compose" / "setup"
LOCKS = ("balancer", "webapp", "dev", "build")
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = '''
"""Builds an empty editable wheel."""
import pathlib, zipfile

METADATA = "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n"
WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("small-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("small-1.0.dist-info/WHEEL", WHEEL)
        wheel.writestr("small-1.0.dist-info/RECORD", "")
    return name
'''


def run(tree: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tree's own compose/setup, with the Python of these tests and without an index."""
    return subprocess.run(
        [tree / "compose" / "setup", *arguments],
        env=os.environ | {"PYTHON": sys.executable, "PIP_NO_INDEX": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def make_tree(tree: Path) -> Path:
    """Lay out a project with empty lock files and a build backend of its own."""
    (tree / "compose").mkdir(parents=True)
    shutil.copy(SETUP, tree / "compose" / "setup")
    (tree / "requirements").mkdir()
    for lock in LOCKS:
        (tree / "requirements" / f"{lock}.lock").write_text("")
    (tree / "setup.cfg").write_text("")
    (tree / "pyproject.toml").write_text(PYPROJECT)
    (tree / "backend.py").write_text(BACKEND)
    return tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree on which set-up has run for the demo."""
    tree = make_tree(tmp_path_factory.mktemp("setup") / "tree")
    result = run(tree, "demo")
    assert result.returncode == 0, result.stderr
    return tree


def change_lock(tree: Path) -> None:
    """Ask for other packages."""
    with (tree / "requirements" / "webapp.lock").open("a") as lock:
        lock.write("# changed\n")


def lose_interpreter(tree: Path) -> None:
    """Leave a .venv whose Python was removed from the machine."""
    python = tree / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(tree / "gone")


def test_a_second_run_does_and_says_nothing(tree: Path) -> None:
    """Where all is in place, set-up leaves .venv as it is and prints nothing."""
    (tree / ".venv" / "mine").touch()
    result = run(tree, "demo")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tree / ".venv" / "mine").exists()


@pytest.mark.parametrize("damage", [change_lock, lose_interpreter])
def test_a_doubtful_venv_is_made_anew(tree: Path, damage: Callable[[Path], None]) -> None:
    """A .venv that is stale or broken is replaced whole, and set-up says so."""
    (tree / ".venv" / "surplus").touch()
    damage(tree)
    result = run(tree, "demo")
    assert result.returncode == 0, result.stderr
    assert "making it anew" in result.stdout
    assert not (tree / ".venv" / "surplus").exists()
    assert run(tree, "demo").stdout == ""


def test_the_test_tools_are_added_to_what_the_demo_has(tree: Path) -> None:
    """The test level builds on a finished demo level, and then serves both."""
    (tree / ".venv" / "mine").touch()
    result = run(tree, "test")
    assert result.returncode == 0, result.stderr
    assert "adding what the tests and checks need" in result.stdout
    assert (tree / ".venv" / "mine").exists()
    assert run(tree, "demo").stdout == run(tree, "test").stdout == ""


def test_a_failed_set_up_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    """When pip fails its own reason is shown, and what it left carries no stamp."""
    tree = make_tree(tmp_path / "tree")
    (tree / "requirements" / "balancer.lock").write_text(f"jinja2==3.1.6 --hash=sha256:{'0' * 64}\n")
    result = run(tree, "demo")
    assert result.returncode == 1
    assert "jinja2==3.1.6" in result.stderr
    assert "pip could not install the locked packages" in result.stderr
    assert list((tree / ".venv").glob(".ready-*")) == []


def test_path_with_blanks_and_other_characters(tmp_path: Path) -> None:
    """A clone may lie anywhere: the programs in .venv start there too."""
    tree = make_tree(tmp_path / "a clöne")
    result = run(tree, "demo")
    assert (result.returncode, result.stderr) == (0, "")
    assert run(tree, "demo").stdout == ""
    assert subprocess.run([tree / ".venv" / "bin" / "pip", "--version"], check=False, timeout=60).returncode == 0


def test_a_level_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    """Set-up names its levels and touches nothing."""
    tree = make_tree(tmp_path / "tree")
    result = run(tree, "everything")
    assert (result.returncode, result.stderr) == (
        2,
        "usage: compose/setup [demo|test|bench|e2e|faults|browser|monitoring|matrix|fresh]\n",
    )
    assert not (tree / ".venv").exists()


def test_a_python_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """A PYTHON that is none of the supported ones is refused before anything is made."""
    tree = make_tree(tmp_path / "tree")
    result = run(tree, "demo", PYTHON="/bin/true")
    assert result.returncode == 1
    assert "PYTHON=/bin/true" in result.stderr
    assert not (tree / ".venv").exists()


def test_without_apt_what_is_missing_is_named(tmp_path: Path) -> None:
    """On a system without apt-get the message says what to install by hand."""
    tree = make_tree(tmp_path / "tree")
    result = run(tree, "demo", PATH=str(tools_without_apt(tmp_path)))
    assert result.returncode == 1
    assert "serf" in result.stderr
    assert "apt-get" in result.stderr
    assert not (tree / ".venv").exists()


def tools_without_apt(tmp_path: Path) -> Path:
    """A folder with the few programs that set-up itself needs."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "readlink", "cat", "sha256sum", "flock", "id", "mktemp", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)
    return tools


def test_python_that_lacks_only_venv_is_said_to_lack_only_venv(tmp_path: Path) -> None:
    """Debian packs venv apart: a fitting Python is not called missing."""
    tree = make_tree(tmp_path / "tree")
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    result = run(tree, "demo", PATH=str(tools_without_apt(tmp_path)), PYTHON=str(python))
    assert result.returncode == 1
    assert f"python{sys.version_info[0]}.{sys.version_info[1]}-venv" in result.stderr
    assert "python3-venv" not in result.stderr


def test_what_pip_warns_of_is_printed_only_where_something_fails(tmp_path: Path) -> None:
    """A set-up that succeeds prints its own lines; one that fails prints all that pip printed too."""
    tree = make_tree(tmp_path / "tree")
    wheel = make_wheel(tmp_path / "wheels")
    links = f"/no/such/folder {wheel.parent}"
    lock = tree / "requirements" / "balancer.lock"
    lock.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    refused = run(tree, "demo", PIP_FIND_LINKS=links)
    assert refused.returncode == 1
    assert "/no/such/folder" in refused.stderr
    lock.write_text(f"tiny==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    accepted = run(tree, "demo", PIP_FIND_LINKS=links)
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert all(line.startswith("setup: ") for line in accepted.stdout.splitlines())


def make_wheel(folder: Path) -> Path:
    """A wheel that holds nothing but its metadata."""
    folder.mkdir()
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return wheel


@pytest.fixture
def other_users_venv() -> Iterator[tuple[Path, list[str]]]:
    """A tree with a .venv that this user cannot replace, and the words that make a command run as this user."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tree = make_tree(Path(folder) / "tree")
        locked = tree / ".venv" / "lib"
        locked.mkdir(parents=True)
        (locked / "a file").touch()
        locked.chmod(0o555)
        as_user: list[str] = []
        if os.geteuid() == 0:
            for path in (tree, *tree.rglob("*")):
                if locked not in (path, path.parent):
                    os.chown(path, 65534, 65534)
            as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        yield tree, as_user
        locked.chmod(0o755)


def test_venv_of_another_user_is_named_with_a_remedy(other_users_venv: tuple[Path, list[str]]) -> None:
    """The set-up prints one line, before anything is removed."""
    tree, as_user = other_users_venv
    result = subprocess.run(
        [*as_user, str(tree / "compose" / "setup"), "demo"], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"remove it first: sudo rm -rf '{tree}/.venv'" in result.stderr
    assert (tree / ".venv" / "lib" / "a file").exists()


def test_tree_that_cannot_be_written_is_named(other_users_venv: tuple[Path, list[str]]) -> None:
    """Where not even the folder may be changed, no .venv is begun."""
    tree, as_user = other_users_venv
    if as_user:
        os.chown(tree, 0, 0)
    tree.chmod(0o555)
    result = subprocess.run(
        [*as_user, str(tree / "compose" / "setup"), "demo"], capture_output=True, text=True, check=False, timeout=60
    )
    tree.chmod(0o755)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"{tree}: " in result.stderr
    assert "cannot write there" in result.stderr

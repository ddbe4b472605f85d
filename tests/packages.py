"""The wheel and the source distribution, built from this tree as `pip` and `build` would build them.

Built by the backend that pyproject.toml names, in the version that requirements/build.lock has, from a copy of the
files that it may look at: what it needs besides would be missed there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ("LICENSE", "README.md", "compose", "daemon", "docs/man", "haproxy", "pyproject.toml", "setup.cfg")
BUILD: Final = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
BUILD_S: Final = 120.0


def copied_tree(directory: Path) -> Path:
    """Copy what distributions are made from, without what a run leaves behind."""
    for name in SOURCES:
        source, target = TREE / name, directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "wheels"))
        else:
            shutil.copyfile(source, target)
    return directory


def built_wheel(tree: Path, directory: Path) -> Path:
    """Build the wheel of a tree."""
    return _built("build_wheel", tree, directory)


def built_sdist(tree: Path, directory: Path) -> Path:
    """Build the source distribution of a tree."""
    return _built("build_sdist", tree, directory)


def _built(hook: str, tree: Path, directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, hook, str(directory)],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{hook}: {done.stderr}")
    return directory / done.stdout.splitlines()[-1]


def unpacked(archive: Path, directory: Path) -> Path:
    """Unpack a wheel, or a source distribution, of which the only folder is returned."""
    directory.mkdir()
    if archive.suffix == ".whl":
        shutil.unpack_archive(archive, directory, "zip")
        return directory
    subprocess.run(["tar", "-xf", archive, "-C", directory], check=True, timeout=BUILD_S)
    (folder,) = directory.iterdir()
    return folder

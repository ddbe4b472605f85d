"""Which programs there are: those that a node runs, and those that speak to it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from compose.model import ClusterError

NODE_PROGRAMS = ("haproxy", "serf", "supervisord")


def search_path() -> str:
    """Where programs are: beside this Python, where the caller looks, and where Debian keeps daemons."""
    beside = str(Path(sys.executable).parent)
    return os.pathsep.join([beside, os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])


def find_program(name: str) -> str:
    """The path of a program.

    Raises:
        ClusterError: there is none of that name.
    """
    path = shutil.which(name, path=search_path())
    if path is None:
        raise ClusterError(f"there is no program `{name}`; run `make setup`")
    return path


def require_node_programs() -> None:
    """Make sure that a node can run here.

    Raises:
        ClusterError: programs are missing, all of them named.
    """
    missing = [name for name in NODE_PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        raise ClusterError(f"there is no program {', '.join(missing)}; run `make setup`")

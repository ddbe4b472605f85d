"""Becomes the supervisord of a node in a container: makes the node's places and keys, and executes it.

    python -m compose.node.container DEFINITION     such as webapp/supervisord.conf

Places and keys are named by the environment, as compose/Dockerfile sets it. Rules:

- The file system of a container is read-only but for what is mounted: what a mount begins without is made here.
- The cluster's keys lie on a volume that all nodes share. Whoever comes first makes them; of two who come at once one
  wins and both use its keys. The RPC key never leaves the container.
- What a node has not yet handed to the log collector lies in a directory of its own on a volume that outlives it. What
  nodes that are long gone left there is removed.
- NODE, the name that people know the node by, is the container's host name unless it is given.
- A container on several networks says by NODE_HOST, its name on one of them, at which address its agent is a member.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_BYTES = 32
GONE_S = 14 * 86_400.0
"""A node whose spool is older is not coming back."""

SHARED_KEYS = ("SERF_ENCRYPT_KEY_FILE", "WEBAPP_SECRET_FILE")
OWN_KEYS = ("SERF_RPC_AUTH_FILE",)
SUPERVISORD = "/usr/bin/supervisord"
EXIT_CANNOT = 2


def prepare(environ: Mapping[str, str]) -> dict[str, str]:
    """Make directories and keys that are missing; the environment that the node's programs get.

    Raises:
        OSError: a place cannot be written, named by the error; or NODE_HOST does not resolve.
    """
    node = environ.get("NODE") or socket.gethostname()
    spool = Path(environ["NODE_SPOOL"]) / node
    for place in (Path(environ["NODE_LOGS"]), spool):
        place.mkdir(parents=True, exist_ok=True)
    forget_gone(spool)
    for variable in (*SHARED_KEYS, *OWN_KEYS):
        if environ.get(variable):
            make_key(Path(environ[variable]))
    own = {"NODE": node, "NODE_SPOOL": str(spool)}
    if environ.get("NODE_HOST"):
        own["NODE_ADDRESS"] = socket.gethostbyname(environ["NODE_HOST"])
    return {**environ, **own}


def forget_gone(spool: Path) -> None:
    """Remove what nodes left beside `spool` that have not written there for long; what cannot be removed stays."""
    os.utime(spool)
    latest = spool.stat().st_mtime
    for place in spool.parent.iterdir():
        # Another node may remove it at the same time.
        with contextlib.suppress(OSError):
            if latest - max(each.stat().st_mtime for each in (place, *place.iterdir())) > GONE_S:
                shutil.rmtree(place)


def make_key(path: Path) -> None:
    """Put a new key there unless there is one, whole or not at all, for its owner only."""
    if path.exists():
        return
    descriptor, candidate = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())
            file.flush()
            os.fsync(file.fileno())
        Path(candidate).chmod(0o400)
        try:
            path.hardlink_to(candidate)
        except FileExistsError:  # another node was faster, and its key is the cluster's
            return
    finally:
        Path(candidate).unlink()


def main() -> None:
    """Prepare, and become supervisord."""
    try:
        environ = prepare(os.environ)
    except OSError as error:
        sys.stderr.write(f"container: {error}\n")
        sys.exit(EXIT_CANNOT)
    os.execve(SUPERVISORD, [SUPERVISORD, "-c", *sys.argv[1:]], environ)  # noqa: S606  becomes the supervisor


if __name__ == "__main__":
    main()

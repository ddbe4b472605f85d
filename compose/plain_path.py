"""Paths that every program of a node understands.

supervisord, HAProxy and Serf split their files and command lines at blanks, commas and other characters. A folder whose
path has any of these is reached through a symbolic link with a plain name, below a folder of this user.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from compose.model import ClusterError

_PLAIN = re.compile(r"[A-Za-z0-9_./+@-]+")
_DIGEST_LENGTH = 12


def plain(path: Path) -> Path:
    """The path itself where it is plain, else a link to it, which is made where there is none.

    Raises:
        ClusterError: the folder for the links cannot be used.
    """
    if _PLAIN.fullmatch(str(path)):
        return path
    link = _folder_of_links() / hashlib.sha256(os.fsencode(path)).hexdigest()[:_DIGEST_LENGTH]
    if not link.is_symlink():
        candidate = link.with_name(f"{link.name}.{os.getpid()}")
        candidate.unlink(missing_ok=True)
        candidate.symlink_to(path)
        candidate.replace(link)
    return link


def _folder_of_links() -> Path:
    """A folder that this user alone can write."""
    folder = Path(tempfile.gettempdir()) / f"rosterd-{os.getuid()}"
    if not _PLAIN.fullmatch(str(folder)):
        raise ClusterError(
            f"{folder}: has characters that HAProxy or supervisord do not take; set TMPDIR to a plain path"
        )
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ClusterError(f"{folder}: is not a folder of this user alone; remove it, or set TMPDIR to another place")
    return folder

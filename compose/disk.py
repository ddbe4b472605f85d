"""What a person reads where a file cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room below the quota of this user",
    errno.EROFS: "use a clone on a disk that can be written",
}


def explained(error: OSError, folder: Path) -> str | None:
    """One line with the path and the remedy; None for an error that is not about writing files.

    Args:
        error: What a file operation raised.
        folder: Where the files are, for an error that names none.
    """
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else folder
    if error.errno in _REMEDIES:
        return f"{path}: {error.strerror}; {_REMEDIES[error.errno]}"
    if isinstance(error, PermissionError):
        owned = next((one for one in (path, *path.parents) if one.exists()), path)
        return f"{path}: {error.strerror}; {owned} belongs to {_owner(owned)}: sudo chown -R {_me()} '{owned}'"
    return None


def _me() -> str:
    return str(os.getuid())


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "another user"

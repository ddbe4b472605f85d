from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from compose.disk import explained


def error(number: int, path: str | None) -> OSError:
    """An error as the kernel reports it."""
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("number", "path", "expected"),
    [
        (errno.ENOSPC, "/a/b", "/a/b: No space left on device; make room on that disk"),
        (errno.ENOSPC, None, "/run: No space left on device; make room on that disk"),
        (errno.EROFS, "/a/b", "/a/b: Read-only file system; use a clone on a disk that can be written"),
        (errno.EACCES, "/", f"/: Permission denied; / belongs to root: sudo chown -R {os.getuid()} '/'"),
        (errno.EPIPE, "/a/b", None),
    ],
)
def test_error_names_path_and_remedy(number: int, path: str | None, expected: str | None) -> None:
    """An error that is not about writing files stays what it is."""
    assert explained(error(number, path), Path("/run")) == expected

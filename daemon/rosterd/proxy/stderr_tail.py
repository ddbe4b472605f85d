"""What HAProxy writes on its standard error, where that can be read: the reason of a failure that it does not answer.

HAProxy 2.6 answers a reload with nothing, and one that ends answers nothing more. Rules:

- Only what was written since the reload began is read, and only its end when it is much.
- A file that its supervisor has begun anew is read from its start.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from rosterd.proxy.commands import parse_messages
from rosterd.proxy.process import MasterProcess

_MAX_BYTES = 65536
_PATIENCE_S = 0.3
_POLL_S = 0.03


@dataclass(frozen=True, slots=True)
class StderrTail:
    """The end of HAProxy's standard error; `path` is None where it is no file that can be read here."""

    path: Path | None
    offset: int
    whereabouts: str

    async def alerts(self) -> tuple[str, ...]:
        """What HAProxy complained of since; a supervisor that writes the file for it may take a moment."""
        if self.path is None:
            return ()
        for _ in range(round(_PATIENCE_S / _POLL_S)):
            if alerts := parse_messages(self._read(self.path)).alerts:
                return alerts
            await asyncio.sleep(_POLL_S)
        return ()

    def _read(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                begin = self.offset if self.offset <= size else 0
                file.seek(max(begin, size - _MAX_BYTES))
                return file.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""


def stderr_tail(file: Path | None, process: MasterProcess | None) -> StderrTail:
    """The standard error from here on: the file that the settings name, or the one that the process itself has open."""
    target = "" if process is None else process.stderr
    path = file or (Path(target) if target.startswith("/") else None)
    size = _size_of_file(path)
    if path is not None and size is not None:
        return StderrTail(path, size, f"it is in {path}")
    if target == os.devnull:
        return StderrTail(None, 0, "it is not written (-q); start HAProxy by hand without -q on that file to see it")
    if target.startswith("socket:"):
        return StderrTail(None, 0, "it is in the journal of HAProxy's service (journalctl)")
    return StderrTail(None, 0, "it is in the log that HAProxy's supervisor keeps; proxy.stderr_file names it")


def _size_of_file(path: Path | None) -> int | None:
    """The size of a regular file; None for anything else."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return found.st_size if found and stat.S_ISREG(found.st_mode) else None

"""When an edit is whole: the files have stood still, and no writer that is known of holds one of them open.

Pure. The watcher says what happened to a file, the caller what the files look like now; time is an argument. Rules:

- A file that was moved into place is whole at once: a rename puts a finished file there.
- A file that was written in place is whole when its writer has closed it and two looks, `QUIET_S` apart, are the same.
  Between a write and the close, the writer is waited for, for `OPEN_QUIET_S` after its last write.
- A change that no watcher saw (behind a link, on a mount without events) has no close: two looks have to be the same
  for `UNSEEN_QUIET_S`.
- All changed files have to be whole: settings and template that are edited together are read together.
- An edit is read at the latest `MAX_WAIT_S` after its first change, however it looks then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

QUIET_S = 0.1
UNSEEN_QUIET_S = 1.0
OPEN_QUIET_S = 10.0
MAX_WAIT_S = 30.0


class FileChange(Enum):
    """What happened to a file."""

    CREATED = "created"
    """It is there: a writer began it, or it came from another directory."""
    WRITTEN = "written"
    """It was written or emptied by a writer that still has it open."""
    CLOSED = "closed"
    """Its writer closed it."""
    REPLACED = "replaced"
    """Another file was moved to its place."""
    TOUCHED = "touched"
    """Its mode, owner or times changed."""
    GONE = "gone"
    """It was removed, or moved away."""
    UNSEEN = "unseen"
    """It looks different, and no watcher has said why."""
    ASKED = "asked"
    """Nothing happened to it: the operator wants it read."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a file looks like: `stat` is its inode, times and size, `content` a digest of what is in it.

    Both are empty for a file that is not there, and `content` for one that cannot be read.
    """

    stat: tuple[int, ...] = ()
    content: bytes = b""
    size: int = 0


Looks = Mapping[Path, Look]

_AT_ONCE = frozenset({FileChange.REPLACED, FileChange.ASKED})
_WEAK = frozenset({FileChange.TOUCHED, FileChange.UNSEEN, FileChange.ASKED})
"""Changes that say nothing of a writer: they do not override what is known of one."""


@dataclass(slots=True)
class _Unsettled:
    """One changed file."""

    since: float
    changed_at: float
    change: FileChange
    look: Look | None = None

    @property
    def quiet_s(self) -> float:
        if self.change in _AT_ONCE:
            return 0.0
        if self.change is FileChange.UNSEEN:
            return UNSEEN_QUIET_S
        is_empty = self.look is not None and self.look.size == 0 and bool(self.look.stat)
        if self.change is FileChange.WRITTEN or (self.change is FileChange.CREATED and is_empty):
            return OPEN_QUIET_S
        return QUIET_S

    @property
    def due_at(self) -> float:
        return min(self.changed_at + self.quiet_s, self.since + MAX_WAIT_S)


@dataclass(slots=True)
class Settling:
    """The changed files of one edit, until all of them are whole."""

    known: Looks
    """What the files looked like when they were read last."""
    _files: dict[Path, _Unsettled] = field(default_factory=dict)

    @property
    def is_under_way(self) -> bool:
        """True while at least one file is not whole, or was not read since it became so."""
        return bool(self._files)

    @property
    def due_at(self) -> float | None:
        """When all files are whole unless something changes again; None while nothing has changed."""
        return max((file.due_at for file in self._files.values()), default=None)

    def note(self, path: Path, change: FileChange, now: float) -> None:
        """Take what happened to a file."""
        file = self._files.get(path)
        if file is None:
            self._files[path] = _Unsettled(now, now, change)
            return
        file.changed_at = now
        file.look = None
        if change not in _WEAK:
            file.change = change

    def look(self, looks: Looks, now: float) -> bool:
        """True if all changed files are whole, which ends the edit: the caller reads them now."""
        for path, look in looks.items():
            if path not in self._files and look != self.known.get(path, look):
                self.note(path, FileChange.UNSEEN, now)
        for path, file in self._files.items():
            look = looks.get(path, Look())
            if file.look is not None and file.look != look:
                file.changed_at = now
            file.look = look
        due_at = self.due_at
        if due_at is None or now < due_at:
            return False
        self._files.clear()
        self.known = looks
        return True

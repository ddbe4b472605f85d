"""watchdog, in a thread of its own.

It watches the directories of the files, since editors and `os.replace` put a new inode in place of a file, and says
what happened to which file. Nothing is read here: `settling` decides when an edit is whole, and the loop reads it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from rosterd.settling import FileChange

log = structlog.get_logger(__name__)

_CHANGES: Mapping[str, FileChange] = {
    "created": FileChange.CREATED,
    "modified": FileChange.WRITTEN,
    "closed": FileChange.CLOSED,
    "deleted": FileChange.GONE,
    "attrib": FileChange.TOUCHED,
}
"""What an event says of the file at its source. Opening and reading change nothing."""


class Wake(Protocol):
    """What a file's change calls, in the loop's thread."""

    def __call__(self, path: Path, change: FileChange, /) -> None:
        """Say what happened to which file."""


class _Handler(FileSystemEventHandler):
    """Runs in watchdog's thread and does nothing but hand over."""

    def __init__(self, tell: Callable[[Path, FileChange], object]) -> None:
        self.names: Mapping[Path, Path] = {}
        """The files by the paths that events have: a link and what it points to are one file."""
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type == "moved":
            self._hand_over(event.src_path, FileChange.GONE)
            self._hand_over(event.dest_path, FileChange.REPLACED)
        elif (change := _CHANGES.get(event.event_type)) is not None:
            self._hand_over(event.src_path, change)

    def _hand_over(self, raw: bytes | str, change: FileChange) -> None:
        name = self.names.get(Path(raw.decode(errors="surrogateescape") if isinstance(raw, bytes) else raw))
        if name is not None:
            self._tell(name, change)


class Watcher:
    """Watches files, of which there may be others with each edit."""

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self._files: frozenset[Path] = frozenset()
        self._observer: BaseObserver | None = None
        self._handler: _Handler | None = None
        self._watches: dict[Path, ObservedWatch] = {}
        self._refused: frozenset[Path] = frozenset()

    @contextmanager
    def watching(self, wake: Wake) -> Iterator[None]:
        """Call `wake` in the running loop whenever one of the files changes, until the context is left.

        A directory that cannot be watched is logged and left out: the loop's own look at the files finds edits later.
        """
        loop = asyncio.get_running_loop()
        self._handler = _Handler(lambda path, change: loop.call_soon_threadsafe(wake, path, change))
        self._observer = Observer()
        self._observer.start()
        try:
            self._schedule()
            yield
        finally:
            self._observer.stop()
            self._observer.join()
            self._observer = self._handler = None
            self._watches.clear()

    def follow(self, files: Iterable[Path]) -> None:
        """Watch these files instead of those before; a link is followed to what it points to now."""
        self._files = frozenset(files)
        self._schedule()

    def _schedule(self) -> None:
        if self._observer is None or self._handler is None:
            return
        names = {path: file for file in self._files for path in _paths_of(file)}
        self._handler.names = names
        wanted = {path.parent for path in names}
        for directory in self._watches.keys() - wanted:
            self._observer.unschedule(self._watches.pop(directory))
        refused = set()
        for directory in sorted(wanted - self._watches.keys()):
            try:
                self._watches[directory] = self._observer.schedule(self._handler, str(directory))
            except OSError as error:
                refused.add(directory)
                if directory not in self._refused:
                    effect = "edits there are noticed at the next look, proxy.observe_interval_s apart"
                    log.warning("watch.refused", directory=str(directory), error=str(error), effect=effect)
        self._refused = frozenset(refused)


def _paths_of(file: Path) -> tuple[Path, Path]:
    """The paths by which events may name a file: its own, and where a link leads.

    Directories are named by their real paths: inotify has one watch for a directory, whatever it is called.
    """
    return Path(os.path.realpath(file.parent)) / file.name, Path(os.path.realpath(file))

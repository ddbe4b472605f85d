"""watchdog: the only thread that we own.

It watches the directories of the files, since editors and `os.replace` put a new inode in place of a file, and tells
the loop that one of them may have changed. Nothing is read here: the controller compares contents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

log = structlog.get_logger(__name__)


class Wake(Protocol):
    """What a file's change calls, in the loop's thread."""

    def __call__(self, path: Path, /) -> None:
        """Say which file may have changed."""


class _Handler(FileSystemEventHandler):
    """Runs in watchdog's thread and does nothing but hand over."""

    def __init__(self, files: frozenset[Path], tell: Callable[[Path], object]) -> None:
        self._files = files
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("opened", "closed_no_write"):
            return
        for raw in (event.src_path, event.dest_path):
            path = Path(raw.decode() if isinstance(raw, bytes) else raw)
            if path in self._files:
                self._tell(path)


@contextmanager
def watched(files: Iterable[Path], wake: Wake) -> Iterator[None]:
    """Call `wake` in the running loop whenever one of the files may have changed, until the context is left.

    A directory that cannot be watched is logged and left out: the loop's own look at the files notices edits later.
    """
    loop = asyncio.get_running_loop()
    known = frozenset(Path(file).absolute() for file in files)
    handler = _Handler(known, lambda path: loop.call_soon_threadsafe(wake, path))
    observer = Observer()
    observer.start()
    try:
        for directory in sorted({file.parent for file in known}):
            try:
                observer.schedule(handler, str(directory))
            except OSError as error:
                effect = "edits there are noticed at the next look, proxy.observe_interval_s apart"
                log.warning("watch.refused", directory=str(directory), error=str(error), effect=effect)
        yield
    finally:
        observer.stop()
        observer.join()

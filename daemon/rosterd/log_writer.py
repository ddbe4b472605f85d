"""The writer of log lines: a bounded queue, and a thread that empties it into a file descriptor.

A pipe whose reader stands still, a hung disk and a stalled journal block `write` without end, and a pipe cannot be made
non-blocking for one of the processes that share it. So the loop never writes: it appends to the queue, and the thread
waits. Rules:

- The queue is bounded in bytes. A line that finds no room is dropped and counted; `take_dropped` returns the count.
- Lines are written whole and in order. A descriptor that fails (a closed pipe, a full disk) loses the line, not the
  daemon.
- `close` waits for the queue for a bounded time. The thread is a daemon thread: a blocked write does not keep the
  process from ending.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

MAX_QUEUED_BYTES = 1024 * 1024
"""About a thousand of the longest lines, or ten thousand common ones."""

CLOSE_WITHIN_S = 1.0

COUNT_EVERY_S = 1.0
"""How often dropped lines are counted."""


class LogWriter:
    """Writes text to a file descriptor without ever blocking the caller. A text stream, as structlog wants one."""

    def __init__(self, descriptor: int, max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        """Start the thread. The descriptor stays open and belongs to the caller."""
        self._descriptor = descriptor
        self._max_queued_bytes = max_queued_bytes
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Queue a text; drop it when there is no room. Returns the number of characters taken."""
        line = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._is_closed or self._queued_bytes + len(line) > self._max_queued_bytes:
                self._dropped += 1
                return len(text)
            self._lines.append(line)
            self._queued_bytes += len(line)
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Return at once: the thread writes each line as soon as the descriptor takes it."""

    @property
    def is_congested(self) -> bool:
        """True while more than half of the queue is in use."""
        with self._changed:
            return self._queued_bytes > self._max_queued_bytes // 2

    @property
    def has_ended(self) -> bool:
        """True once the writer is closed and its thread writes no more."""
        return not self._thread.is_alive()

    def take_dropped(self) -> int:
        """Return the number of texts dropped since the last call."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self, within_s: float = CLOSE_WITHIN_S) -> None:
        """Write what is queued, for at most `within_s` seconds. What is still queued then is lost."""
        deadline = time.monotonic() + within_s
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (line := self._next()) is not None:
            written_whole = self._put(line)
            with self._changed:
                self._queued_bytes -= len(line)
                self._dropped += not written_whole

    def _next(self) -> bytes | None:
        """Return the next line, waiting for one; None once the writer is closed and the queue is empty."""
        with self._changed:
            while not self._lines:
                if self._is_closed:
                    return None
                self._changed.wait()
            return self._lines.popleft()

    def _put(self, line: bytes) -> bool:
        """Write the line; False when the descriptor does not take all of it."""
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            return False
        return True


async def report_dropped(writer: LogWriter, count: Callable[[int], object], every_s: float = COUNT_EVERY_S) -> None:
    """Pass the number of dropped lines to `count`; log when it begins, and the number that is missing once it is over.

    Runs until it is cancelled.
    """
    missing = 0
    while True:
        await asyncio.sleep(every_s)
        dropped = writer.take_dropped()
        count(dropped)
        if dropped and not missing:
            log.warning("log.dropped", lines=dropped, effect="log lines are lost until the log's reader goes on")
        missing += dropped
        if missing and not writer.is_congested:
            log.warning("log.dropped", lines=missing, effect="these lines are missing; the log is written again")
            missing = 0

"""Log records of libraries (the standard library's `logging`) as events of the daemon's own log.

asyncio and aiohttp report through `logging`, with tracebacks, once for every malformed request of a visitor. Rules:

- A record becomes one structured line: `request.malformed` for what aiohttp's server says of a request,
  `library.warned` for the rest. Free text is bounded and escaped. The kind of an exception is kept, its traceback is
  not.
- At most `MAX_LINES` records in `WINDOW_S` become lines. The next line after that says how many were suppressed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import structlog

from rosterd.parse import escaped

log = structlog.get_logger(__name__)

MAX_LINES: Final = 5
WINDOW_S: Final = 10.0
MAX_TEXT: Final = 200
"""Characters of a library's message that a line keeps."""

SERVER_LOGGER: Final = "aiohttp.server"


class RateLimit:
    """Admits `max_lines` in each window of `window_s` seconds, and counts the rest."""

    def __init__(self, max_lines: int = MAX_LINES, window_s: float = WINDOW_S) -> None:
        """Start with an empty window."""
        self._max_lines = max_lines
        self._window_s = window_s
        self._ends_at = float("-inf")
        self._admitted = 0
        self._suppressed = 0

    def admit(self, now: float) -> int | None:
        """Return how many were suppressed since the last admission; None when this one is suppressed too."""
        if now >= self._ends_at:
            self._ends_at, self._admitted = now + self._window_s, 0
        if self._admitted >= self._max_lines:
            self._suppressed += 1
            return None
        self._admitted += 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


class StdlibLogs(logging.Handler):
    """Hands records to structlog; `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take warnings and what is worse."""
        super().__init__(logging.WARNING)
        self._clock = clock
        self._of_requests = RateLimit()
        self._of_others = RateLimit()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record. A record of another thread is left out: the log belongs to the loop's thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        is_request = record.name == SERVER_LOGGER
        suppressed = (self._of_requests if is_request else self._of_others).admit(self._clock())
        if suppressed is None:
            return
        error = record.exc_info[1] if record.exc_info else None
        kind = type(error).__name__ if error is not None else ""
        text = _first_line(str(error) if is_request and error is not None else record.getMessage())
        if is_request:
            log.warning("request.malformed", kind=kind, error=text, suppressed=suppressed)
        else:
            log.warning("library.warned", library=record.name, kind=kind, error=text, suppressed=suppressed)


def _first_line(text: str) -> str:
    line = (text.strip().splitlines() or [""])[0]
    return escaped(line[:MAX_TEXT])

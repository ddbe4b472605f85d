"""What libraries log, as events of the daemon: one line each, bounded in size and in number."""

from __future__ import annotations

import logging
from collections.abc import Callable

from structlog.testing import capture_logs

from rosterd.stdlib_logs import MAX_LINES, MAX_TEXT, SERVER_LOGGER, WINDOW_S, RateLimit, StdlibLogs


def record(name: str, message: str, error: BaseException | None = None) -> logging.LogRecord:
    """Make a record as a library would."""
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, (), info)


def fixed(now: float) -> Callable[[], float]:
    """Make a clock that stands at `now`."""
    return lambda: now


async def test_malformed_request_is_one_line_without_a_traceback() -> None:
    handler = StdlibLogs(fixed(0.0))
    with capture_logs() as events:
        handler.emit(record(SERVER_LOGGER, "Error handling request", ValueError("bad \x1b[2J line\nsecond line")))
    assert events == [
        {
            "event": "request.malformed",
            "log_level": "warning",
            "kind": "ValueError",
            "error": "bad \\u001b[2J line",
            "suppressed": 0,
        }
    ]


async def test_text_of_a_library_is_bounded() -> None:
    handler = StdlibLogs(fixed(0.0))
    with capture_logs() as events:
        handler.emit(record("asyncio", "y" * 10_000))
    assert (events[0]["event"], events[0]["library"]) == ("library.warned", "asyncio")
    assert len(events[0]["error"]) == MAX_TEXT


async def test_storm_of_records_is_suppressed_and_counted() -> None:
    now = [0.0]
    handler = StdlibLogs(lambda: now[0])
    with capture_logs() as events:
        for _ in range(1000):
            handler.emit(record(SERVER_LOGGER, "no", ValueError("no")))
        now[0] = WINDOW_S
        handler.emit(record(SERVER_LOGGER, "no", ValueError("no")))
    assert len(events) == MAX_LINES + 1
    assert events[-1]["suppressed"] == 1000 - MAX_LINES


def test_record_of_another_thread_is_left_out() -> None:
    """Without a running loop nothing reaches the log of the loop."""
    with capture_logs() as events:
        StdlibLogs(fixed(0.0)).emit(record("asyncio", "from a thread"))
    assert events == []


def test_rate_limit_admits_again_in_the_next_window() -> None:
    limit = RateLimit(max_lines=2, window_s=10.0)
    assert [limit.admit(0.0), limit.admit(1.0), limit.admit(2.0), limit.admit(9.9)] == [0, 0, None, None]
    assert [limit.admit(10.0), limit.admit(10.1)] == [2, 0]

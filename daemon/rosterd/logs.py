"""How log lines look: JSON for machines, aligned text on a terminal.

One line an event, on standard error: `event` is a past-tense dotted name, a literal at the call site; everything else
is a field. Secrets never reach a field: settings hold them in a type that does not print them, and a traceback is
written without the values of its variables. What is less than the least level written is kept by `record` all the same,
from `info` on: who asks the daemon gets the same answer whatever its log leaves out.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from rosterd.log_writer import LogWriter

TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _least(level: str) -> Processor:
    """Let nothing pass that is less than this level."""

    def drop(_logger: object, _method: str, event: EventDict) -> EventDict:
        if LEVELS.get(event["level"], LEVELS["error"]) < LEVELS[level]:
            raise structlog.DropEvent
        return event

    return drop


def configure(
    level: str,
    style: Literal["auto", "json", "console"],
    record: Processor,
    writer: LogWriter,
    libraries: logging.Handler,
) -> None:
    """Set up structlog for the process; called once, by the composition root.

    `record` sees each event before `writer` writes it. `libraries` takes the records of libraries that use the standard
    library's logging.
    """
    on_terminal = sys.stderr.isatty()
    if style == "auto":
        style = "console" if on_terminal else "json"
    render: tuple[Processor, ...] = (
        (TRACEBACKS, structlog.processors.JSONRenderer())
        if style == "json"
        else (structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=structlog.dev.plain_traceback),)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            record,
            _least(level),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(LEVELS[level], LEVELS["info"])),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", writer)),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[libraries])
    # It calls it an error that an event arrives while it is being stopped.
    logging.getLogger("watchdog").setLevel(logging.CRITICAL)

"""The newest events, as the log has them: for people who ask, and for readers who follow.

What is told over HTTP is what is logged, under the same names and with the same fields, so there is one list of them
(docs/log-events.md) and nothing that only one of the two knows. Rules:

- Bounded, in events and in what each may hold: the oldest event goes when there is no room, whether everybody has read
  it or not. A reader that is too slow is told how many it missed; it holds nobody up and costs no memory.
- Each event has an id, `process-number`, by which a reader goes on where it was. Another process's id is no place in
  this history: who comes with one gets all of it.
- A traceback stays in the log. Here stands the kind of the error.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

Json = dict[str, Any]
"""One event, as it is told."""

MOST_KEPT = 1000
LONGEST_TEXT = 2000
LONGEST_LIST = 50

_NUMBER = re.compile(r"[0-9]{1,18}")


class History:
    """Events in order, the newest last. It lives in one event loop."""

    def __init__(self, process: str, most: int = MOST_KEPT) -> None:
        """Keep so many at most; `process` tells the ids of this process from others'."""
        self._process = process
        self._events: deque[Json] = deque(maxlen=most)
        self._count = 0
        self._news = asyncio.Event()
        self._is_over = False

    def record(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Keep an event; a processor of structlog, which passes it on as it came."""
        self._count += 1
        kept = {"id": f"{self._process}-{self._count}", **{key: _bounded(value) for key, value in event.items()}}
        error = event.get("exc_info")
        kept.pop("exc_info", None)
        if error:
            kept["exception"] = _kind(error)
        self._events.append(kept)
        self._wake()
        return event

    def end(self) -> None:
        """Nothing more comes: who follows gets what there is, and no more."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        """Wake everybody who waits now; whoever waits next waits for the next one."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def newest(self, most: int = MOST_KEPT) -> tuple[Json, ...]:
        """So many of the newest events at most, in their order."""
        return tuple(self._events)[-most:] if most > 0 else ()

    def follow(self, after: str) -> AsyncIterator[tuple[Json, ...]]:
        """All events after the one with this id, as they come; an empty id starts with what comes after this call."""
        return self._from(self._number(after) if after else self._count)

    async def _from(self, seen: int) -> AsyncIterator[tuple[Json, ...]]:
        while True:
            if seen == self._count:
                if self._is_over:
                    return
                await self._news.wait()
                continue
            missed = max(0, self._count - len(self._events) - seen)
            fresh = tuple(self._events)[-(self._count - seen - missed) :]
            seen = self._count
            yield ((_gap(missed),) if missed else ()) + fresh

    def _number(self, event_id: str) -> int:
        process, _, number = event_id.rpartition("-")
        if process != self._process or not _NUMBER.fullmatch(number) or int(number) > self._count:
            return 0
        return int(number)


def _bounded(value: object) -> object:
    """A value that stays as it is and takes no more room than a line should: HAProxy's words can be long."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…"
    if isinstance(value, list | tuple):
        return [_bounded(each) for each in value[:LONGEST_LIST]]
    return value


def _gap(missed: int) -> Json:
    """What a reader is told instead of events that are gone; no event of ours, and so without an id."""
    return {"event": "history.truncated", "level": "warning", "missed": missed}


def _kind(error: object) -> str:
    """The kind of what structlog was given: an exception, what `sys.exc_info` returns, or that it should ask itself."""
    if isinstance(error, tuple):
        error = error[1]
    found = error if isinstance(error, BaseException) else sys.exc_info()[1]
    return type(found).__name__

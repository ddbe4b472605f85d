"""`/v1/events`: what happened, and what happens now, as server-sent events or as one list.

Who accepts `text/event-stream` gets a stream that does not end: first what came after `Last-Event-ID` (or the query's
`after`), then each event when it comes. Anybody else gets the newest events as JSON. Rules:

- Each message's data is one JSON object on one line, its id that of the event. A comment every few seconds shows that
  the stream lives, and finds readers that are gone.
- A reader waits for its own socket alone. One that is too slow misses events and is told how many; one that reads
  nothing is cut off (connections.py). The daemon waits for nobody and keeps nothing for anybody.
- So many readers at once, and no more: each costs a connection and a task.

Source of the format: the HTML standard, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

from aiohttp import web

from rosterd.history import History, Json

STREAM = "text/event-stream"
MOST_READERS = 100
ALIVE_EVERY_S = 15.0
LAST_WORDS_S = 0.5
"""How long readers have for the last events of a daemon that stops."""

RETRY_MS = 1000
"""After how long a browser connects again."""

MOST_SHOWN = 1000
_LIMIT = re.compile(r"[0-9]{1,4}")


class EventSource:
    """Serves one history."""

    def __init__(self, history: History) -> None:
        """Nobody reads yet."""
        self._history = history
        self._readers: set[asyncio.Task[object]] = set()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, with a stream or a list."""
        if STREAM not in request.headers.get("Accept", ""):
            return web.json_response({"events": self._history.newest(_limit(request))}, dumps=to_json)
        if len(self._readers) >= MOST_READERS:
            raise web.HTTPServiceUnavailable(
                text=f"{MOST_READERS} readers follow already", headers={"Retry-After": "10"}
            )
        return await self._stream(request)

    async def close(self, _: web.Application) -> None:
        """End all streams: the daemon stops. Readers get the last events, if they take them at once."""
        self._history.end()
        if self._readers:
            await asyncio.wait(self._readers, timeout=LAST_WORDS_S)
        for reader in self._readers:
            reader.cancel()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        news = self._history.follow(request.headers.get("Last-Event-ID") or request.query.get("after", ""))
        response = web.StreamResponse(headers={"Content-Type": STREAM, "Cache-Control": "no-store"})
        reader = asyncio.current_task()
        if reader is None:
            raise AssertionError("a request is answered by a task")
        self._readers.add(reader)
        try:
            await response.prepare(request)
            await response.write(f"retry: {RETRY_MS}\n\n".encode())
            async for text in _messages(news):
                await response.write(text.encode())
        except ConnectionError:
            pass  # the reader has gone, or was cut off
        finally:
            self._readers.discard(reader)
        return response


async def _messages(batches: AsyncIterator[tuple[Json, ...]]) -> AsyncIterator[str]:
    """The stream's text: each batch of events, and a comment whenever none comes for a while."""
    batch = asyncio.ensure_future(anext(batches))
    try:
        while True:
            done, _ = await asyncio.wait({batch}, timeout=ALIVE_EVERY_S)
            if not done:
                yield ": alive\n\n"
                continue
            try:
                events = batch.result()
            except StopAsyncIteration:
                return
            yield "".join(map(message, events))
            batch = asyncio.ensure_future(anext(batches))
    finally:
        batch.cancel()
        await asyncio.wait({batch})  # whatever it ended with, it has ended


def message(event: Json) -> str:
    """One event as a message of the stream."""
    event_id = f"id: {event['id']}\n" if "id" in event else ""
    return f"{event_id}data: {to_json(event)}\n\n"


def to_json(value: object) -> str:
    """JSON on one line; what has no JSON of its own is shown as the log shows it."""
    return json.dumps(value, default=repr)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(MOST_SHOWN))
    if not _LIMIT.fullmatch(text) or not 0 < int(text) <= MOST_SHOWN:
        raise web.HTTPBadRequest(text=f"limit: should be a number from 1 to {MOST_SHOWN}, and is {text[:20]!r}")
    return int(text)

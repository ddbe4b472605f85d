"""The page over any status and any events, without a daemon: for what is hard to bring about on a real balancer.

The routes are the daemon's own; only what it would say is put in its mouth. Events are sent to whoever listens.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from rosterd.admin import page
from tests.loopback import free_address

Json = Mapping[str, Any]


@dataclass
class Stage:
    """What the page is about: replace `status`, and `tell` of events. `asked` counts who wanted the page.

    While it `is_mute`, who wants to listen gets no answer.
    """

    status: Json
    history: list[Json] = field(default_factory=list)
    sends_events: bool = True
    is_away: bool = False
    is_mute: bool = False
    asked: int = 0
    url: str = ""
    listeners: set[asyncio.Queue[Json | None]] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def tell(self, event: Json) -> None:
        """Add an event, and send it to the listeners."""
        self.history.append(event)
        self._send(event)

    def hang_up(self) -> None:
        """End the connection of each listener."""
        self._send(None)

    def _send(self, event: Json | None) -> None:
        for queue in list(self.listeners):
            self.loop.call_soon_threadsafe(queue.put_nowait, event)

    def application(self) -> web.Application:
        """The page's routes and the events."""
        app = web.Application()
        app.add_routes(page.routes(self._status, self._newest))
        if self.sends_events:
            app.add_routes([web.get("/v1/events", self._events)])
        return app

    async def _status(self) -> Json:
        self.asked += 1
        if self.is_away:
            raise web.HTTPServiceUnavailable
        return self.status

    def _newest(self, most: int) -> Sequence[Json]:
        return self.history[-most:]

    async def _events(self, request: web.Request) -> web.StreamResponse:
        while self.is_mute:  # noqa: ASYNC110  tests set it from their own thread
            await asyncio.sleep(0.05)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self.listeners.add(queue)
        try:
            await response.write(b"retry: 100\n\n")
            while (event := await queue.get()) is not None:
                await response.write(f"id: {event['id']}\ndata: {json.dumps(event)}\n\n".encode())
        except ConnectionError:
            pass  # the browser went away
        finally:
            self.listeners.discard(queue)
        return response


@contextmanager
def staged(stage: Stage) -> Iterator[Stage]:
    """Serve the page meanwhile, in a loop of its own."""
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(stage.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, free_address(), 0).start()
        host, port = runner.addresses[0][:2]
        stage.url = f"http://{host}:{port}/"
        started.set()
        await stop.wait()
        for queue in stage.listeners:
            queue.put_nowait(None)
        await runner.cleanup()

    thread = threading.Thread(target=stage.loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10), "the stage does not start"
        yield stage
    finally:
        stage.loop.call_soon_threadsafe(stop.set)
        thread.join()
        stage.loop.close()

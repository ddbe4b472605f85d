"""The connections of the admin interface: how many there are, how long they may be idle, and how slowly they may read.

Whoever reaches the interface must not be able to use up the daemon's descriptors or its memory, nor to keep it from
stopping. Rules:

- So many connections at once; one more is closed as it comes.
- A connection on which nothing is asked is closed after a while.
- A reader that takes nothing of what waits for it, from one look to the next, is cut off. One that reads slowly is not;
  but of a stream that is filled up faster than it is read, nobody can tell: who follows comes back to where it was.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from rosterd.errors import AdminAddressTaken
from rosterd.settings import UNIX_PREFIX, split_host_port

STOP_WITHIN_S = 1.0
"""How long answers that are under way have when the daemon stops."""


@dataclass(frozen=True, slots=True)
class Limits:
    """So many connections at most; how long one may be idle; how often it is looked whether readers read."""

    connections: int = 200
    idle_s: float = 30.0
    look_every_s: float = 10.0


class _Refusal(asyncio.Protocol):
    """Closes a connection as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def serving_at(listen: str, app: web.Application, limits: Limits) -> AsyncIterator[None]:
    """Serve at `listen` (host:port or unix:PATH) until the context is left; AdminAddressTaken when that cannot be."""
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=STOP_WITHIN_S, keepalive_timeout=limits.idle_s
    )
    await runner.setup()
    server = runner.server
    if server is None:
        raise AssertionError("a runner that is set up has a server")

    def protocol() -> asyncio.BaseProtocol:
        return _Refusal() if len(server.connections) >= limits.connections else server()

    try:
        listener = await _listen(listen, protocol)
        watch = asyncio.create_task(_cut_off_who_does_not_read(server, limits.look_every_s), name="readers")
        try:
            yield
        finally:
            listener.close()
            watch.cancel()
    finally:
        await runner.cleanup()


async def _listen(listen: str, protocol: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        if not listen.startswith(UNIX_PREFIX):
            host, port = split_host_port(listen)
            return await loop.create_server(protocol, host, port, reuse_address=True)
        path = Path(listen.removeprefix(UNIX_PREFIX))
        await _refuse_if_served(path)
        server = await loop.create_unix_server(protocol, path)
        _let_group_in(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise AdminAddressTaken(f"admin.listen {listen}: cannot be listened on: {reason}") from error
    return server


def _let_group_in(path: Path) -> None:
    path.chmod(0o660)


async def _refuse_if_served(path: Path) -> None:
    """The event loop would silently take a socket away from a daemon that still answers on it."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return
    writer.close()
    raise AdminAddressTaken(f"admin.listen unix:{path}: another daemon answers there")


async def _cut_off_who_does_not_read(server: web.Server, look_every_s: float) -> None:
    waiting: dict[object, int] = {}
    while True:
        await asyncio.sleep(look_every_s)
        before, waiting = waiting, {}
        for connection in tuple(server.connections):
            transport = connection.transport
            if not isinstance(transport, asyncio.WriteTransport):
                continue
            unread = transport.get_write_buffer_size()
            if unread and unread >= before.get(connection, unread + 1):
                transport.abort()
            waiting[connection] = unread

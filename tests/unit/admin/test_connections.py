"""Nobody uses up the daemon through its admin interface, nor keeps it from stopping."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import aiohttp
import pytest_asyncio

from rosterd.admin.connections import Limits
from rosterd.admin.server import serving
from rosterd.history import History
from tests.loopback import free_port
from tests.unit.admin.insight import insight
from tests.unit.test_report import EARLY

SMALL = Limits(connections=3, idle_s=0.2, look_every_s=0.1)
WHOLE = 10_000_000
"""Bytes of a list of events that no socket's buffers hold."""


def full() -> History:
    """Return a history whose list is as long as that."""
    history = History("ab12")
    for _ in range(1000):
        history.record(None, "info", {"event": "member.updated", "level": "info", "detail": ["x" * 1000] * 10})
    return history


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[str]:
    """Serve within narrow limits; where."""
    at = f"127.0.0.1:{free_port()}"
    async with serving(at, insight(lambda: EARLY, full()), SMALL):
        yield at


async def connect(listen: str, request: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, with small buffers on our side, and ask for something, or for nothing."""
    host, port = listen.split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
    if request:
        writer.write(f"GET {request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


async def is_ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection soon; what it sends before is read."""
    try:
        async with asyncio.timeout(30):
            while await reader.read(65536):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


async def test_a_connection_that_asks_nothing_is_closed(listen: str) -> None:
    """And one that does not come to an end with its question."""
    idle, writer = await connect(listen)
    half, half_writer = await connect(listen)
    half_writer.write(b"GET / HTTP/1.1\r\nHo")
    assert await is_ended(idle)
    assert await is_ended(half)
    for each in (writer, half_writer):
        each.close()


async def test_so_many_at_once() -> None:
    """One more is closed as it comes; when somebody goes there is a place again."""
    at = f"127.0.0.1:{free_port()}"
    async with serving(at, insight(lambda: EARLY), Limits(connections=3)):
        connected = [await connect(at, "/healthz") for _ in range(3)]
        for reader, _ in connected:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        refused, writer = await connect(at, "/healthz")
        assert await refused.read() == b""
        for each in (writer, *(writer for _, writer in connected)):
            each.close()
        line = b""
        async with asyncio.timeout(30):
            while not line:
                reader, writer = await connect(at, "/healthz")
                with suppress(ConnectionError):
                    line = await reader.readline()
                writer.close()
                await asyncio.sleep(0.01)
        assert line.startswith(b"HTTP/1.1 200")


async def test_who_reads_nothing_is_cut_off(listen: str) -> None:
    """And gives back its place: all who came were stuck, and somebody is served all the same."""
    stuck = [await connect(listen, "/v1/events") for _ in range(SMALL.connections)]
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        status = 0
        while status != 200:
            try:
                async with session.get(f"http://{listen}/healthz") as response:
                    status = response.status
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)
    for reader, writer in stuck:
        assert await is_ended(reader)
        writer.close()


async def test_who_reads_slowly_is_not_cut_off() -> None:
    """It takes something from one look to the next, and gets all of it."""
    at = f"127.0.0.1:{free_port()}"
    limits = replace(SMALL, look_every_s=1.0)
    loop = asyncio.get_running_loop()
    async with serving(at, insight(lambda: EARLY, full()), limits):
        reader, writer = await connect(at, "/v1/events")
        began, taken = loop.time(), 0
        while taken < WHOLE:
            part = await reader.read(65536)
            assert part, "it was cut off"
            taken += len(part)
            # Paced by what is taken, so that it lasts for some looks however busy the machine is.
            await asyncio.sleep(max(0.0, began + 3 * limits.look_every_s * taken / WHOLE - loop.time()))
        writer.close()


async def test_nobody_keeps_the_daemon_from_stopping() -> None:
    """Neither who reads nothing of a long answer, nor who asks nothing. aiohttp itself would wait for a minute."""
    at = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(40):
        async with serving(at, insight(lambda: EARLY, full())):
            connected = [await connect(at, request) for request in ("/v1/events", "/v1/events?limit=999", "")]
            assert (await connected[0][0].readline()).startswith(b"HTTP/1.1 200")
    for _, writer in connected:
        writer.close()

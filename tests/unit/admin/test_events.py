"""`/v1/events` over real HTTP: a list for who asks, a stream for who follows."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from rosterd.admin.events import MOST_READERS, STREAM
from rosterd.admin.server import serving
from rosterd.history import History
from tests.loopback import free_port
from tests.unit.admin.insight import insight
from tests.unit.test_report import EARLY


@dataclass(frozen=True)
class Daemon:
    """The admin interface over a history."""

    history: History
    base: str
    session: aiohttp.ClientSession

    def tell(self, *names: str, **fields: object) -> None:
        """Have these events happen."""
        for name in names:
            self.history.record(None, "info", {"event": name, "level": "info", **fields})

    @asynccontextmanager
    async def stream(self, after: str = "", **headers: str) -> AsyncIterator[aiohttp.StreamReader]:
        """Follow; what comes stands in the reader."""
        url = f"{self.base}/v1/events" + (f"?after={after}" if after else "")
        async with self.session.get(url, headers={"Accept": STREAM, **headers}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == STREAM
            assert await next_message(response.content) == {"retry": "1000"}
            yield response.content


async def next_message(reader: aiohttp.StreamReader) -> dict[str, str]:
    """Return the fields of the stream's next message."""
    text = await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)
    return dict(line.split(": ", 1) for line in text.decode().strip().split("\n"))


async def next_event(reader: aiohttp.StreamReader) -> dict[str, Any]:
    """Return the next event; the message's id is its own."""
    message = await next_message(reader)
    event: dict[str, Any] = json.loads(message["data"])
    assert message["id"] == event["id"]
    return event


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[Daemon]:
    """Serve an empty history on loopback."""
    history = History("ab12")
    listen = f"127.0.0.1:{free_port()}"
    async with serving(listen, insight(lambda: EARLY, history)), aiohttp.ClientSession() as session:
        yield Daemon(history, f"http://{listen}", session)


async def listed(daemon: Daemon, query: str = "") -> list[str]:
    """Return the names of the listed events."""
    async with daemon.session.get(f"{daemon.base}/v1/events{query}") as response:
        assert response.status == 200
        return [event["event"] for event in (await response.json())["events"]]


async def test_the_list_has_the_newest_events(daemon: Daemon) -> None:
    """All that are kept, or so many as are asked for."""
    assert await listed(daemon) == []
    daemon.tell("member.joined", "servers.changed", "member.left", trace="ab12.1")
    assert await listed(daemon) == ["member.joined", "servers.changed", "member.left"]
    assert await listed(daemon, "?limit=2") == ["servers.changed", "member.left"]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1001", "", "9" * 5000])
async def test_a_limit_that_is_none_is_refused_by_name(daemon: Daemon, limit: str) -> None:
    """The answer names the parameter and its bounds."""
    async with daemon.session.get(f"{daemon.base}/v1/events?limit={limit}") as response:
        assert response.status == 400
        assert (await response.text()).startswith("limit: should be a number from 1 to 1000")


async def test_a_stream_shows_what_happens(daemon: Daemon) -> None:
    """From now on, each event with its fields."""
    daemon.tell("daemon.started")
    async with daemon.stream() as reader:
        daemon.tell("member.joined", member="web\n1", trace="ab12.1")
        event = await next_event(reader)
    assert event == {"id": "ab12-2", "event": "member.joined", "level": "info", "member": "web\n1", "trace": "ab12.1"}


async def test_a_reader_that_comes_back_misses_nothing(daemon: Daemon) -> None:
    """By the header that a browser sends, or by the query."""
    daemon.tell("one", "two")
    async with daemon.stream(**{"Last-Event-ID": "ab12-1"}) as reader:
        assert (await next_event(reader))["event"] == "two"
    async with daemon.stream(after="ab12-1") as reader:
        assert (await next_event(reader))["event"] == "two"


async def test_what_is_no_json_is_shown_as_in_the_log(daemon: Daemon) -> None:
    """A field may hold anything."""
    daemon.tell("seed.refused", seed={1})
    async with daemon.session.get(f"{daemon.base}/v1/events") as response:
        assert (await response.json())["events"][0]["seed"] == "{1}"


async def test_a_slow_reader_holds_nobody_up(daemon: Daemon) -> None:
    """It reads nothing while more is told than any buffer holds; the others have it all at once."""
    host, port = daemon.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: {STREAM}\r\n\r\n".encode())
        async with daemon.stream() as reader:
            for number in range(200):
                daemon.tell("member.updated", detail="x" * 100_000, number=number)
                assert (await next_event(reader))["number"] == number


async def test_so_many_may_follow_at_once(daemon: Daemon) -> None:
    """One more is told to come back later; the list is still to be had."""
    host, port = daemon.base.removeprefix("http://").split(":")
    followers = []
    try:
        for _ in range(MOST_READERS):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: {STREAM}\r\n\r\n".encode())
            await reader.readuntil(b"retry: ")
            followers.append(writer)
        async with daemon.session.get(f"{daemon.base}/v1/events", headers={"Accept": STREAM}) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "10")
        assert await listed(daemon) == []
    finally:
        for writer in followers:
            writer.close()


async def test_a_daemon_that_stops_ends_its_streams() -> None:
    """In order, with its last words; nobody has to wait for a reader that stays."""
    history = History("ab12")
    listen = f"127.0.0.1:{free_port()}"
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(10):
            async with serving(listen, insight(lambda: EARLY, history)):
                response = await session.get(f"http://{listen}/v1/events", headers={"Accept": STREAM})
                await next_message(response.content)
                history.record(None, "info", {"event": "daemon.stopped", "level": "info"})
            assert (await next_event(response.content))["event"] == "daemon.stopped"
            assert await response.content.read() == b""

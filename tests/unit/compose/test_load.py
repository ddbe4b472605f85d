from __future__ import annotations

import asyncio
import contextlib
import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING

import pytest

from compose.load import (
    Failure,
    Load,
    LoadPlan,
    Sample,
    Tally,
    failures,
    first_answer,
    first_mark,
    last_answer,
    recent,
    settled_below,
    share,
    tally,
)
from tests.loopback import free_address, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Backend-IP: 127.9.9.9\r\nx-demo: one\r\n\r\nok"
FEW = 6


@contextlib.asynccontextmanager
async def served(behaviour: Behaviour, most: int = FEW, timeout_s: float = 2.0) -> AsyncIterator[Load]:
    """A real server that behaves so for each connection, and a load of a few requests at once for it."""
    address = free_address()
    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await behaviour(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, address, 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Load(LoadPlan(address, port, rate=10_000, timeout_s=timeout_s, most=most))
        for task in handling:
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)


def outcomes(load: Load) -> set[Failure | None]:
    """Every kind of outcome."""
    return {sample.failure for sample in load.samples}


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A good server."""
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(OK)


async def test_the_answers_to_all_that_was_sent_can_be_waited_for() -> None:
    """A count that is taken then lacks no request that is under way."""
    asked, release = asyncio.Event(), asyncio.Event()

    async def answer_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            asked.set()
            await release.wait()
            writer.write(OK)

    async with served(answer_later) as load:
        await load.answers()  # nothing was sent: returns at once
        running = asyncio.create_task(load.run())
        await asked.wait()
        sent = load.in_flight
        waiting = asyncio.create_task(load.answers())
        await asyncio.sleep(0)
        assert (load.samples, waiting.done()) == ([], False)
        release.set()
        await waiting
        assert len(load.samples) >= sent
        await running


# --- what a request can come to ---------------------------------------------------------------------------------


async def test_good_answers_are_counted_with_their_backend() -> None:
    """Each request is one sample, half of them on kept connections, with the headers that were asked for."""
    async with served(answer_all) as load:
        await load.run()

    assert outcomes(load) == {None}
    assert [sample.kept for sample in load.samples].count(True) == FEW / 2
    assert {(sample.status, sample.backend, sample.mark) for sample in load.samples} == {(200, "127.9.9.9", "one")}
    assert all(sample.done >= sample.sent for sample in load.samples)


async def test_kept_connections_are_kept() -> None:
    """One after the other, kept requests share a connection, and new ones never do."""
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer_all(reader, writer)

    async with served(count) as load:
        slow = Load(LoadPlan(load.plan.address, load.plan.port, rate=50, most=8))
        await slow.run()

    assert outcomes(slow) == {None}
    assert connections == 1 + 4


@pytest.mark.parametrize("status", ["500 Oops", "503 Service Unavailable", "404 Not Found", "302 Found"])
async def test_any_other_status_has_failed(status: str) -> None:
    """Only 200 is success."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK.replace(b"200 OK", status.encode()))

    async with served(refuse) as load:
        await load.run()

    assert outcomes(load) == {Failure.STATUS}
    assert failures(load.samples, 0, float("inf")) == (f"{FEW} x status {status[:3]}",)


async def test_a_reset_has_failed() -> None:
    """A connection that is torn down under the request."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))

    async with served(reset) as load:
        await load.run()

    assert outcomes(load) == {Failure.RESET}
    assert len(load.samples) == FEW


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", OK[:-1]])
async def test_an_answer_that_is_not_whole_has_failed(part: bytes) -> None:
    """End of stream before, in or just short of the end of an answer."""

    async def stop_short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(part)

    async with served(stop_short) as load:
        await load.run()

    assert outcomes(load) == {Failure.CLOSED}
    assert len(load.samples) == FEW


async def test_no_request_is_sent_twice() -> None:
    """A kept connection that dies under a request costs that request: nothing is tried again."""
    requests = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        requests += 1

    async with served(answer_once) as load:
        slow = Load(LoadPlan(load.plan.address, load.plan.port, rate=50, most=8))
        await slow.run()

    assert requests == len(slow.samples) == 8
    assert [sample.failure for sample in slow.samples if sample.kept] == [None, Failure.CLOSED] * 2


async def test_a_connection_closed_while_idle_is_replaced() -> None:
    """The server may end a kept connection between two requests; nothing was sent, so nothing failed."""

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async with served(answer_and_close) as load:
        slow = Load(LoadPlan(load.plan.address, load.plan.port, rate=50, most=6))
        await slow.run()

    assert outcomes(slow) == {None}


async def test_silence_has_failed() -> None:
    """A server that hangs costs the request its time-out, no more."""

    async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served(hang, timeout_s=0.05) as load:
        await load.run()

    assert outcomes(load) == {Failure.LATE}
    assert len(load.samples) == FEW


async def test_nobody_there_has_failed() -> None:
    """A refused connection is counted, not raised."""
    address = free_address()
    load = Load(LoadPlan(address, free_port(address), rate=1000, most=FEW))
    await load.run()

    assert outcomes(load) == {Failure.REFUSED}
    assert len(load.samples) == FEW


@pytest.mark.parametrize(
    "noise",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
    ],
)
async def test_noise_has_failed(noise: bytes) -> None:
    """What is no HTTP answer with an end is no answer."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(noise)
        await reader.read()

    async with served(babble) as load:
        await load.run()

    assert outcomes(load) == {Failure.GARBLED}


# --- its bounds -------------------------------------------------------------------------------------------------


async def test_stop_waits_for_the_last_answers() -> None:
    """Nothing is sent after the stop, and what was sent is answered and counted."""
    arrived = asyncio.Event()
    go_on = asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await go_on.wait()
        writer.write(OK)
        await reader.read()

    async with served(slowly, most=1000) as load:
        running = asyncio.create_task(load.run())
        await arrived.wait()
        load.stop()
        assert load.samples == []
        go_on.set()
        await running

    assert outcomes(load) == {None}
    assert 0 < len(load.samples) < 1000


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "::1", "8.8.8.8"])
def test_the_load_stays_on_loopback(address: str) -> None:
    """It cannot be pointed at anybody else."""
    with pytest.raises(ValueError, match=r"127\.0\.0\.0/8"):
        LoadPlan(address, 80)


# --- what samples mean ------------------------------------------------------------------------------------------


def at(sent: float, backend: str = "a", failure: Failure | None = None, mark: str | None = None) -> Sample:
    """A request that took a tenth of a second."""
    return Sample(sent, sent + 0.1, kept=False, failure=failure, status=200, backend=backend, mark=mark)


def test_a_request_counts_where_it_was_sent() -> None:
    """The span is closed below and open above, so that two spans side by side count each request once."""
    samples = [at(0.9), at(1.0, failure=Failure.RESET), at(1.95), at(2.0)]
    found = tally(samples, 1.0, 2.0)

    assert (found.requests, found.failed) == (2, 1)
    assert found.slowest_s == pytest.approx(0.1)
    assert tally([], 0, 1) == Tally(0, 0, 0.0)


def test_traffic_follows_a_join_and_a_leave() -> None:
    """First and last answers are those of whole answers only."""
    samples = [at(1, "a"), at(2, "b", Failure.RESET), at(3, "b"), at(4, "b", Failure.CLOSED), at(5, "a")]

    assert first_answer(samples, "b", 0) == pytest.approx(3.1)
    assert first_answer(samples, "a", 1.5) == pytest.approx(5.1)
    assert first_answer(samples, "c", 0) is None
    assert (last_answer(samples, "b"), last_answer(samples, "c")) == (3, None)


def test_the_first_mark() -> None:
    """A new header counts from the moment of the edit on."""
    samples = [at(1, mark="x"), at(2), at(3, mark="x")]

    assert first_mark(samples, "x", 1.5) == pytest.approx(3.1)
    assert first_mark(samples, "y", 0) is None


def test_the_share_of_a_backend() -> None:
    """Failed requests have no backend and do not count."""
    samples = [at(1, "a"), at(1, "b"), at(1, "a"), at(1, "a"), at(1, "a", Failure.RESET), at(9, "b")]

    assert share(samples, "a", 0, 2) == 0.75
    assert share([], "a", 0, 2) == 0.0


def test_a_share_has_fallen_when_a_whole_window_says_so() -> None:
    """The moment is the begin of the first window below the limit, and only once the window is over."""
    half = [at(number / 10, "ab"[number % 2]) for number in range(20)]
    tenth = [at(2 + number / 10, "a" if number % 10 == 9 else "b") for number in range(20)]

    assert settled_below(half + tenth, "a", 0, 1.0, 0.2) == pytest.approx(1.7)
    assert settled_below(half + tenth, "a", 2.5, 1.0, 0.2) == pytest.approx(2.5)
    assert settled_below(half, "a", 0, 1.0, 0.2) is None
    assert settled_below(tenth[:9], "a", 0, 1.0, 0.2) is None


def test_failures_are_counted_by_kind() -> None:
    """The most frequent first; a wrong status is named by its number."""
    samples = [at(1, failure=Failure.RESET), at(1, failure=Failure.LATE), at(1, failure=Failure.LATE), at(1)]
    assert failures(samples, 0, 2) == ("2 x no answer in time", "1 x connection reset")


def test_recent_looks_from_the_end() -> None:
    """The newest first, back to the given moment."""
    assert [sample.sent for sample in recent([at(1), at(2), at(3)], 2.0)] == [3, 2]

"""The runtime API over TCP: a person's commands reach a real HAProxy, the requests of a web page do not."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rosterd.proxy.runtime_relay import RelayLimits, RuntimeRelay
from tests.balancer import Balancer, until
from tests.haproxy_process import HAProxyProcess
from tests.loopback import free_port

WITHIN_S = 30.0
ATTACK = "set server nodes/web1 state maint\n"
SERVER = "server web1 127.0.0.1:9"


@contextmanager
def running(directory: Path, *, open_port: int = 0) -> Iterator[HAProxyProcess]:
    """Run a HAProxy with one server; at `open_port`, if given, its own runtime API listens on TCP."""
    haproxy = HAProxyProcess(directory)
    text = haproxy.text("0123456789abcdef", SERVER)
    if open_port:
        text = text.replace("global\n", f"global\n    stats socket {haproxy.address}:{open_port} level admin\n", 1)
    haproxy.config.write_text(text, encoding="utf-8")
    haproxy.start()
    try:
        yield haproxy
    finally:
        haproxy.stop()


@asynccontextmanager
async def relaying(haproxy: HAProxyProcess, limits: RelayLimits | None = None) -> AsyncIterator[int]:
    """Relay to a HAProxy from a port of its address."""
    port = free_port(haproxy.address)
    relay = RuntimeRelay(haproxy.address, port, haproxy.runtime_socket, time.monotonic, limits or RelayLimits())
    task = asyncio.create_task(relay.run())
    try:
        await connects(haproxy.address, port)
        yield port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def connects(address: str, port: int) -> None:
    """Wait until something listens there."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(address, port)
                writer.close()
                return
            await asyncio.sleep(0.02)


async def said(address: str, port: int, question: bytes) -> bytes:
    """Send this, and return what comes back until the other side closes; nothing if it resets the connection."""
    async with asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection(address, port)
        with closing(writer):
            try:
                writer.write(question)
                return await reader.read()
            except ConnectionError:
                return b""


async def logged(lines: Sequence[Mapping[str, Any]], event: str) -> None:
    """Wait for a log line of this event."""
    while event not in [line["event"] for line in lines]:  # noqa: ASYNC110  the lines are a list, which sets no event
        await asyncio.sleep(0.02)


@contextmanager
def posted(address: str, port: int) -> Iterator[http.client.HTTPConnection]:
    """Send, with an HTTP client, the request by which a web page commands a runtime API."""
    client = http.client.HTTPConnection(address, port, timeout=WITHIN_S)
    client.request("POST", "/;prompt;", body=ATTACK, headers={"Content-Type": "text/plain"})
    try:
        yield client
    finally:
        client.close()


def assert_unanswered(address: str, port: int) -> None:
    """Send that request and see the connection closed without an answer."""
    with posted(address, port) as client, pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        client.getresponse()


def is_in_maintenance(haproxy: HAProxyProcess) -> bool:
    """Whether HAProxy has the server in maintenance."""
    rows = [line.split() for line in haproxy.ask("show servers state").splitlines()]
    (state,) = (int(row[6]) for row in rows if len(row) > 6 and row[3] == "web1")
    return bool(state & 1)


def test_a_tcp_port_of_haproxy_itself_obeys_a_web_page(tmp_path: Path) -> None:
    """The attack is real: what the relay is for."""
    with running(tmp_path, open_port=9999) as haproxy, posted(haproxy.address, 9999):
        until(partial(is_in_maintenance, haproxy), "HAProxy to obey", WITHIN_S)


async def test_a_web_page_commands_nothing_over_the_relay(tmp_path: Path) -> None:
    """The same request is closed before a byte of it reaches HAProxy, and the log names it."""
    with running(tmp_path) as haproxy, capture_logs() as lines:
        async with relaying(haproxy) as port:
            await asyncio.to_thread(assert_unanswered, haproxy.address, port)
            assert b"web1" in await said(haproxy.address, port, b"show servers state\n")
        assert not is_in_maintenance(haproxy)
    (refused,) = (line for line in lines if line["event"] == "runtime_relay.refused")
    assert refused["reason"] == "the first line is an HTTP request"
    assert refused["line"] == "POST /;prompt; HTTP/1.1"


async def test_blank_lines_before_a_request_hide_nothing(tmp_path: Path) -> None:
    """The first line that is not blank is judged."""
    with running(tmp_path) as haproxy:
        async with relaying(haproxy) as port:
            assert await said(haproxy.address, port, f"\r\n\nPOST /;prompt; HTTP/1.1\r\n\r\n{ATTACK}".encode()) == b""
        assert not is_in_maintenance(haproxy)


async def test_commands_are_answered(tmp_path: Path) -> None:
    """One line, with and without the end of the connection; several in an interactive session; a long answer."""
    with running(tmp_path) as haproxy:
        async with relaying(haproxy) as port:
            for question in (b"show info\n", b"prompt\nshow info\nquit\n"):
                assert b"Process_num" in await said(haproxy.address, port, question)
            assert len(await said(haproxy.address, port, b"help\n")) > 1000
            assert await said(haproxy.address, port, ATTACK.encode()) == b"\n"
        assert is_in_maintenance(haproxy)


async def test_a_client_that_closes_its_half_has_its_answer(tmp_path: Path) -> None:
    """As `echo show info | nc` does."""
    with running(tmp_path) as haproxy:
        async with relaying(haproxy) as port, asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_connection(haproxy.address, port)
            with closing(writer):
                writer.write(b"show info\n")
                writer.write_eof()
                assert b"Process_num" in await reader.read()


async def test_silent_visitors_do_not_lock_others_out(tmp_path: Path) -> None:
    """When all places are taken, the oldest visitor that has sent nothing makes room."""
    with running(tmp_path) as haproxy:
        async with relaying(haproxy, RelayLimits(max_connections=4)) as port:
            silent = [await asyncio.open_connection(haproxy.address, port) for _ in range(12)]
            assert b"Process_num" in await said(haproxy.address, port, b"show info\n")
            async with asyncio.timeout(WITHIN_S):
                with suppress(ConnectionError):
                    assert await silent[0][0].read() == b""
            for _, writer in silent:
                writer.close()


async def test_a_silent_visitor_is_closed_in_time(tmp_path: Path) -> None:
    """The deadline is that of the first line."""
    with running(tmp_path) as haproxy:
        async with relaying(haproxy, RelayLimits(first_line_within_s=0.1)) as port:
            assert await said(haproxy.address, port, b"") == b""


async def test_a_line_without_end_is_closed(tmp_path: Path) -> None:
    """HAProxy takes none that is as long, and the daemon keeps none."""
    with running(tmp_path) as haproxy:
        async with relaying(haproxy) as port:
            assert b"Process_num" not in await said(haproxy.address, port, b"show info" + b" " * 200_000)


async def test_a_taken_address_is_tried_again(tmp_path: Path) -> None:
    """The daemon goes on meanwhile, and logs it once."""
    with running(tmp_path) as haproxy, capture_logs() as lines:
        port = free_port(haproxy.address)
        other = await asyncio.start_server(lambda _reader, writer: writer.close(), haproxy.address, port)
        limits = RelayLimits(retry_after_s=0.05)
        task = asyncio.create_task(
            RuntimeRelay(haproxy.address, port, haproxy.runtime_socket, time.monotonic, limits).run()
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                await logged(lines, "runtime_relay.blocked")
                other.close()
                await logged(lines, "runtime_relay.opened")
            assert b"Process_num" in await said(haproxy.address, port, b"show info\n")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert [line["event"] for line in lines] == ["runtime_relay.blocked", "runtime_relay.opened"]


async def test_without_haproxy_a_connection_is_closed(tmp_path: Path) -> None:
    """And the relay goes on."""
    haproxy = HAProxyProcess(tmp_path)
    async with relaying(haproxy) as port:
        for _ in range(2):
            assert await said(haproxy.address, port, b"show info\n") == b""


@pytest.fixture(scope="module")
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer with one server, and the runtime port that the lab asks for."""
    directory = tmp_path_factory.mktemp("b")
    with Balancer(directory) as made:
        made.settings["proxy"]["runtime_bind"] = f"{made.address}:9999"
        made.write_settings()
        made.start()
        made.wait_served(made.add_web(name="web1"))
        yield made


async def test_the_port_of_the_lab(balancer: Balancer) -> None:
    """With the setting, port 9999 answers a person and obeys no web page; HAProxy itself does not listen there."""
    since = balancer.daemon.mark()
    assert b" web1 " in await said(balancer.address, 9999, b"show servers state\n")
    await asyncio.to_thread(assert_unanswered, balancer.address, 9999)
    refused = await asyncio.to_thread(balancer.daemon.wait_event, "runtime_relay.refused", since, WITHIN_S)
    assert refused["line"] == "POST /;prompt; HTTP/1.1"
    assert not is_in_maintenance(balancer.haproxy)
    assert "9999" not in balancer.haproxy.config.read_text(encoding="utf-8")
    assert b" web1 " in await said(balancer.address, 9999, b"show servers state\n")

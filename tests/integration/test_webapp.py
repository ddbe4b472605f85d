"""The web app as a real process: what it does with signals, wrong settings and a port that is taken."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from compose.cluster import HOME
from compose.http import get
from compose.waiting import wait_until
from tests.loopback import free_address, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_S = 15.0
DELAY = b"POST /delay HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
"""The head of a request that sets the delay."""


def environment(address: str, port: int) -> dict[str, str]:
    """What the app is told."""
    return {
        "PATH": os.environ["PATH"],
        "NODE": "s1",
        "NODE_ADDRESS": address,
        "SERVICE_PORT": str(port),
        "WEBAPP_SECRET": "what all nodes share",
    }


def spawn(environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the app."""
    command = [sys.executable, "-m", "webapp"]
    return subprocess.Popen(command, env=environ, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@asynccontextmanager
async def running(address: str, port: int) -> AsyncIterator[subprocess.Popen[bytes]]:
    """An app that listens; killed at the end if it still lives."""
    with spawn(environment(address, port)) as process:
        try:
            await wait_until(lambda: listens(address, port), TIMEOUT_S, "the app to listen")
            yield process
        finally:
            process.kill()


def listens(address: str, port: int) -> bool:
    """Whether a connection is accepted."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


async def ask(address: str, port: int, request: bytes) -> bytes:
    """Send a raw request and read the first piece of the answer."""
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(request)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer


async def test_sigterm_finishes_running_requests_and_exits_0() -> None:
    """The slow answer arrives whole; meanwhile nobody new is let in."""
    address = free_address()
    port = free_port(address)
    async with running(address, port) as process:
        body = b'{"delay": 1500}'
        head = b"POST /delay HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
            body
        )
        assert b"200 OK" in await ask(address, port, head + body)
        slow = asyncio.create_task(get(address, port, "/", TIMEOUT_S))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)

        await wait_until(lambda: not listens(address, port), 1.0, "the app to stop listening")
        assert not slow.done()
        answer = await slow
        await wait_until(lambda: process.poll() is not None, TIMEOUT_S, "the app to end")

    assert (answer.status, answer.headers["x-backend-ip"]) == (200, address)
    assert process.returncode == 0


async def test_a_delayed_node_still_passes_its_check() -> None:
    """HEAD is answered at once whatever the delay."""
    address = free_address()
    port = free_port(address)
    async with running(address, port):
        body = b'{"delay": 10000}'
        head = b"POST /delay HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
            body
        )
        await ask(address, port, head + body)
        async with asyncio.timeout(2):
            assert b"200 OK" in await ask(address, port, b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")


async def test_a_client_that_hangs_up_in_its_request_leaves_one_line() -> None:
    """The log says so once, without a traceback, and the app goes on."""
    address = free_address()
    port = free_port(address)
    async with running(address, port) as process:
        _, writer = await asyncio.open_connection(address, port)
        writer.write(DELAY % 99 + b"{")
        await writer.drain()
        writer.close()
        # The app has read the end of that connection before it takes up this request.
        assert (await get(address, port, "/", TIMEOUT_S)).status == 200
        process.send_signal(signal.SIGTERM)
        output = (await asyncio.to_thread(process.communicate, timeout=TIMEOUT_S))[0].decode()

    assert "Traceback" not in output
    assert [event for event in re.findall(r'"event": "([^"]+)"', output) if event.startswith("request")] == [
        "request.abandoned"
    ]


def test_wrong_settings_are_all_named() -> None:
    """Exit code 2, one line for each mistake, no traceback."""
    with spawn({"PATH": os.environ["PATH"], "SERVICE_PORT": "x"}) as process:
        output = process.communicate(timeout=TIMEOUT_S)[0].decode()

    assert process.returncode == 2
    assert all(key in output for key in ("NODE:", "SERVICE_PORT:", "WEBAPP_SECRET:"))
    assert "Traceback" not in output


def test_a_port_that_is_taken_is_named() -> None:
    """The app says so and ends with exit code 3; no traceback."""
    address = free_address()
    with socket.create_server((address, 0)) as taken:
        port = taken.getsockname()[1]
        with spawn(environment(address, port)) as process:
            output = process.communicate(timeout=TIMEOUT_S)[0].decode()

    assert process.returncode == 3
    assert str(port) in output
    assert "address already in use" in output
    assert "Traceback" not in output

"""A small web server of its own process, so that it can be killed: `python -m tests.web_server ADDRESS PORT [PEM]`.

Each answer has the header `x-backend-ip` and, as its body, the head of the request. `/die` ends the connection without
an answer; `/deaths` has the number of such requests; `/wait/N` takes N seconds. With a PEM file (certificate and key)
it speaks TLS.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from tests.loopback import free_address, free_port

_START_S = 10.0


@dataclass(frozen=True, slots=True)
class WebServer:
    """A web server that runs at `address:port`; or another server, whose program a subclass names."""

    program: ClassVar[str] = "tests.web_server"

    address: str
    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, address: str | None = None, port: int = 0, pem: Path | None = None) -> Self:
        """Start one and return when it accepts; at a free port, unless one is given. A PEM file makes it speak TLS."""
        address = address or free_address()
        port = port or free_port(address)
        arguments = [address, str(port), *([] if pem is None else [str(pem)])]
        process = subprocess.Popen([sys.executable, "-m", cls.program, *arguments])
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection((address, port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return cls(address, port, process)
        process.kill()
        process.wait()
        raise RuntimeError(f"no {cls.program} at {address}:{port}")

    def kill(self) -> None:
        """End it at once, as a crash would; twice is fine."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class _Handler:
    def __init__(self, address: str) -> None:
        self._address = address
        self._deaths = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests on one connection until the client ends it."""
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1]
        if path == b"/die":
            self._deaths += 1
            return False
        if path.startswith(b"/wait/"):
            await asyncio.sleep(float(path.removeprefix(b"/wait/")))
        body = str(self._deaths).encode() if path == b"/deaths" else head
        answer = f"HTTP/1.1 200 OK\r\nx-backend-ip: {self._address}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        writer.write(answer if head.startswith(b"HEAD ") else answer + body)
        return True


async def _main(address: str, port: int, pem: str = "") -> None:
    context = None
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
    server = await asyncio.start_server(_Handler(address).serve, address, port, ssl=context)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))

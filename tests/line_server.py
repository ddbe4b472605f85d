"""A small TCP server that speaks lines, as Redis does: `python -m tests.line_server ADDRESS PORT`.

| line | answer |
|---|---|
| `PING` | `+PONG`; after `FAIL` `-LOADING`, as of a server that takes connections and cannot serve |
| `WHO` | the server's address |
| `FAIL`, `MEND` | `+OK` |
| `WRITE` | `+OK` and the server's address; from a replica `-READONLY` and the address |
| `info replication` | a role as Redis gives it: `role:master`, from a replica `role:slave` |
| `PROMOTE`, `DEMOTE`, `QUIT` | `+OK`; the server starts as a master |
| anything else | itself |
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from typing import ClassVar, Self

from tests.web_server import WebServer

ANSWER_S = 5.0


class LineServer(WebServer):
    """Such a server, in a process of its own."""

    program: ClassVar[str] = "tests.line_server"


class LineClient:
    """One connection to such a server, perhaps through a balancer."""

    def __init__(self, address: str, port: int) -> None:
        """Connect. OSError when nobody takes the connection."""
        self._socket = socket.create_connection((address, port), timeout=ANSWER_S)
        self._lines = self._socket.makefile("rb")

    def ask(self, line: str) -> str:
        """Send a line and return the answer; ConnectionError when the connection ends instead."""
        self._socket.sendall(f"{line}\r\n".encode())
        answer = self._lines.readline()
        if not answer.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended, after {answer!r}")
        return answer.decode().strip()

    def close(self) -> None:
        """End the connection."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler:
    def __init__(self, address: str) -> None:
        self._address = address
        self._fails = False
        self._replica = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer line by line until the client ends it."""
        with suppress(OSError):
            while line := (await reader.readline()).decode().strip():
                writer.write(f"{self._answer(line)}\r\n".encode())
                await writer.drain()
        writer.close()

    def _answer(self, line: str) -> str:
        match line:
            case "FAIL" | "MEND":
                self._fails = line == "FAIL"
                return "+OK"
            case "PROMOTE" | "DEMOTE":
                self._replica = line == "DEMOTE"
                return "+OK"
            case "info replication":
                role = f"role:{'slave' if self._replica else 'master'}"
                return f"${len(role)}\r\n{role}"
            case _:
                return self._answers().get(line, line)

    def _answers(self) -> dict[str, str]:
        return {
            "PING": "-LOADING" if self._fails else "+PONG",
            "WHO": self._address,
            "WRITE": f"{'-READONLY' if self._replica else '+OK'} {self._address}",
            "QUIT": "+OK",
        }


async def _main(address: str, port: int) -> None:
    server = await asyncio.start_server(_Handler(address).serve, address, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))

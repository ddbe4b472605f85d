"""The smallest honest HTTP/1.1 client: one GET, one whole answer, nothing retried and nothing assumed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

LARGEST_ANSWER = 1_000_000


class GarbledAnswerError(Exception):
    """The bytes are no HTTP answer that this client understands."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; the names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ends_connection(self) -> bool:
        """Whether the server closes the connection after it."""
        return self.headers.get("connection", "").lower() == "close"


def request_of(address: str, port: int, path: str) -> bytes:
    """The bytes of a GET that leaves the connection open."""
    return f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: rosterd-demo\r\n\r\n".encode()


async def get(address: str, port: int, path: str, timeout_s: float) -> Answer:
    """Ask once, on a new connection.

    Raises:
        OSError: no connection, a broken one, or (TimeoutError) no whole answer in time.
        asyncio.IncompleteReadError: the connection ended in the middle.
        GarbledAnswerError: what came is no HTTP answer.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(address, port, limit=LARGEST_ANSWER)
        try:
            writer.write(request_of(address, port, path))
            return await read_answer(reader)
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one whole answer that has a length or ends with its connection; the errors are those of `get`."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.LimitOverrunError:
        raise GarbledAnswerError("a head without an end") from None
    version, _, rest = head[0].partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise GarbledAnswerError(head[0])
    pairs = [line.partition(":") for line in head[1:] if line]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    answer = Answer(int(rest[:3]), headers, b"")
    return Answer(answer.status, headers, await _read_body(reader, answer))


async def _read_body(reader: asyncio.StreamReader, head: Answer) -> bytes:
    length = head.headers.get("content-length")
    if length is not None:
        if not length.isdecimal() or int(length) > LARGEST_ANSWER:
            raise GarbledAnswerError(f"content-length: {length!r}")
        return await reader.readexactly(int(length))
    if not head.ends_connection:
        raise GarbledAnswerError("an answer without a length")
    return await reader.read(LARGEST_ANSWER)

"""What HAProxy itself says, so that the demo need not take the word of the daemon that it checks.

`show stat` on the runtime socket tells which servers there are and how they are; `show proc` on the master socket
tells how often HAProxy has reloaded. Parsing is pure; `ask` opens one connection for each question.
"""

from __future__ import annotations

import asyncio
import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Endpoint: TypeAlias = "Path | tuple[str, int]"
"""A unix socket, or an address and port."""

LARGEST_REPLY = 1_000_000
ANSWER_TIMEOUT_S = 2.0
MASTER_ABSENT_S = 3.0
_POLL_S = 0.02


class HAProxyUnreadableError(Exception):
    """HAProxy does not answer, or not as expected."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server line as HAProxy runs it; `status` is HAProxy's word: UP, DOWN, MAINT, `UP 1/3` …."""

    name: str
    address: str
    status: str
    weight: int

    @property
    def is_up(self) -> bool:
        """Whether it gets traffic."""
        return self.status.startswith(("UP", "no check"))


@dataclass(frozen=True, slots=True)
class Master:
    """The master process: how often it reloaded, and the pid of its newest worker."""

    reloads: int
    worker: int


async def read_servers(runtime: Endpoint) -> tuple[ServerView, ...]:
    """Every server of every backend. HAProxyUnreadableError when HAProxy does not tell."""
    return parse_servers(await ask(runtime, "show stat"))


async def read_master(master_socket: Path) -> Master:
    """Ask the master, with patience: during a reload its socket is away for a moment."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + MASTER_ABSENT_S
    while True:
        try:
            return parse_master(await ask(master_socket, "show proc"))
        except HAProxyUnreadableError:
            if loop.time() > give_up_at:
                raise
        await asyncio.sleep(_POLL_S)


async def ask(endpoint: Endpoint, question: str) -> str:
    """One question, one answer; the master socket answers in full only when this end has closed its half."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await _connect(endpoint)
            try:
                writer.write(f"{question}\n".encode())
                writer.write_eof()
                return (await _read_all(reader)).decode("utf-8", "replace")
            finally:
                writer.close()
    except OSError as error:
        raise HAProxyUnreadableError(f"{endpoint}: {str(error) or 'no answer in time'}") from error


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(endpoint, tuple):
        return await asyncio.open_connection(*endpoint)
    return await asyncio.open_unix_connection(str(endpoint))


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    while chunk := await reader.read(65_536):
        answer += chunk
        if len(answer) > LARGEST_REPLY:
            raise HAProxyUnreadableError(f"an answer longer than {LARGEST_REPLY} bytes")
    return answer


def parse_servers(reply: str) -> tuple[ServerView, ...]:
    """The server rows of `show stat`."""
    rows = csv.DictReader(reply.removeprefix("# ").splitlines())
    try:
        return tuple(
            ServerView(row["svname"], row["addr"].rpartition(":")[0], row["status"], int(row["weight"] or 0))
            for row in rows
            if row["type"] == "2"  # 0 frontend, 1 backend, 2 server, 3 listener
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise HAProxyUnreadableError(f"show stat: {error!r}") from error


def parse_master(reply: str) -> Master:
    """The master row of `show proc`, and the pid of the worker that has seen no reload."""
    rows = [line.split() for line in reply.splitlines() if line and not line.startswith("#")]
    masters = [int(row[2]) for row in rows if len(row) > 2 and row[1] == "master" and row[2].isdecimal()]
    workers = [int(row[0]) for row in rows if len(row) > 2 and row[1:3] == ["worker", "0"]]
    if not masters or not workers:
        raise HAProxyUnreadableError(f"show proc: {reply!r}")
    return Master(masters[0], workers[-1])

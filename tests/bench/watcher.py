"""The ideal watcher: says when `members` of an agent showed a change, and stands in for clients that have no Serf.

It asks for `stats`, which is small, every few milliseconds, and for `members` when that changed or a log line came
(the log tells of a join together with the table). A thread of the bench's own process; nothing of the daemon's is used,
so that what is measured does not measure itself.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import msgpack

if TYPE_CHECKING:
    from collections.abc import Callable

STATS_EVERY_S = 0.002
MEMBERS_EVERY_S = 0.5
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """A member as the table shows it."""

    name: str
    address: str
    status: str
    tags: dict[str, str] = field(hash=False)

    @property
    def serves(self) -> bool:
        """Whether a load balancer that believes Serf gives it requests."""
        return self.status == "alive" and self.tags.get("role") == "backend"


Table = dict[str, Row]


class SerfQuestions:
    """One connection to an agent's RPC, question by question."""

    def __init__(self, rpc_address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(rpc_address, timeout=_ANSWER_S)
        self._unpacker = msgpack.Unpacker(raw=True)
        self._seq = 0
        self._monitor = -1
        self.told = False
        self.ask("handshake", {"Version": 1}, has_body=False)

    def subscribe(self) -> None:
        """Have the agent send its log, of which only that something came is looked at."""
        self._monitor = self._seq + 1
        self.ask("monitor", {"LogLevel": "INFO"}, has_body=False)

    def ask(self, command: str, arguments: dict[str, Any] | None = None, *, has_body: bool = True) -> Any:  # noqa: ANN401
        """Send one request and return the body of its reply.

        Raises:
            OSError: the agent is gone, or does not answer in time.
        """
        self._seq += 1
        request = msgpack.packb({"Command": command, "Seq": self._seq})
        self._socket.sendall(request + (msgpack.packb(arguments) if arguments is not None else b""))
        while (seq := self._next()[b"Seq"]) != self._seq:
            self._expect_log(seq)
        return self._next() if has_body else None

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a log line comes."""
        if select.select([self._socket], [], [], seconds)[0]:
            self._expect_log(self._next()[b"Seq"])

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _expect_log(self, seq: int) -> None:
        if seq != self._monitor:
            raise OSError(f"an answer to request {seq}, which was not asked")
        self._next()
        self.told = True

    def _next(self) -> dict[bytes, Any]:
        while True:
            for item in self._unpacker:
                found: dict[bytes, Any] = item
                return found
            data = self._socket.recv(65_536)
            if not data:
                raise OSError("the agent hung up")
            self._unpacker.feed(data)


def read_table(questions: SerfQuestions) -> Table:
    """Read the member table."""
    rows = (_row(member) for member in questions.ask("members")[b"Members"])
    return {row.name: row for row in rows}


def _row(member: dict[bytes, Any]) -> Row:
    return Row(
        name=member[b"Name"].decode(),
        address=str(ipaddress.ip_address(member[b"Addr"])),
        status=member[b"Status"].decode(),
        tags={key.decode(): value.decode() for key, value in member[b"Tags"].items()},
    )


class Watcher:
    """Watches an agent while the context lasts; `told` is called in its thread with each table that differs."""

    def __init__(self, rpc_address: tuple[str, int], told: Callable[[Table], None] | None = None) -> None:
        self.table: Table = {}
        self._told = told
        self._seen: dict[tuple[str, str], float] = {}
        self._questions = SerfQuestions(rpc_address)
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def seen(self, name: str, status: str) -> float | None:
        """When the table first showed that member with that status; `None` as long as it did not."""
        if self._error is not None:
            raise self._error
        return self._seen.get((name, status))

    def alive(self) -> int:
        """How many members are alive."""
        if self._error is not None:
            raise self._error
        return sum(row.status == "alive" for row in self.table.values())

    def __enter__(self) -> Self:
        self._questions.subscribe()
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._questions.close()

    def _watch(self) -> None:
        try:
            self._watch_until_stopped()
        except Exception as error:  # noqa: BLE001  whoever asks next must hear of it: a thread has no caller
            self._error = error

    def _watch_until_stopped(self) -> None:
        counters: object = None
        looked_at = time.monotonic()
        while not self._stopping.is_set():
            self._questions.wait(STATS_EVERY_S)
            now_counters = self._questions.ask("stats")[b"serf"]
            if now_counters != counters or self._questions.told or time.monotonic() - looked_at > MEMBERS_EVERY_S:
                self._questions.told = False
                counters, looked_at = now_counters, time.monotonic()
                self._look()

    def _look(self) -> None:
        table = read_table(self._questions)
        now = time.monotonic()
        if table == self.table:
            return
        for row in table.values():
            self._seen.setdefault((row.name, row.status), now)
        self.table = table
        if self._told is not None:
            self._told(table)

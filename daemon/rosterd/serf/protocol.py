"""Serf's RPC as bytes: requests to bytes, bytes to messages. No I/O, no clock.

The wire is a TCP stream of msgpack objects without framing. A request is a header map `{Command, Seq}`, then for some
commands a body map. A reply is a header map `{Error, Seq}`, then for some commands a body. `stream`, `monitor` and
`query` go on sending header and body pairs with the Seq of the request that asked for them, `query` up to a record that
is its end.

Rules:

- `Wire` owns the Seq numbers, and with them the knowledge which command a reply belongs to and whether a body follows.
- Nothing about a shape is taken on trust: what does not fit raises `SerfOutOfStep` with the name of the field. After
  that the stream has no known position, and the only cure is a new connection.
- Strings in replies need not be UTF-8 and stay `bytes`; requests use str, as Serf hangs up on anything else.
- What a peer can make us hold is bounded; `unpacking.py` has the limits.

Source: Serf's `command/agent/ipc.go`, and the bytes recorded in `tests/fixtures/serf`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Final, TypeAlias, TypeVar

import msgpack

from rosterd.errors import SerfOutOfStep
from rosterd.model import MemberRecord
from rosterd.parse import escaped
from rosterd.serf.unpacking import FEED_SIZE, Map, Partial, Unpacking

IPC_VERSION: Final = 1

_ERROR_TEXT_LIMIT: Final = 500


class Command(Enum):
    """The requests that we make, by the names that Serf gives them."""

    HANDSHAKE = "handshake"
    AUTH = "auth"
    STREAM = "stream"
    MONITOR = "monitor"
    STATS = "stats"
    MEMBERS = "members"
    JOIN = "join"
    QUERY = "query"


_WITH_BODY: Final = frozenset({Command.STATS, Command.MEMBERS, Command.JOIN})
_WITH_BODY_THOUGH_REFUSED: Final = frozenset({Command.JOIN})
_WITH_RECORDS: Final = frozenset({Command.STREAM, Command.MONITOR, Command.QUERY})

# Answered before the command is even looked at, so no command's body follows.
AUTH_REQUIRED: Final = "Authentication required"
_NO_BODY_AFTER: Final = frozenset({AUTH_REQUIRED, "Handshake required"})


# --- what we ask ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One command and its body, None for a command that has none."""

    command: Command
    body: Mapping[str, object] | None = None


def handshake() -> Request:
    """Ask to speak version 1 of the RPC: the first request of every connection."""
    return Request(Command.HANDSHAKE, {"Version": IPC_VERSION})


def auth(key: str) -> Request:
    """Show the agent's `rpc_auth` key."""
    return Request(Command.AUTH, {"AuthKey": key})


def stream() -> Request:
    """Subscribe to every event that the agent tells."""
    return Request(Command.STREAM, {"Type": "*"})


def monitor() -> Request:
    """Subscribe to the agent's log at INFO, where membership shows a second before the events."""
    return Request(Command.MONITOR, {"LogLevel": "INFO"})


def stats() -> Request:
    """Ask for the agent's counters, a reply of constant size."""
    return Request(Command.STATS)


def members() -> Request:
    """Ask for the whole member table."""
    return Request(Command.MEMBERS)


def join(addresses: Sequence[str]) -> Request:
    """Ask the agent to join these `host:port`, without the user events that were sent before it came."""
    return Request(Command.JOIN, {"Existing": list(addresses), "Replay": False})


def query(name: str, payload: bytes, to: str, within: float) -> Request:
    """Send the member `to` the query `name`, to be answered within so many seconds; it says first that it came."""
    body = {"Name": name, "Payload": payload, "FilterNodes": [to], "RequestAck": True, "Timeout": round(within * 1e9)}
    return Request(Command.QUERY, body)


# --- what we are told -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The agent did what `command` asked; the reply holds nothing else."""

    command: Command


@dataclass(frozen=True, slots=True)
class Refused:
    """The agent answered `command` with an error: `reason` is its text, printable and bounded."""

    command: Command
    reason: str


@dataclass(frozen=True, slots=True)
class Stats:
    """The part of `stats` that speaks of membership.

    `mark` differs whenever the member table may differ: compare it, nothing else. `health_score` is 0 to 7, `agent` the
    name of the local agent's own member. `encrypted` says whether gossip is, None where the agent does not say.
    """

    mark: tuple[bytes, ...]
    health_score: int
    agent: bytes
    encrypted: bool | None


@dataclass(frozen=True, slots=True)
class Members:
    """The whole member table, in the order of the reply, which Serf does not keep from one reply to the next."""

    records: tuple[MemberRecord, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The agent joined; `reached` is how many of the given addresses answered."""

    reached: int


@dataclass(frozen=True, slots=True)
class Told:
    """Something came for a subscription: an event (STREAM) or a log line (MONITOR). What it says does not count."""

    subscription: Command


@dataclass(frozen=True, slots=True)
class QueryReceived:
    """A query came to the member `sender`, which says so before any handler has seen it."""

    sender: bytes


@dataclass(frozen=True, slots=True)
class QueryAnswered:
    """A handler of the member `sender` answered a query. Whoever gossips can send this: hold it against `members`."""

    sender: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class QueryEnded:
    """The time of a query is over; nothing more comes for it."""


Message: TypeAlias = Accepted | Refused | Stats | Members | Joined | Told | QueryReceived | QueryAnswered | QueryEnded


# --- the wire ---------------------------------------------------------------------------------------------------


class Wire:
    """One connection's numbering and decoding. Raising leaves it broken: throw it away with its connection."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._asked: dict[int, Command] = {}
        self._subscribed: dict[int, Command] = {}
        self._input = Unpacking()
        self._messages = self._read_messages()

    def request(self, request: Request) -> bytes:
        """Number a request, expect its reply, and return its bytes."""
        seq = next(self._numbers)
        self._asked[seq] = request.command
        header: bytes = msgpack.packb({"Command": request.command.value, "Seq": seq})
        if request.body is None:
            return header
        body: bytes = msgpack.packb(request.body)
        return header + body

    def receive(self, data: bytes) -> Iterator[Message]:
        """Take bytes in any pieces and yield the messages that they complete, in order.

        What came before a fault is yielded before the fault is raised: an agent that wants auth says so first and is
        out of step only then.

        Raises:
            SerfOutOfStep: the bytes are no msgpack, fit no request of ours, exceed a limit, or there is no memory to
                decode them.
        """
        for start in range(0, len(data), FEED_SIZE):
            try:
                self._input.feed(data[start : start + FEED_SIZE])
                while (message := next(self._messages)) is not None:
                    yield message
            except MemoryError:
                raise SerfOutOfStep("there is no memory to decode what it sent") from None
            self._input.check_length()

    def _read_messages(self) -> Generator[Message | None, None, None]:
        """Yield the messages in order, and None whenever the next one is not complete."""
        while True:
            self._input.begin_message()
            header = self._take_header(_as_map((yield from self._input.map("a header")), "a header"))
            if header.has_body:
                yield (yield from self._read_body(header))
            else:
                yield self._take_reply(header)

    def _read_body(self, header: _Header) -> Partial[Message]:
        where = f"the body of `{header.command.value}`"
        match header.command:
            case Command.STREAM | Command.MONITOR:
                yield from self._input.skip_map(where)
                return Told(header.command)
            case Command.MEMBERS:
                return (yield from self._read_members(where))
        body = _as_map((yield from self._input.map(where)), where)
        if header.error:
            return Refused(header.command, header.error)
        message = _BODIES[header.command](body)
        if isinstance(message, QueryEnded):
            del self._subscribed[header.seq]
        return message

    def _read_members(self, where: str) -> Partial[Members]:
        """Read the one body that is large: member by member, so that only what is used of each is held."""
        records: list[MemberRecord] | None = None
        for _ in range((yield from self._input.open_map(where))):
            if (yield from self._input.item(where)) != b"Members":
                yield from self._input.skip()
                continue
            count = yield from self._input.open_list("Members of `members`")
            records = []
            for _ in range(count):
                records.append(_read_member(_as_map((yield from self._input.item("a member")), "a member")))
        if records is None:
            raise SerfOutOfStep("Members of `members` is absent")
        return Members(tuple(records))

    def _take_header(self, item: Map) -> _Header:
        seq = _field(item, b"Seq", int, "a header")
        error = _one_line(_field(item, b"Error", bytes, "a header"))
        if seq in self._asked:
            command = self._asked.pop(seq)
            return _Header(command, seq, error, has_body=_has_body(command, error))
        if seq not in self._subscribed or error:
            raise SerfOutOfStep(f"a reply with Seq {seq} that fits no request; Error: {error!r}")
        return _Header(self._subscribed[seq], seq, error, has_body=True)

    def _take_reply(self, header: _Header) -> Message:
        """Take a reply that is its header alone."""
        if header.error:
            return Refused(header.command, header.error)
        if header.command in _WITH_RECORDS:
            self._subscribed[header.seq] = header.command
        return Accepted(header.command)


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a reply or of a subscription's record said, and whether a body follows."""

    command: Command
    seq: int
    error: str
    has_body: bool


def _has_body(command: Command, error: str) -> bool:
    """Whether Serf sends a body after this header of a reply."""
    if error:
        return command in _WITH_BODY_THOUGH_REFUSED and error not in _NO_BODY_AFTER
    return command in _WITH_BODY


# --- bodies -----------------------------------------------------------------------------------------------------

_Value = TypeVar("_Value")

_TRUTH: Final[Mapping[object, bool]] = {b"true": True, b"false": False}

# Between them they move with every join, leave, crash and reap; health_score is here because a snapshot carries it.
_MARKS: Final = (b"member_time", b"members", b"failed", b"left", b"event_time", b"health_score")


def _read_stats(body: Map) -> Stats:
    serf = _as_map(body.get(b"serf"), "serf in `stats`")
    mark = tuple(_field(serf, key, bytes, "serf in `stats`") for key in _MARKS)
    score = mark[-1]
    if not (score.isdigit() and len(score) < 4):
        raise SerfOutOfStep(f"health_score of serf in `stats` is no small number: {score[:20]!r}")
    agent = _field(_as_map(body.get(b"agent"), "agent in `stats`"), b"name", bytes, "agent in `stats`")
    encrypted = _TRUTH.get(serf.get(b"encrypted"))
    return Stats(mark=mark, health_score=int(score), agent=agent, encrypted=encrypted)


def _read_member(item: Map) -> MemberRecord:
    # Go encodes an empty slice or map that was never made as nil.
    address, tags = item.get(b"Addr"), item.get(b"Tags")
    return MemberRecord(
        _field(item, b"Name", bytes, "a member"),
        b"" if address is None else _field(item, b"Addr", bytes, "a member"),
        _field(item, b"Port", int, "a member"),
        {} if tags is None else _read_tags(item),
        _field(item, b"Status", bytes, "a member"),
    )


def _read_tags(item: Map) -> dict[bytes, bytes]:
    tags: dict[bytes, bytes] = _field(item, b"Tags", dict, "a member")
    for value in tags.values():
        if type(value) is not bytes:
            raise SerfOutOfStep("Tags of a member hold a value that is no string")
    return tags  # the decoder allows only bytes as keys


def _read_joined(body: Map) -> Joined:
    return Joined(_field(body, b"Num", int, "`join`"))


def _read_query(body: Map) -> Message:
    kind = _field(body, b"Type", bytes, "`query`")
    if kind == b"done":
        return QueryEnded()
    sender = _field(body, b"From", bytes, "`query`")
    if kind == b"ack":
        return QueryReceived(sender)
    if kind == b"response":
        empty = body.get(b"Payload") is None  # so does Go encode an empty slice
        return QueryAnswered(sender, b"" if empty else _field(body, b"Payload", bytes, "`query`"))
    raise SerfOutOfStep(f"Type of `query` is none that there is: {kind[:20]!r}")


_BODIES: Final[Mapping[Command, Callable[[Map], Message]]] = {
    Command.STATS: _read_stats,
    Command.JOIN: _read_joined,
    Command.QUERY: _read_query,
}


def _as_map(item: object, where: str) -> Map:
    if not isinstance(item, dict):
        raise SerfOutOfStep(f"{where} is no map but {type(item).__name__}")
    return item


def _field(item: Map, key: bytes, kind: type[_Value], where: str) -> _Value:
    value = item.get(key)
    if type(value) is not kind:  # exactly: a bool is no number here
        found = "absent" if key not in item else type(value).__name__
        raise SerfOutOfStep(f"{key.decode()} of {where} is no {kind.__name__} but {found}")
    return value


def _one_line(text: bytes) -> str:
    """Make one bounded line of the agent's words, which quote names that anyone may choose."""
    if not text:
        return ""
    return escaped(" ".join(text[:_ERROR_TEXT_LIMIT].decode("utf-8", "surrogateescape").split()))

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
- What a peer can make us hold is bounded: one message by `MESSAGE_LIMIT` bytes, one list by `LIST_LIMIT` items.

Source: Serf's `command/agent/ipc.go`, and the bytes recorded in `tests/fixtures/serf`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Final, TypeAlias, TypeVar

import msgpack

from rosterd.errors import SerfOutOfStep
from rosterd.model import MemberRecord
from rosterd.parse import escaped

MESSAGE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one message. 10,000 members take 2 MB; the rest is for long names and full tags. What is decoded can take
sixty times as much memory when a peer sends nothing but empty maps, so this is no larger than it must be."""

LIST_LIMIT: Final = 65_536
"""Items of one list, so members too. The decoder reserves memory for a list when it has read only its length."""

MAP_LIMIT: Final = 4_096
"""Keys of one map. Serf bounds all tags of a member to 512 bytes."""

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
    name of the local agent's own member.
    """

    mark: tuple[bytes, ...]
    health_score: int
    agent: bytes


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
        self._header: _Header | None = None
        self._received = 0
        self._understood = 0
        self._unpacker = msgpack.Unpacker(
            raw=True, max_buffer_size=MESSAGE_LIMIT, max_array_len=LIST_LIMIT, max_map_len=MAP_LIMIT
        )

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
            SerfOutOfStep: the bytes are no msgpack, fit no request of ours, or exceed a limit.
        """
        for item in self._unpack(data):
            message = self._take(item)
            if message is not None:
                yield message

    def _unpack(self, data: bytes) -> Iterator[object]:
        self._received += len(data)
        try:
            self._unpacker.feed(data)
            for item in self._unpacker:
                self._understood = self._unpacker.tell()
                yield item
        except (ValueError, msgpack.exceptions.UnpackException) as error:
            raise SerfOutOfStep(f"undecodable bytes: {str(error) or type(error).__name__}") from None
        # The decoder drops what it has read of a message, but keeps what it made of it: count for it.
        if self._received - self._understood > MESSAGE_LIMIT:
            raise SerfOutOfStep(f"a message of more than {MESSAGE_LIMIT} bytes")

    def _take(self, item: object) -> Message | None:
        """Take the next whole object: the body that the last header announced, or a header."""
        header, self._header = self._header, None
        if header is None:
            return self._take_header(_as_map(item, "a header"))
        body = _as_map(item, f"the body of `{header.command.value}`")
        if header.error:
            return Refused(header.command, header.error)
        message = _BODIES[header.command](body)
        if isinstance(message, QueryEnded):
            del self._subscribed[header.seq]
        return message

    def _take_header(self, item: _Map) -> Message | None:
        seq = _field(item, b"Seq", int, "a header")
        error = _one_line(_field(item, b"Error", bytes, "a header"))
        if seq in self._asked:
            return self._take_reply(_Header(self._asked.pop(seq), seq, error))
        if seq not in self._subscribed or error:
            raise SerfOutOfStep(f"a reply with Seq {seq} that fits no request; Error: {error!r}")
        self._header = _Header(self._subscribed[seq], seq, error)
        return None

    def _take_reply(self, header: _Header) -> Message | None:
        if header.has_body:
            self._header = header
            return None
        if header.error:
            return Refused(header.command, header.error)
        if header.command in _WITH_RECORDS:
            self._subscribed[header.seq] = header.command
        return Accepted(header.command)


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a reply or of a subscription's record said."""

    command: Command
    seq: int
    error: str

    @property
    def has_body(self) -> bool:
        """Whether Serf sends a body after this header of a reply."""
        if self.error:
            return self.command in _WITH_BODY_THOUGH_REFUSED and self.error not in _NO_BODY_AFTER
        return self.command in _WITH_BODY


# --- bodies -----------------------------------------------------------------------------------------------------

_Map: TypeAlias = dict[object, object]
_Value = TypeVar("_Value")

# Between them they move with every join, leave, crash and reap; health_score is here because a snapshot carries it.
_MARKS: Final = (b"member_time", b"members", b"failed", b"left", b"event_time", b"health_score")


def _read_stats(body: _Map) -> Stats:
    serf = _as_map(body.get(b"serf"), "serf in `stats`")
    mark = tuple(_field(serf, key, bytes, "serf in `stats`") for key in _MARKS)
    score = mark[-1]
    if not (score.isdigit() and len(score) < 4):
        raise SerfOutOfStep(f"health_score of serf in `stats` is no small number: {score[:20]!r}")
    agent = _field(_as_map(body.get(b"agent"), "agent in `stats`"), b"name", bytes, "agent in `stats`")
    return Stats(mark=mark, health_score=int(score), agent=agent)


def _read_members(body: _Map) -> Members:
    listed: list[object] = _field(body, b"Members", list, "`members`")
    return Members(tuple(_read_member(_as_map(item, "a member")) for item in listed))


def _read_member(item: _Map) -> MemberRecord:
    # Go encodes an empty slice or map that was never made as nil.
    address, tags = item.get(b"Addr"), item.get(b"Tags")
    return MemberRecord(
        _field(item, b"Name", bytes, "a member"),
        b"" if address is None else _field(item, b"Addr", bytes, "a member"),
        _field(item, b"Port", int, "a member"),
        {} if tags is None else _read_tags(item),
        _field(item, b"Status", bytes, "a member"),
    )


def _read_tags(item: _Map) -> dict[bytes, bytes]:
    tags: dict[bytes, bytes] = _field(item, b"Tags", dict, "a member")
    for value in tags.values():
        if type(value) is not bytes:
            raise SerfOutOfStep("Tags of a member hold a value that is no string")
    return tags  # the decoder allows only bytes as keys


def _read_joined(body: _Map) -> Joined:
    return Joined(_field(body, b"Num", int, "`join`"))


def _read_query(body: _Map) -> Message:
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


_BODIES: Final[Mapping[Command, Callable[[_Map], Message]]] = {
    Command.STATS: _read_stats,
    Command.MEMBERS: _read_members,
    Command.JOIN: _read_joined,
    Command.QUERY: _read_query,
    Command.STREAM: lambda _: Told(Command.STREAM),
    Command.MONITOR: lambda _: Told(Command.MONITOR),
}


def _as_map(item: object, where: str) -> _Map:
    if not isinstance(item, dict):
        raise SerfOutOfStep(f"{where} is no map but {type(item).__name__}")
    return item


def _field(item: _Map, key: bytes, kind: type[_Value], where: str) -> _Value:
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

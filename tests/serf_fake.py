"""An agent that is not there: Serf's RPC played in the test's own event loop, so that it can lie, hang and be huge.

`tests/contract/test_serf_contract.py` runs the same tests on this and on a real agent; what they do not cover, this
does not imitate. It answers in order, connection by connection; shows a change in `members`, `stats` and the log at
once and as an event a second later; and, like Serf, answers a command that comes before auth, and its body once more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Self

import msgpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EVENT_DELAY_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 5.0

Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class FakeMember:
    """One row of the table; a lone surrogate in its text becomes the byte it stands for (surrogateescape)."""

    name: str
    address: str = "127.0.0.1"
    port: int = 7946
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str = "alive"

    def packed(self) -> Body:
        """Return the row as Serf sends it."""
        return {
            "Name": self.name,
            "Addr": ip_address(self.address).packed,
            "Port": self.port,
            "Tags": dict(self.tags),
            "Status": self.status,
            **dict.fromkeys(("ProtocolMin", "ProtocolMax", "ProtocolCur"), 2),
            **dict.fromkeys(("DelegateMin", "DelegateMax", "DelegateCur"), 5),
        }


def many_members(count: int) -> list[FakeMember]:
    """Return `count` alive members with the tags of a web node."""
    return [
        FakeMember(
            f"web{n}", f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", tags={"role": "backend", "node": f"web{n}"}
        )
        for n in range(count)
    ]


class FakeAgent:
    """Listens on `host` at a port of the system's choice, kept over `kill` and `start`.

    `health_score` and `encrypted` go into `stats`. `garble`, where set, rewrites what every reply's bytes are before
    they are sent.
    `requests` are the commands that came, in order. `joinable` are the members that a `join` brings in, each by its
    `address:port`. `handlers` are those of members for a query of any name: each gets the payload with the newline that
    Serf puts behind it, and returns the answer, None where it fails.
    """

    def __init__(self, host: str = "127.0.0.1", auth_key: str | None = None) -> None:
        self.members: dict[str, FakeMember] = {}
        self.joinable: dict[str, FakeMember] = {}
        self.handlers: dict[str, Callable[[bytes], bytes | None]] = {}
        self.health_score = 0
        self.encrypted = False
        self.auth_key = auth_key
        self.garble: Callable[[bytes], bytes] | None = None
        self.requests: list[str] = []
        self._host = host
        self._port = 0
        self._member_time = 1
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()
        self._going = asyncio.Event()
        self._going.set()
        self._deserted = asyncio.Event()
        self._deserted.set()

    @property
    def rpc_address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._host, self._port

    @property
    def connections(self) -> int:
        """How many are connected."""
        return len(self._lines)

    async def start(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def kill(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for line in tuple(self._lines):
            line.writer.transport.abort()

    async def close(self) -> None:
        """End for good, and wait until every connection is gone."""
        self.resume()
        self.kill()
        await self.until_deserted()

    async def until_deserted(self) -> None:
        """Wait until nobody is connected."""
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await self._deserted.wait()

    def pause(self) -> None:
        """Accept connections and answer nothing."""
        self._going.clear()

    def resume(self) -> None:
        """Answer again, first what was asked meanwhile."""
        self._going.set()

    # --- the cluster --------------------------------------------------------------------------------------------

    def put(self, member: FakeMember) -> None:
        """Add a member, or replace the one of that name, and tell of it as of a join, leave or crash."""
        self.members[member.name] = member
        self._member_time += 1
        self._tell("EventMemberJoin" if member.status == "alive" else "EventMemberLeave", member)

    def set_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Change a member's tags: the one change that `stats` does not show."""
        self.members[name] = replace(self.members[name], tags=tags)
        self._tell("EventMemberUpdate", self.members[name])

    def say(self, text: str) -> None:
        """Write a line into the log."""
        for line in self._lines:
            line.send_log(text)

    def _tell(self, what: str, member: FakeMember) -> None:
        self.say(f"[INFO] serf: {what}: {member.name}")
        event: Body = {"Event": "member-update", "Members": [member.packed()]}
        asyncio.get_running_loop().call_later(EVENT_DELAY_S, self._send_event, event)

    def _send_event(self, event: Body) -> None:
        for line in self._lines:
            line.send_event(event)

    # --- the RPC ------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(self, writer)
        self._lines.add(line)
        self._deserted.clear()
        try:
            while data := await reader.read(65_536):
                await self._going.wait()
                if not line.take(data):
                    break
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._lines.discard(line)
            if not self._lines:
                self._deserted.set()

    def stats(self) -> Body:
        """Return the counters as Serf gives them: all text."""
        statuses = [member.status for member in self.members.values()]
        serf = {
            "members": len(statuses),
            "failed": statuses.count("failed"),
            "left": statuses.count("left"),
            "member_time": self._member_time,
            "event_time": 1,
            "query_time": 1,
            "health_score": self.health_score,
            "encrypted": "true" if self.encrypted else "false",
        }
        return {"agent": {"name": "fake"}, "serf": {key: str(value) for key, value in serf.items()}, "tags": {}}

    def join(self, addresses: list[bytes]) -> tuple[str, Body]:
        """Bring in who is known at these addresses."""
        found = [self.joinable[each] for each in map(bytes.decode, addresses) if each in self.joinable]
        for member in found:
            self.put(member)
        error = "" if found else f"1 error occurred:\n\t* Failed to join {addresses!r}\n\n"
        return error, {"Num": len(found)}

    def query(self, name: str, payload: bytes) -> list[Body]:
        """Return what comes from a member to whom a query is sent, before the end of its time."""
        member = self.members.get(name)
        if member is None or member.status != "alive":
            return []
        records: list[Body] = [{"Type": "ack", "From": name, "Payload": None}]
        answer = self.handlers[name](payload + b"\n") if name in self.handlers else None
        return [*records, {"Type": "response", "From": name, "Payload": answer}] if answer else records


class _Line:
    """One connection: its decoder, what it may do, and what it is subscribed to."""

    def __init__(self, agent: FakeAgent, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._agent = agent
        self._unpacker = msgpack.Unpacker(raw=True)
        self._greeted = False
        self._admitted = agent.auth_key is None
        self._command = ""
        self._seq = 0
        self._has_header = False
        self._stream: int | None = None
        self._monitor: int | None = None

    def take(self, data: bytes) -> bool:
        """Answer every whole request; False asks to hang up, as Serf does on what it does not understand."""
        self._unpacker.feed(data)
        return all(self._take_item(item) for item in self._unpacker)

    def send_log(self, text: str) -> None:
        if self._monitor is not None:
            self._send(self._monitor, "", {"Log": text})

    def send_event(self, event: Body) -> None:
        if self._stream is not None:
            self._send(self._stream, "", event)

    def _take_item(self, item: dict[bytes, object]) -> bool:
        if self._has_header:
            self._has_header = False
            return self._answer(item)
        if b"Command" in item:  # Serf's header variable keeps its old values where a map has none
            command, seq = item[b"Command"], item[b"Seq"]
            assert isinstance(command, bytes)
            assert isinstance(seq, int)
            self._command, self._seq = command.decode(), seq
            self._agent.requests.append(self._command)
        if not self._greeted and self._command != "handshake":
            self._send(self._seq, "Handshake required")
            return False
        if not self._admitted and self._command not in {"handshake", "auth"}:
            self._send(self._seq, "Authentication required")
            return True
        if self._command in {"handshake", "auth", "stream", "monitor", "join", "query"}:
            self._has_header = True
            return True
        return self._answer({})

    def _answer(self, body: dict[bytes, object]) -> bool:
        seq = self._seq
        match self._command:
            case "handshake":
                self._greeted = True
                self._send(seq, "")
            case "auth":
                right = self._agent.auth_key is not None and body[b"AuthKey"] == self._agent.auth_key.encode()
                self._admitted = self._admitted or right
                self._send(seq, "" if right else "Invalid authentication token")
            case "stream":
                self._stream = seq
                self._send(seq, "")
            case "monitor":
                self._monitor = seq
                self._send(seq, "")
                self.send_log("[INFO] agent: Serf agent starting")
            case "stats":
                self._send(seq, "", self._agent.stats())
            case "members":
                self._send(seq, "", {"Members": [member.packed() for member in self._agent.members.values()]})
            case "join":
                addresses = body[b"Existing"]
                assert isinstance(addresses, list)
                error, reply = self._agent.join(addresses)
                self._send(seq, error, reply)
            case "query":
                self._query(seq, body)
            case _:
                self._send(seq, "Unsupported command")
                return False
        return True

    def _query(self, seq: int, body: dict[bytes, object]) -> None:
        names, payload, nanoseconds = body[b"FilterNodes"], body[b"Payload"], body[b"Timeout"]
        assert isinstance(names, list)
        assert isinstance(payload, bytes)
        assert isinstance(nanoseconds, int)
        self._send(seq, "")
        for name in names:
            for record in self._agent.query(name.decode(), payload):
                self._send(seq, "", record)
        done: Body = {"Type": "done", "From": "", "Payload": None}
        asyncio.get_running_loop().call_later(nanoseconds / 1e9, self._send, seq, "", done)

    def _send(self, seq: int, error: str, body: Body | None = None) -> None:
        packer = msgpack.Packer(unicode_errors="surrogateescape")
        data: bytes = packer.pack({"Error": error, "Seq": seq})
        if body is not None:
            data += packer.pack(body)
        self.writer.write(data if self._agent.garble is None else self._agent.garble(data))

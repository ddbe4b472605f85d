"""What is fuzzed: each target takes any bytes, and may fail only with an error of ours.

- `wire`: Serf's RPC as bytes, with every request of ours open.
- `session`: a whole conversation with an agent, bytes and time.
- `observation`: HAProxy's answer to what we ask it all the time.
- `answers`: HAProxy's other answers: processes, reloads, replies to commands, messages of `haproxy -c`.
- `server_lines`: a rendered configuration, read back.
- `member`: a member as gossip tells of it, parsed and decided on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from rosterd.config_text import frame_changes, read_contents
from rosterd.errors import ProxyError, SerfError
from rosterd.model import Member, MemberRecord, RemoveServer
from rosterd.parse import parse_member, printable, raw_of
from rosterd.policy import View, decide
from rosterd.proxy import commands
from rosterd.proxy.actions import result_of, split_replies
from rosterd.proxy.needs import read_needs
from rosterd.roster import EMPTY, advance
from rosterd.serf import protocol
from rosterd.serf.protocol import Wire
from rosterd.serf.session import SerfTiming, Session
from rosterd.server_lines import ServerLines
from rosterd.settings import PolicySettings, ServiceSettings

FIXTURES = Path(__file__).parents[1] / "fixtures"
SERVICES = (ServiceSettings(name="nodes"), ServiceSettings(name="api", match={"role": "api"}, hosts=("api.example",)))


def wire(data: bytes) -> None:
    """Take the bytes in two pieces, the first byte says where."""
    line = Wire()
    for request in (
        protocol.handshake(), protocol.auth("k"), protocol.stream(), protocol.monitor(), protocol.stats(),
        protocol.members(), protocol.join(["a"]), protocol.query("q", b"", "a", 1.0),
    ):  # fmt: skip
        line.request(request)
    cut = data[0] if data else 0
    with contextlib.suppress(SerfError):
        for piece in (data[:cut], data[cut:]):
            list(line.receive(piece))


def session(data: bytes) -> None:
    """Take pieces of a length that a byte says, with a little time between them, and the timer whenever it is due."""
    talk, now, rest = Session(None, SerfTiming()), 0.0, data
    with contextlib.suppress(SerfError):
        talk.open(now)
        while rest:
            length, now = 1 + rest[0], now + 0.01
            piece, rest = rest[1:length], rest[length:]
            talk.receive(piece, now)
            talk.data_to_send()
            if talk.next_timer() <= now:
                talk.timer(now)
    talk.close()


def observation(data: bytes) -> None:
    """Read it as text, as the socket does."""
    with contextlib.suppress(ProxyError):
        commands.parse_observation(data.decode("utf-8", "replace"))


def answers(data: bytes) -> None:
    """Give the same text to all of them."""
    text = data.decode("utf-8", "replace")
    for parse in (commands.parse_proc, commands.parse_reload, commands.parse_messages):
        with contextlib.suppress(ProxyError):
            parse(text)
    with contextlib.suppress(ProxyError):
        result_of(RemoveServer("nodes", "a"), split_replies(text, 2))


def server_lines(data: bytes) -> None:
    """Read a configuration that a template may make, whatever it is."""
    text = data.decode("utf-8", "replace")
    ServerLines(text, "2.6.12").addition("nodes", "web-1")
    read_needs(text, "balancer")
    one, other = (read_contents(each, {"nodes": {"web-1"}}) for each in (text, text[: len(text) // 2]))
    assert bool(frame_changes(one, other)) is (one.frame != other.frame)


def member(data: bytes) -> None:
    """Make a member of the bytes, and see that only plain words of it get anywhere."""
    fields = data.split(b"\xff\xff", 9)
    name, address, *rest = [*fields, b"", b""]
    tags = dict(zip((b"role", b"port", b"weight", b"state", b"node"), rest, strict=False))
    record = MemberRecord(name, address, 7946, tags, b"alive")
    assert raw_of(printable(name)) == name
    found = parse_member(record)
    table, _ = advance(EMPTY, [record], 0.0, served=())
    decision = decide(table, SERVICES, View(served={}, answering={}, health_score=0), PolicySettings(), 0.0)
    served = [server for backend in decision.backends for server in backend.servers]
    if not isinstance(found, Member):
        assert served == []
        assert found.reason.isprintable()
        return
    for server in served:
        assert server.name.encode() == name
        assert server.name.isascii()
        assert not set(server.name) & set(" \t\n\"'#;\\${}[]()*/")
        assert server.address == (ip_address(address) if len(address) == 4 else found.address)
        assert 0 < server.port < 65_536
        assert 0 <= server.weight <= 256


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (wire, session, observation, answers, server_lines, member)
}


def corpus(name: str) -> list[bytes]:
    """Return what a target begins with: recorded from real programs, or written down."""
    serf = [path.read_bytes() for path in sorted((FIXTURES / "serf").glob("*.bin"))]
    haproxy = [path.read_bytes() for path in sorted((FIXTURES / "haproxy").rglob("*.txt"))]
    rendered = [path.read_bytes() for path in sorted((FIXTURES / "render").glob("*.cfg"))]
    members = [
        b"\xff\xff".join(fields)
        for fields in (
            (b"web-1", bytes((10, 0, 0, 1)), b"backend", b"80", b"10", b"drain", b"shop"),
            (b"web-2", bytes(15) + b"\1", b"api", b"65536", b"-1", b"gone", b"../x"),
            (b"a\nserver evil 10.9.9.9:80", bytes(4), b"${HOME}", b'"$HOME"', b"{{ x }}", b"*", b"-a"),
        )
    ]
    return {"wire": serf, "session": serf, "server_lines": rendered, "member": members}.get(name, haproxy)

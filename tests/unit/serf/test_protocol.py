"""The bytes of Serf's RPC, as a real agent sent them and as nobody should."""

from __future__ import annotations

import contextlib
import itertools
import random
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import SerfOutOfStep
from rosterd.model import MemberRecord
from rosterd.serf import protocol
from rosterd.serf.protocol import (
    Accepted,
    Command,
    Joined,
    Members,
    Message,
    QueryAnswered,
    QueryEnded,
    QueryReceived,
    Refused,
    Stats,
    Told,
    Wire,
)
from rosterd.serf.unpacking import MESSAGE_LIMIT
from tests.fixtures.serf.record import CONVERSATIONS, HOSTILE_NAME, HOSTILE_TAGS, RAW_NAME, RAW_TAGS, recorded

# What each recorded conversation says before events and log lines are counted.
EXPECTED_TYPES: dict[str, list[type[Message]]] = {
    "handshake": [Accepted],
    "auth": [Accepted, Accepted],
    "auth_refused": [Accepted, Refused],
    "members": [Accepted, Accepted, Members],
    "members_ipv6": [Accepted, Members],
    "stats": [Accepted, Accepted, Stats],
    "stream": [Accepted, Accepted, Accepted],
    "monitor": [Accepted, Accepted, Accepted],
    "join": [Accepted, Accepted, Joined],
    "join_refused": [Accepted, Accepted, Refused],
    "query": [Accepted, Accepted, QueryReceived, QueryAnswered, QueryEnded, Members],
    "query_unanswered": [Accepted, Accepted, QueryReceived, QueryEnded],
    "query_refused": [Accepted, Refused],
    "session": [Accepted, Accepted, Accepted, Accepted, Stats, Members, Refused, Stats],
}


def asked(name: str) -> Wire:
    """Return a wire that has asked what the recorded conversation asked."""
    wire = Wire()
    for request in CONVERSATIONS[name]:
        wire.request(request)
    return wire


def take(wire: Wire, data: bytes) -> list[Message]:
    """Feed the wire and return all that it makes of it."""
    return list(wire.receive(data))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at these places."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def said(name: str) -> list[Message]:
    """Return all messages of a recorded conversation."""
    return take(asked(name), recorded(name))


def body_of(command: Command, body: object) -> list[Message]:
    """Answer the one request of `command` with this body."""
    wire = Wire()
    wire.request(protocol.Request(command))
    return take(wire, msgpack.packb({"Error": "", "Seq": 1}) + msgpack.packb(body))


MEMBER = {"Name": "n", "Addr": b"\x7f\0\0\1", "Port": 7946, "Tags": {"a": "b"}, "Status": "alive"}
AGENT = {"name": "local"}
SERF = {"member_time": "1", "members": "1", "failed": "0", "left": "0", "event_time": "1", "health_score": "0"}


@pytest.mark.parametrize("name", EXPECTED_TYPES)
def test_a_recorded_conversation_says_what_it_said(name: str) -> None:
    """Every reply of a real agent is understood, in order, with events and log lines between them."""
    replies = [type(message) for message in said(name) if not isinstance(message, Told)]
    assert replies == EXPECTED_TYPES[name]


@pytest.mark.parametrize("name", EXPECTED_TYPES)
def test_the_cut_of_the_pieces_does_not_matter(name: str) -> None:
    """Whole, byte by byte, or in random pieces: the messages are the same."""
    data = recorded(name)
    whole = take(asked(name), data)
    rng = random.Random(7946)  # noqa: S311  a seeded test
    cuts = [list(range(1, len(data)))] + [
        rng.sample(range(1, len(data)), rng.randrange(1, min(40, len(data)))) for _ in range(20)
    ]
    for cut in cuts:
        wire = asked(name)
        assert [message for piece in pieces(data, cut) for message in take(wire, piece)] == whole


def test_hostile_names_and_tags_arrive_unchanged() -> None:
    """Newlines, quotes, NUL and invalid UTF-8 in names and tags are bytes like any other."""
    (table,) = (message for message in said("members") if isinstance(message, Members))
    by_name = {record.name: record for record in table.records}
    assert by_name[RAW_NAME] == MemberRecord(RAW_NAME, bytes((127, 78, 0, 2)), 7946, RAW_TAGS, b"alive")
    hostile = by_name[HOSTILE_NAME.encode()]
    assert hostile.tags == {key.encode(): value.encode() for key, value in HOSTILE_TAGS.items()}
    assert hostile.address == bytes((127, 78, 0, 1))


def test_an_ipv6_member_has_sixteen_bytes_of_address() -> None:
    """Addresses are as long as their family says."""
    (table,) = (message for message in said("members_ipv6") if isinstance(message, Members))
    assert [(record.name, record.address) for record in table.records] == [(b"six", bytes(15) + b"\1")]


def test_a_refused_key_is_a_refusal_of_auth() -> None:
    """The agent's own words come with it."""
    assert said("auth_refused")[-1] == Refused(Command.AUTH, "Invalid authentication token")


def test_a_command_without_auth_is_answered_twice_and_only_the_second_is_out_of_step() -> None:
    """Serf takes the body of the request for another request; the first answer counts, though both came at once."""
    messages = asked("auth_absent").receive(recorded("auth_absent"))
    assert list(itertools.islice(messages, 2))[-1] == Refused(Command.STREAM, protocol.AUTH_REQUIRED)
    with pytest.raises(SerfOutOfStep, match="fits no request"):
        next(messages)


def test_a_refused_join_swallows_its_body_and_stays_in_step() -> None:
    """`join` sends a body even with an error, and the next reply is understood."""
    wire = asked("join_refused")
    refused = take(wire, recorded("join_refused"))[-1]
    assert isinstance(refused, Refused)
    assert "connection refused" in refused.reason
    assert "\n" not in refused.reason
    wire.request(protocol.Request(Command.HANDSHAKE))
    assert take(wire, msgpack.packb({"Error": "", "Seq": 4})) == [Accepted(Command.HANDSHAKE)]


def test_a_join_before_auth_has_no_body() -> None:
    """The gate answers before the command is looked at, so nothing follows the header."""
    wire = asked("join")
    take(wire, recorded("auth"))
    assert take(wire, msgpack.packb({"Error": protocol.AUTH_REQUIRED, "Seq": 3})) == [
        Refused(Command.JOIN, protocol.AUTH_REQUIRED)
    ]


def test_events_and_log_lines_are_told_apart_by_the_seq_of_their_subscription() -> None:
    """A user event and a member event came on the stream, log lines on the monitor."""
    assert said("stream").count(Told(Command.STREAM)) == 2
    assert said("monitor").count(Told(Command.MONITOR)) > 5


def test_a_query_is_received_answered_and_over() -> None:
    """Who it came to says so, its handler answers (Serf ends what a handler reads with a newline), and an end comes."""
    received, answered, ended, _ = said("query")[2:]
    assert received == QueryReceived(b"web1")
    assert answered == QueryAnswered(b"web1", b"drain\n")
    assert ended == QueryEnded()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (b"no\n\t such  name", "no such name"),
        (b'node "\x1b[2J\xff\xe2\x80\xae"', r'node "\u001b[2J\xff\u202e"'),
        (b"x" * 10_000, "x" * 500),
    ],
)
def test_what_the_agent_says_of_an_error_is_one_bounded_line(error: bytes, reason: str) -> None:
    """It quotes names that anybody may choose; what does not print is an escape, as everywhere."""
    wire = Wire()
    wire.request(protocol.auth("k"))
    assert take(wire, msgpack.packb({"Error": error, "Seq": 1})) == [Refused(Command.AUTH, reason)]


def test_nothing_comes_for_a_query_that_is_over() -> None:
    """Its Seq fits no request any more, so that what a long conversation has to remember does not grow."""
    wire = asked("query")
    take(wire, recorded("query"))
    with pytest.raises(SerfOutOfStep, match="Seq 2"):
        take(wire, msgpack.packb({"Error": "", "Seq": 2}))


@pytest.mark.parametrize(
    ("record", "meaning"),
    [
        ({"Type": "ack", "From": "a", "Payload": None}, QueryReceived(b"a")),
        ({"Type": "response", "From": "a", "Payload": b"\xff\n"}, QueryAnswered(b"a", b"\xff\n")),
        ({"Type": "response", "From": "a", "Payload": None}, QueryAnswered(b"a", b"")),
        ({"Type": "done", "From": "", "Payload": None}, QueryEnded()),
        ({"Type": "nod", "From": "a"}, "Type of `query` is none that there is: b'nod'"),
        ({"From": "a"}, "Type of `query` is no bytes but absent"),
        ({"Type": "ack"}, "From of `query` is no bytes but absent"),
        ({"Type": "response", "From": "a", "Payload": 7}, "Payload of `query` is no bytes but int"),
    ],
)
def test_a_record_of_a_query_means_what_its_type_says(record: object, meaning: Message | str) -> None:
    """Three types there are; another one, or a field of another shape, is out of step."""
    wire = Wire()
    wire.request(protocol.query("q", b"", "a", 1.0))
    data = msgpack.packb({"Error": "", "Seq": 1})
    assert take(wire, data) == [Accepted(Command.QUERY)]
    if isinstance(meaning, str):
        with pytest.raises(SerfOutOfStep, match=meaning):
            take(wire, data + msgpack.packb(record))
    else:
        assert take(wire, data + msgpack.packb(record)) == [meaning]


def test_a_query_names_its_member_and_its_time() -> None:
    """To one member by its Serf name, with nanoseconds, and its payload as bytes."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(Wire().request(protocol.query("state", b"drain", "web1-a1", 2.5)))
    assert list(unpacker)[1] == {
        "Name": "state",
        "Payload": b"drain",
        "FilterNodes": ["web1-a1"],
        "RequestAck": True,
        "Timeout": 2_500_000_000,
    }


def test_a_record_with_an_error_is_out_of_step() -> None:
    """Serf tells no error on a subscription; whether a body would follow, nobody knows."""
    wire = asked("stream")
    take(wire, recorded("stream"))
    with pytest.raises(SerfOutOfStep, match="Seq 3"):
        take(wire, msgpack.packb({"Error": "lost", "Seq": 3}))


def test_stats_give_the_health_score_a_mark_and_a_name() -> None:
    """The score is a number, though Serf sends text, and equal counters make equal marks."""
    (stats,) = (message for message in said("stats") if isinstance(message, Stats))
    assert stats.health_score == 0
    assert stats.agent != b""
    again = body_of(Command.STATS, {"serf": SERF, "agent": AGENT})
    assert again == body_of(Command.STATS, {"serf": SERF, "agent": AGENT, "tags": {"new": "tag"}})


@pytest.mark.parametrize(("value", "encrypted"), [("true", True), ("false", False), ("perhaps", None), (None, None)])
def test_stats_say_whether_gossip_is_encrypted(value: str | None, encrypted: bool | None) -> None:  # noqa: FBT001
    """An agent that does not say so, or in other words, is not taken for an open one."""
    serf = SERF | ({} if value is None else {"encrypted": value})
    (stats,) = body_of(Command.STATS, {"serf": serf, "agent": AGENT})
    assert isinstance(stats, Stats)
    assert stats.encrypted is encrypted


@pytest.mark.parametrize("counter", sorted(SERF))
def test_each_counter_moves_the_mark(counter: str) -> None:
    """Any counter that speaks of members makes the table worth reading."""
    (before,) = body_of(Command.STATS, {"serf": SERF, "agent": AGENT})
    (after,) = body_of(Command.STATS, {"serf": SERF | {counter: "5"}, "agent": AGENT})
    assert isinstance(before, Stats)
    assert isinstance(after, Stats)
    assert before.mark != after.mark


def test_a_member_without_tags_or_address_is_taken_as_it_is() -> None:
    """Go encodes a slice or map that was never made as nil; one such member must not blind us to the others."""
    (table,) = body_of(Command.MEMBERS, {"Members": [MEMBER | {"Addr": None, "Tags": None}]})
    assert table == Members((MemberRecord(b"n", b"", 7946, {}, b"alive"),))


@pytest.mark.parametrize("field", sorted(MEMBER))
@pytest.mark.parametrize("value", [True, "absent", [], 1.5])
def test_a_member_of_another_shape_names_the_field(field: str, value: object) -> None:
    """A field that is missing or of another type is out of step, and the text says which."""
    member: dict[str, object] = {**MEMBER, field: value}
    if value == "absent":
        del member[field]
    if value == "absent" and field in {"Addr", "Tags"}:
        assert body_of(Command.MEMBERS, {"Members": [member]})
        return
    with pytest.raises(SerfOutOfStep, match=field):
        body_of(Command.MEMBERS, {"Members": [member]})


@pytest.mark.parametrize(
    ("command", "body", "told"),
    [
        (Command.MEMBERS, {}, "Members of `members` is absent"),
        (Command.MEMBERS, {"Members": {}}, "Members of `members` is no list"),
        (Command.MEMBERS, {"Members": [1]}, "a member is no map"),
        (Command.MEMBERS, {"Members": [MEMBER | {"Tags": {"a": 1}}]}, "Tags of a member"),
        (Command.MEMBERS, [], "the body of `members` is no map"),
        (Command.STATS, {}, "serf in `stats` is no map"),
        (Command.STATS, {"serf": {}}, "member_time of serf in `stats`"),
        (Command.STATS, {"serf": SERF | {"health_score": "-1"}}, "health_score"),
        (Command.STATS, {"serf": SERF | {"health_score": "9" * 5000}}, "health_score"),
        (Command.STATS, {"serf": SERF}, "agent in `stats` is no map"),
        (Command.STATS, {"serf": SERF, "agent": {}}, "name of agent in `stats`"),
        (Command.JOIN, {"Num": "1"}, "Num of `join` is no int but bytes"),
    ],
)
def test_a_body_of_another_shape_says_what_is_wrong(command: Command, body: object, told: str) -> None:
    """No shape is taken on trust."""
    with pytest.raises(SerfOutOfStep, match=told):
        body_of(command, body)


@pytest.mark.parametrize(
    "header",
    [
        {"Error": "", "Seq": 99},
        {"Error": ""},
        {"Seq": 1},
        {"Error": 1, "Seq": 1},
        {"Error": "", "Seq": True},
        {"Error": "", "Seq": "1"},
        [],
        None,
        7,
        {},
    ],
)
def test_a_header_that_fits_nothing_is_out_of_step(header: object) -> None:
    """An unknown Seq or a header of another shape ends the conversation."""
    with pytest.raises(SerfOutOfStep):
        take(asked("handshake"), msgpack.packb(header))


def test_a_reply_is_matched_once() -> None:
    """A second answer to the same request is out of step."""
    wire = asked("handshake")
    take(wire, recorded("handshake"))
    with pytest.raises(SerfOutOfStep, match="Seq 1"):
        take(wire, recorded("handshake"))


def test_requests_are_numbered_and_use_str() -> None:
    """Serf hangs up on a key or command that is sent as bytes, so every text is msgpack str."""
    wire = Wire()
    sent = [wire.request(protocol.auth("ké")), wire.request(protocol.members())]
    unpacker = msgpack.Unpacker()
    unpacker.feed(b"".join(sent))
    assert list(unpacker) == [
        {"Command": "auth", "Seq": 1},
        {"AuthKey": "ké"},
        {"Command": "members", "Seq": 2},
    ]


def waiting_for_members() -> Wire:
    """Return a wire that has asked for the members, and has read the header of the reply."""
    wire = Wire()
    wire.request(protocol.members())
    assert take(wire, msgpack.packb({"Error": "", "Seq": 1})) == []
    return wire


def test_endless_message_is_cut_off_at_the_limit() -> None:
    """A peer that never ends its message can make us hold no more than the limit."""
    wire = waiting_for_members()
    take(wire, b"\x81\xa7Members\xdd\x00\x00\x01\x00\xde\x01\x00")  # 256 members, the first a map of 256 …
    filler = b"\xdb\x00\x00\xff\xfb" + b"x" * 65_531  # … strings of 64 KiB
    for _ in range(MESSAGE_LIMIT // len(filler) - 1):
        assert take(wire, filler) == []
    with pytest.raises(SerfOutOfStep, match="more than"):
        take(wire, filler)


@pytest.mark.parametrize(
    "start",
    [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\xa0" + b"\x91" * 5000, b"\xc1", b"\x81\xc1"],
    ids=["list", "map", "depth", "unknown", "unknown-key"],
)
def test_a_promise_of_gigabytes_is_not_believed(start: bytes) -> None:
    """A length or depth above the limits, or an unknown byte, ends the conversation before memory is taken."""
    with pytest.raises(SerfOutOfStep, match=r"undecodable bytes: \w+|a header is"):
        take(asked("handshake"), start)


def members_of(*items: bytes) -> bytes:
    """Return a list of these encoded members."""
    header: bytes = msgpack.Packer().pack_array_header(len(items))
    return header + b"".join(items)


EMPTY_MAPS: dict[str, object] = {f"{n:02x}": {} for n in range(256)}
MANY_TAGS = {f"{n:02x}": "" for n in range(171)}
LONG_LIST = b"\xdc\xff\xff"
BOMBS = {
    "lists of empty maps": (members_of(*[LONG_LIST + b"\x80" * 65_535] * 255), "max_array_len"),
    "a list of numbers in a member": (members_of(b"\x81\xa1x" + LONG_LIST + b"\xd0\x80" * 65_535), "max_array_len"),
    "nested lists, each announced long": (members_of(b"\x81\xa1x" + LONG_LIST * 5_000), "StackError"),
    "maps of empty maps": (members_of(*[msgpack.packb({"x": EMPTY_MAPS, **MEMBER})] * 6_000), "map entries"),
    "members with many tags": (members_of(*[msgpack.packb(MEMBER | {"Tags": MANY_TAGS})] * 6_000), "map entries"),
    "a member with too many tags": (
        members_of(msgpack.packb(MEMBER | {"Tags": {f"{n:03x}": "" for n in range(257)}})),
        "max_map_len",
    ),
    "too many members": (b"\xdd\x00\x01\x00\x01", "a list of 65537 items"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_objects_of_a_message_are_bounded(bomb: str) -> None:
    """One byte on the wire can be an object of 64 bytes, so that a message of 16 MB could become a gigabyte."""
    wire = waiting_for_members()
    body, reason = BOMBS[bomb]
    tracemalloc.start()
    try:
        with pytest.raises(SerfOutOfStep, match=reason):
            take(wire, b"\x81\xa7Members" + body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * 1024 * 1024


def test_ten_thousand_members_with_twenty_tags_fit() -> None:
    """The limits leave room for a cluster far larger than any that a balancer serves."""
    tags = {f"tag{n}": f"value{n}" for n in range(20)}
    (table,) = body_of(
        Command.MEMBERS, {"Members": [MEMBER | {"Name": f"n{n}" * 20, "Tags": tags} for n in range(10_000)]}
    )
    assert isinstance(table, Members)
    assert len(table.records) == 10_000
    assert len(table.records[-1].tags) == 20


def test_no_memory_is_out_of_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is not there ends the conversation, not the process."""

    def fails(*_args: object, **_options: object) -> object:
        raise MemoryError

    monkeypatch.setattr(msgpack, "unpackb", fails)
    with pytest.raises(SerfOutOfStep, match="no memory"):
        take(asked("handshake"), recorded("handshake"))


msgpack_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from(sorted(CONVERSATIONS)))
def test_arbitrary_bytes_raise_only_our_error(data: list[bytes], name: str) -> None:
    """Whatever comes, it is a message or `SerfOutOfStep`, never another exception."""
    wire = asked(name)
    try:
        for piece in data:
            assert all(isinstance(message, Message) for message in take(wire, piece))
    except SerfOutOfStep:
        pass


@given(st.sampled_from([Command.MEMBERS, Command.STATS, Command.JOIN]), msgpack_values)
def test_an_arbitrary_body_raises_only_our_error(command: Command, body: object) -> None:
    """A well-formed reply with any body is understood or `SerfOutOfStep`."""
    with contextlib.suppress(SerfOutOfStep):
        assert len(body_of(command, body)) == 1


@given(st.sampled_from(sorted(EXPECTED_TYPES)), st.data())
def test_a_flipped_byte_raises_only_our_error(name: str, data: st.DataObject) -> None:
    """A recorded conversation with one wrong byte is understood or `SerfOutOfStep`."""
    whole = bytearray(recorded(name))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SerfOutOfStep):
        assert all(isinstance(message, Message) for message in take(asked(name), bytes(whole)))

"""What comes from the network becomes a type or is quarantined, and nothing else happens."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rosterd.model import AdminState, Member, MemberRecord, Quarantined, Status
from rosterd.parse import escaped, parse_member, parse_status, printable, raw_of, shown_name
from tests.unit.members import forms_of, hostile_records, hostile_text, record

SAFE_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z", re.ASCII)
"""Written here a second time: what HAProxy, a shell and a terminal take as one plain word."""


def with_tag(tag: str, value: bytes) -> MemberRecord:
    """Return a good member with one tag as given."""
    return replace(record("web-1"), tags={b"role": b"backend", tag.encode(): value})


def reason_of(member: Member | Quarantined) -> str:
    """Return why a member is in quarantine."""
    assert isinstance(member, Quarantined), member
    return member.reason


def member_of(member: Member | Quarantined) -> Member:
    """Return a member that is not in quarantine."""
    assert isinstance(member, Member), member
    return member


class TestWhole:
    """A record as a whole."""

    def test_each_field_arrives(self) -> None:
        """Tags that mean something are read, the others are kept for people."""
        tags = {"node": "shop", "port": "8080", "weight": "10", "state": "drain", "rack": "7"}
        assert parse_member(record("web-1", "10.0.0.9", **tags)) == Member(
            name="web-1",
            node="shop",
            address=IPv4Address("10.0.0.9"),
            role="backend",
            port=8080,
            weight=10,
            state=AdminState.DRAIN,
            tags={"role": "backend", **tags},
        )

    def test_what_is_not_said_is_left_to_the_service(self) -> None:
        """No tags at all: the node is called by its Serf name, is ready, and has no port or weight of its own."""
        member = member_of(parse_member(replace(record("web-1"), tags={})))
        assert (member.node, member.role, member.port, member.weight) == ("web-1", None, None, None)
        assert member.state is AdminState.READY

    def test_the_gossip_port_is_not_the_port_of_the_service(self) -> None:
        """Serf's own port says nothing of where the server listens."""
        assert member_of(parse_member(replace(record("web-1"), port=7946))).port is None

    @given(hostile_records)
    def test_any_bytes_parse_or_are_quarantined(self, hostile: MemberRecord) -> None:
        """No input raises, and what parses is within its limits in every field."""
        member = parse_member(hostile)
        if isinstance(member, Quarantined):
            assert member.reason.isprintable()
            assert member.name == printable(hostile.name)
            return
        assert SAFE_NAME.match(member.name)
        assert SAFE_NAME.match(member.node)
        assert member.name.encode() == hostile.name
        assert member.port is None or 1 <= member.port <= 65535
        assert member.weight is None or 0 <= member.weight <= 256
        assert all(text.isprintable() for pair in member.tags.items() for text in pair)

    @given(hostile_records)
    def test_a_reason_is_short(self, hostile: MemberRecord) -> None:
        """However long the text, a line of the log stays a line."""
        member = parse_member(replace(hostile, name=b"\xff" * 2000))
        assert len(reason_of(member)) < 600


class TestName:
    """Names become words in HAProxy's configuration."""

    @pytest.mark.parametrize("name", ["a", "7", "web-1", "Web_1.eu-west", "a" * 128])
    def test_plain_words_are_fine(self, name: str) -> None:
        """Letters, digits, dot, underscore and dash, up to 128 of them."""
        assert member_of(parse_member(record(name))).name == name

    @pytest.mark.parametrize(
        "name",
        [
            b"",
            b"a" * 129,
            b"-a",
            b".a",
            b"_a",
            b"a b",
            b"a\tb",
            b"a\n",
            b"\na",
            b"a\rb",
            b"a\x00",
            b"a\x00b",
            b'a"b',
            b"a'b",
            b"a#b",
            b"a\\b",
            b"a;b",
            b"a,b",
            b"a/b",
            b"a:b",
            b"a*",
            b"$HOME",
            b"a\x1b[31m",
            b"a\x7f",
            b"\xff",
            "ä".encode(),
            "web-\uff11".encode(),
            "web\u202e1".encode(),
            b"s9 127.0.9.9 backend",
            b"a\nserver evil 10.9.9.9:80 check",
        ],
    )
    def test_anything_else_is_quarantined(self, name: bytes) -> None:
        """Signs that mean something to HAProxy, a shell or a terminal, other scripts' digits, and wrong lengths."""
        assert reason_of(parse_member(replace(record("x"), name=name))).startswith("name '")

    @pytest.mark.parametrize("name", ["FRONTEND", "BACKEND"])
    def test_words_of_haproxy_are_quarantined(self, name: str) -> None:
        """They would be taken for HAProxy's own rows in its statistics."""
        assert "keeps for itself" in reason_of(parse_member(record(name)))

    def test_the_tag_node_is_held_to_the_same_rule(self) -> None:
        """People see it in each line of the log."""
        assert reason_of(parse_member(with_tag("node", b"a\nb"))) == (
            r"tag node 'a\u000ab' is not 1 to 128 of letters, digits, '.', '_', '-', the first no sign"
        )

    def test_a_long_name_is_cut_in_the_reason(self) -> None:
        """Enough is shown to recognise it, and how much is not."""
        reason = reason_of(parse_member(record("a" * 300)))
        assert f"'{'a' * 80}' and 220 bytes more" in reason


class TestAddress:
    """The advertised address can be anything."""

    @pytest.mark.parametrize(
        ("packed", "address"),
        [
            (bytes([10, 0, 0, 1]), IPv4Address("10.0.0.1")),
            (bytes([127, 0, 0, 1]), IPv4Address("127.0.0.1")),
            (IPv6Address("2001:db8::1").packed, IPv6Address("2001:db8::1")),
            (IPv6Address("::1").packed, IPv6Address("::1")),
            (IPv6Address("fd00::7").packed, IPv6Address("fd00::7")),
        ],
    )
    def test_four_bytes_or_sixteen(self, packed: bytes, address: IPv4Address | IPv6Address) -> None:
        """IPv4 and IPv6, loopback and private ones included."""
        assert member_of(parse_member(replace(record("a"), address=packed))).address == address

    def test_a_mapped_address_is_the_one_that_it_maps(self) -> None:
        """`::ffff:10.0.0.1` and `10.0.0.1` are one machine, and HAProxy shows it as IPv4."""
        mapped = replace(record("a"), address=IPv6Address("::ffff:10.0.0.1").packed)
        assert member_of(parse_member(mapped)).address == IPv4Address("10.0.0.1")

    @pytest.mark.parametrize("length", [0, 1, 3, 5, 15, 17, 100])
    def test_other_lengths_are_quarantined(self, length: int) -> None:
        """The reason says how many bytes there were."""
        reason = reason_of(parse_member(replace(record("a"), address=bytes(length))))
        assert reason == f"address has {length} bytes, neither 4 nor 16"

    @pytest.mark.parametrize(
        "address",
        ["0.0.0.0", "255.255.255.255", "224.0.0.1", "239.1.2.3", "::", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"],  # noqa: S104  they are refused
    )
    def test_what_is_not_one_machine_is_quarantined(self, address: str) -> None:
        """Nobody's address, everybody's, and those of groups; mapped or not."""
        assert reason_of(parse_member(record("a", address))).endswith("is not that of one machine")

    @pytest.mark.parametrize("address", ["fe80::1", "169.254.169.254", "::ffff:169.254.169.254"])
    def test_link_local_is_quarantined(self, address: str) -> None:
        """IPv6 means nothing without an interface, which Serf does not tell; IPv4 leads to a cloud's secrets."""
        assert "link-local" in reason_of(parse_member(record("a", address)))

    @pytest.mark.parametrize("cloud", ["100.100.100.200", "168.63.129.16", "192.0.0.192", "169.254.169.254"])
    @pytest.mark.parametrize("form", range(6))
    def test_address_of_a_clouds_service_is_refused_in_every_notation(self, cloud: str, form: int) -> None:
        """It answers whoever asks from this machine, secrets among the answers."""
        address = (cloud, *forms_of(cloud))[form]
        assert "address" in reason_of(parse_member(record("a", address)))

    @pytest.mark.parametrize("target", ["0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255"])
    @pytest.mark.parametrize("form", range(6))
    def test_address_of_no_one_machine_is_refused_in_every_notation(self, target: str, form: int) -> None:
        """The address that is really reached counts."""
        address = (target, *forms_of(target))[form]
        assert "is not that of one machine" in reason_of(parse_member(record("a", address)))

    @pytest.mark.parametrize("address", ["fd00:ec2::254", "fd20:ce::254", "64:ff9b:1::1", "::", "ff02::1"])
    def test_ipv6_address_that_cannot_serve_is_refused(self, address: str) -> None:
        """Metadata of clouds has IPv6 addresses too."""
        assert "address" in reason_of(parse_member(record("a", address)))

    @pytest.mark.parametrize(
        "address", ["100.100.100.199", "192.0.1.1", "fd00:ec3::1", "2001:db8::1", "64:ff9b::a00:1"]
    )
    def test_neighbour_of_a_refused_address_parses(self, address: str) -> None:
        """The deny list is no wider than it says."""
        assert str(member_of(parse_member(record("a", address))).address) == address


class TestNumbers:
    """Tags `port` and `weight`."""

    @pytest.mark.parametrize(("text", "port"), [(b"1", 1), (b"80", 80), (b"65535", 65535)])
    def test_a_port_from_1_to_65535(self, text: bytes, port: int) -> None:
        """The edges are ports."""
        assert member_of(parse_member(with_tag("port", text))).port == port

    @pytest.mark.parametrize(("text", "weight"), [(b"0", 0), (b"1", 1), (b"256", 256)])
    def test_a_weight_from_0_to_256(self, text: bytes, weight: int) -> None:
        """The edges are weights: HAProxy takes 0 for no new requests and 256 at most."""
        assert member_of(parse_member(with_tag("weight", text))).weight == weight

    def test_leading_zeros_are_decimal(self) -> None:
        """Five digits at most, and never octal."""
        assert member_of(parse_member(with_tag("port", b"00080"))).port == 80

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b" 80",
            b"80 ",
            b"80\n",
            b"+80",
            b"-1",
            b"8_0",
            b"0x50",
            b"80.0",
            b"1e3",
            b"000080",
            b"80\x00",
            "\uff18\uff10".encode(),
            "²".encode(),
            b"\xb2",
            b"9" * 400,
        ],
    )
    @pytest.mark.parametrize("tag", ["port", "weight"])
    def test_only_ascii_digits_are_numbers(self, tag: str, text: bytes) -> None:
        """What Python's `int` would take besides is refused."""
        assert reason_of(parse_member(with_tag(tag, text))).startswith(f"tag {tag} '")

    @pytest.mark.parametrize(("tag", "text"), [("port", b"0"), ("port", b"65536"), ("weight", b"257")])
    def test_beyond_the_edges(self, tag: str, text: bytes) -> None:
        """The reason names the range."""
        assert "is not a number from" in reason_of(parse_member(with_tag(tag, text)))


class TestState:
    """Tag `state`."""

    @pytest.mark.parametrize("state", AdminState)
    def test_the_three_words(self, state: AdminState) -> None:
        """They are all that an operator can ask for."""
        assert member_of(parse_member(with_tag("state", state.value.encode()))).state is state

    @pytest.mark.parametrize("text", [b"", b"Ready", b"drain ", b"down", b"\xff"])
    def test_any_other_is_quarantined(self, text: bytes) -> None:
        """A typing error does not put a server into service."""
        assert reason_of(parse_member(with_tag("state", text))).endswith("is not one of ready, drain, maint")


class TestStatus:
    """Serf's word for how a member is."""

    @pytest.mark.parametrize("status", [Status.ALIVE, Status.LEAVING, Status.LEFT, Status.FAILED])
    def test_four_words_of_serf(self, status: Status) -> None:
        """Each has its own."""
        assert parse_status(status.value.encode()) is status

    @pytest.mark.parametrize("text", [b"none", b"", b"unseen", b"Alive", b"alive\n", b"\xff"])
    def test_other_words_say_nothing(self, text: bytes) -> None:
        """`none` is Serf's for a member that it knows nothing of; `unseen` is ours, and not for others to say."""
        assert parse_status(text) is None


class TestPrintable:
    """Untrusted text that is only shown."""

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (b"web-1", "web-1"),
            ("käse".encode(), "käse"),
            (b"a\nb", r"a\u000ab"),
            (b"a\x1b[31m", r"a\u001b[31m"),
            (b"\xff\xfe", r"\xff\xfe"),
            (b"a\\b", r"a\\b"),
            ("a\u202eb".encode(), r"a\u202eb"),
            ("\U000e0001".encode(), r"\U000e0001"),
        ],
    )
    def test_what_does_not_print_is_escaped(self, text: bytes, shown: str) -> None:
        """Controls, marks that change the direction of writing, and bytes that are no text."""
        assert printable(text) == shown

    @given(st.text(st.characters()))
    @example("\ud800\U000e0001\x1b")
    def test_a_sentence_keeps_what_prints(self, text: str) -> None:
        """A backslash stays one, since nobody reads it back; each other character is an escape of its own."""
        shown = escaped(text)
        assert shown.isprintable()
        assert shown == "".join(char if char == "\\" else escaped(char) for char in text)

    def test_a_backslash_in_a_sentence_stays_one(self) -> None:
        """So a name that was made printable is not escaped twice."""
        assert escaped(printable(b"a\x1b")) == r"a\u001b"

    @given(hostile_text)
    @example("\ue0001".encode())
    @example("\U000e0001".encode())
    @example("\U00100000".encode())
    def test_it_prints_and_has_an_inverse(self, text: bytes) -> None:
        """So two different names are never shown as one."""
        shown = printable(text)
        assert shown.isprintable()
        assert raw_of(shown) == text

    def test_a_short_escape_never_runs_into_the_text_behind_it(self) -> None:
        """A private character and a digit are not one character of another plane."""
        assert printable("\ue0001".encode()) != printable("\U000e0001".encode())

    @given(st.text())
    def test_the_way_back_refuses_or_ends(self, shown: str) -> None:
        """Text that people wrote may hold what we never write; it gives bytes or a ValueError, nothing else."""
        try:
            raw = raw_of(shown)
        except ValueError:
            return
        assert isinstance(raw, bytes)


def test_a_very_long_name_is_cut_and_told_apart() -> None:
    """Serf sets no limit to a name; a log line and a status should have one, and two names never become one."""
    long = b"x" * 60_000
    shown = shown_name(long)
    assert len(shown) < 120
    assert shown.startswith("xxx")
    assert shown_name(long + b"y") != shown
    assert shown_name(b"x" * 255) == "x" * 255
    assert isinstance(parse_member(MemberRecord(long, b"\x0a\x00\x00\x01", 1, {}, b"alive")), Quarantined)

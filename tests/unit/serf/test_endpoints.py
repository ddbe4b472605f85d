"""Seeds as text, and which of them are missing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from rosterd.model import MemberRecord, Snapshot
from rosterd.serf.endpoints import Seed, alive_endpoints, missing, others, parse_seed

ONE = (IPv4Address("10.0.0.1"), 7946)
TWO = (IPv4Address("10.0.0.2"), 7946)
SIX = (IPv6Address("fd00::6"), 7946)


def table(*rows: tuple[bytes, int, bytes]) -> Snapshot:
    """Return a snapshot with a member per (address, port, status)."""
    return Snapshot(
        tuple(MemberRecord(b"n%d" % n, address, port, {}, status) for n, (address, port, status) in enumerate(rows)), 0
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("cluster", "cluster", 7946),
        ("cluster.example:7000", "cluster.example", 7000),
        ("10.0.0.1", "10.0.0.1", 7946),
        (" 10.0.0.1:1 ", "10.0.0.1", 1),
        ("[fd00::6]", "fd00::6", 7946),
        ("[fd00::6]:65535", "fd00::6", 65535),
        ("fd00::6", "fd00::6", 7946),
    ],
)
def test_a_seed_is_a_host_and_perhaps_a_port(text: str, host: str, port: int) -> None:
    """Names, IPv4 and IPv6, with the gossip port as the default."""
    assert parse_seed(text) == Seed(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":7946",
        "host:",
        "host:0",
        "host:65536",
        "host:x",
        "host:٣",
        "a b",
        "[::1",
        "[cluster]:1",
        "[::1]7",
        "1:2:3",
        "a/b",
    ],
)
def test_what_is_no_seed_is_refused_with_its_text(text: str) -> None:
    """The mistake is named by what was written."""
    with pytest.raises(ValueError, match=r"must be 1 to 65535|is not a host") as told:
        parse_seed(text)
    assert repr(text) in str(told.value)


@pytest.mark.parametrize("text", ["cluster:7946", "10.0.0.1:7000", "[fd00::6]:7946"])
def test_a_seed_is_written_as_it_is_read(text: str) -> None:
    """The text of a seed is what an agent's join takes."""
    assert str(parse_seed(text)) == text


def test_only_alive_members_count() -> None:
    """A failed, leaving or left member is a reason to join again."""
    snapshot = table((ONE[0].packed, 7946, b"failed"), (TWO[0].packed, 7946, b"alive"), (SIX[0].packed, 7946, b"left"))
    assert missing([ONE, TWO, SIX], snapshot) == (ONE, SIX)


def test_the_gossip_port_counts() -> None:
    """Two agents may share an address."""
    assert missing([ONE], table((ONE[0].packed, 7947, b"alive"))) == (ONE,)


def test_each_missing_endpoint_is_named_once_and_in_order() -> None:
    """Two names may stand for one node."""
    assert missing([TWO, ONE, TWO], table()) == (TWO, ONE)


def test_a_v4_address_in_v6_clothes_is_the_same_node() -> None:
    """Go writes an IPv4 address in four bytes or in sixteen."""
    mapped = IPv6Address("::ffff:10.0.0.1").packed
    assert missing([ONE], table((mapped, 7946, b"alive"))) == ()


def test_an_address_of_no_known_length_is_passed_over() -> None:
    """What a member claims cannot break the comparison."""
    assert alive_endpoints(table((b"", 1, b"alive"), (b"abc", 1, b"alive"), (SIX[0].packed, 7946, b"alive"))) == {SIX}


def test_the_others_are_all_alive_members_but_the_local_agent() -> None:
    """It has nothing to learn from itself."""
    snapshot = table((b"\x0a\0\0\1", 7946, b"alive"), (b"\x0a\0\0\2", 7946, b"alive"), (b"\x0a\0\0\3", 7946, b"left"))
    assert others(replace(snapshot, agent=b"n1")) == (ONE,)
    assert others(snapshot) == (ONE, TWO)

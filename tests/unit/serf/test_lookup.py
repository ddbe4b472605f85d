"""Whom a person means."""

from __future__ import annotations

import pytest

from rosterd.errors import NodeUnknown
from rosterd.model import MemberRecord
from rosterd.serf.lookup import SHOWN, Node, find, nodes_of


def row(name: str | bytes, status: str = "alive", **tags: str) -> MemberRecord:
    """One row of the agent's table."""
    raw = name if isinstance(name, bytes) else name.encode()
    encoded = {key.encode(): value.encode(errors="surrogateescape") for key, value in tags.items()}
    return MemberRecord(raw, bytes((10, 0, 0, 1)), 7946, encoded, status.encode())


def names(wanted: list[str], *rows: MemberRecord) -> list[str]:
    """Return the Serf names of those who are meant."""
    return [node.name for node in find(nodes_of(rows), wanted)]


def refused(wanted: list[str], *rows: MemberRecord) -> str:
    """Return why nobody is meant."""
    with pytest.raises(NodeUnknown) as problem:
        find(nodes_of(rows), wanted)
    return str(problem.value)


WEB1, WEB2 = row("web1-a1", node="web1"), row("web2-b2", node="web2")


@pytest.mark.parametrize("wanted", ["web1", "web1-a1"])
def test_either_name_will_do(wanted: str) -> None:
    """What people call the node, or what Serf does."""
    assert names([wanted], WEB1, WEB2) == ["web1-a1"]


def test_a_node_without_the_tag_is_known_by_its_serf_name() -> None:
    """That is the tag's default."""
    assert names(["db1"], row("db1"), WEB1) == ["db1"]


def test_each_is_meant_once_in_the_order_given() -> None:
    """Though it is named twice."""
    assert names(["web2", "web1", "web2-b2"], WEB1, WEB2) == ["web2-b2", "web1-a1"]


@pytest.mark.parametrize("status", ["failed", "left", "leaving", "none"])
def test_an_earlier_life_of_a_node_does_not_matter(status: str) -> None:
    """It lingers in the table for hours after the node has come back under another name."""
    assert names(["web1"], row("web1-00", status, node="web1"), WEB1) == ["web1-a1"]


def test_nobody_can_be_told_who_is_not_alive() -> None:
    """The text says what each of that name is."""
    dead = row("web1-00", "left", node="web1"), row("web1-11", "failed", node="web1")
    assert refused(["web1"], *dead, WEB2) == (
        "web1 (web1-00) is left, and only an alive node can be told; "
        "web1 (web1-11) is failed, and only an alive node can be told"
    )


def test_a_name_that_two_have_is_nobodys() -> None:
    """Also where the one is its Serf name: who took a name of somebody else's must not be drained in their place."""
    for other in row("web1-x9", node="web1"), row("web1"), row("evil", node="web1"):
        names_shown = ", ".join(sorted(["web1-a1", other.name.decode()]))
        told = refused(["web1"], WEB1, WEB2, other)
        assert told == f"'web1' is the name of 2 alive nodes; give one of these: {names_shown}"


def test_all_mistakes_are_told_at_once() -> None:
    """A line each."""
    told = refused(["web8", "web1", "web9"], WEB1, WEB2).splitlines()
    assert told == [f"there is no node '{name}'; alive are: web1, web2" for name in ("web8", "web9")]


def test_a_long_list_is_cut() -> None:
    """There may be thousands of nodes."""
    told = refused(["web"], *(row(f"n{number:04}") for number in range(1000)))
    assert told.endswith(f"n{SHOWN - 1:04}, and {1000 - SHOWN} more")


@pytest.mark.parametrize("name", [b"evil\n  server s9", b"\xff", b"", b"-x", b"a" * 129])
def test_a_member_without_a_proper_name_is_nobody(name: bytes) -> None:
    """Whatever its tags say, so that it cannot even make a name ambiguous; nothing of it is shown."""
    assert names(["web1"], row(name, node="web1"), WEB1) == ["web1-a1"]
    assert refused(["x"], row(name, node="web7"), WEB1) == "there is no node 'x'; alive are: web1"


def test_what_else_does_not_parse_does_not_matter() -> None:
    """A tag `node` that is no name is as none, and a state that is no word is there to be mended."""
    broken = row("web3-c3", node="web 3\n", port="x", state="drian\n\udcff")
    assert nodes_of([broken]) == (Node("web3-c3", "web3-c3", "alive", "drian\\u000a\\xff"),)

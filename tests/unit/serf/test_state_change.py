"""One change of state, from the first request to the last outcome; the clock is an argument."""

from __future__ import annotations

import math

import pytest

from rosterd.errors import SerfOutOfStep, SerfUnreachable
from rosterd.model import AdminState, MemberRecord
from rosterd.serf import protocol
from rosterd.serf.lookup import Node
from rosterd.serf.protocol import (
    Accepted,
    Command,
    Members,
    Message,
    QueryAnswered,
    QueryEnded,
    QueryReceived,
    Request,
    Told,
)
from rosterd.serf.state_change import (
    AGAIN_S,
    READ_INTERVAL_S,
    NotShown,
    Patience,
    Shown,
    ShownBefore,
    StateChange,
)

BEGAN = 100.0
PATIENCE = Patience(agent_s=3.0, nodes_s=5.0)
OVER = BEGAN + PATIENCE.nodes_s
WEB1 = Node("web1-a1", "web1", "alive", "ready")
WEB2 = Node("web2-b2", "web2", "alive", "ready")


def changing(*nodes: Node, state: AdminState = AdminState.DRAIN) -> StateChange:
    """Begin a change."""
    return StateChange(nodes, state, BEGAN, PATIENCE)


def query(node: Node, payload: bytes, within: float = PATIENCE.nodes_s) -> Request:
    """What a node is sent."""
    return protocol.query("rosterd-state", payload, node.name, within)


def table(*nodes: Node) -> Members:
    """A member table of these, and somebody without a name."""
    rows = [
        MemberRecord(
            node.name.encode(),
            b"",
            7946,
            {b"node": node.node.encode(), b"state": node.state.encode()},
            node.status.encode(),
        )
        for node in nodes
    ]
    return Members((*rows, MemberRecord(b"\xff", b"", 7946, {}, b"alive")))


def now_with(node: Node, state: str = "ready", status: str = "alive") -> Node:
    """The node with this state and status."""
    return Node(node.name, node.node, status, state)


def why(change: StateChange) -> str:
    """Why the one node did not follow."""
    (outcome,) = change.outcomes()
    assert isinstance(outcome, NotShown)
    return outcome.why


def test_each_node_is_asked_and_the_table_is_read() -> None:
    """At once, each by its Serf name."""
    change = changing(WEB1, WEB2)
    assert change.requests(BEGAN) == [query(WEB1, b"drain"), query(WEB2, b"drain"), protocol.members()]
    assert change.requests(BEGAN) == []
    assert not change.is_over(BEGAN)


@pytest.mark.parametrize("answered", [[], [QueryAnswered(b"web1-a1", b"ok")]])
def test_the_table_decides(answered: list[Message]) -> None:
    """With an answer or without one: a node that shows its state is done."""
    change = changing(WEB1)
    change.requests(BEGAN)
    for message in (Accepted(Command.QUERY), QueryReceived(b"web1-a1"), table(WEB1), *answered):
        change.take(message, BEGAN + 0.2)
    assert not change.is_over(BEGAN + 0.2)
    change.requests(BEGAN + 0.3)
    change.take(table(now_with(WEB1, "drain")), BEGAN + 0.4)
    assert change.is_over(BEGAN + 0.4)
    (outcome,) = change.outcomes()
    assert isinstance(outcome, Shown)
    assert outcome.after_s == pytest.approx(0.4)


def test_a_node_without_the_tag_is_ready() -> None:
    """So its handler takes the tag away."""
    change = changing(now_with(WEB1, "drain"), state=AdminState.READY)
    assert change.requests(BEGAN)[0] == query(WEB1, b"ready")
    change.take(Members((MemberRecord(b"web1-a1", b"", 7946, {}, b"alive"),)), BEGAN + 0.1)
    assert isinstance(change.outcomes()[0], Shown)


def test_nothing_is_asked_where_nothing_has_to_change() -> None:
    """It is over before it began."""
    change = changing(now_with(WEB1, "drain"))
    assert change.is_over(BEGAN)
    assert change.outcomes() == (ShownBefore(now_with(WEB1, "drain")),)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"error: serf tags: too long\n", "serf tags: too long"),
        (b"no", "no"),
        (b"", "an empty answer"),
        (b"error: \x1b[31m\n\xff", "\\u001b[31m\\u000a\\xff"),
        (b"x" * 1000, "x" * 320),
    ],
)
def test_a_refusal_ends_the_wait_for_its_node(payload: bytes, words: str) -> None:
    """In printable words, and not too many: anybody who gossips can send them."""
    change = changing(WEB1)
    change.requests(BEGAN)
    change.take(QueryAnswered(b"web1-a1", payload), BEGAN + 0.3)
    assert change.is_over(BEGAN + 0.3)
    assert why(change) == f"web1 (web1-a1) refused: {words}"


def test_a_refusal_does_not_undo_what_the_table_showed() -> None:
    """The tag is there."""
    change = changing(WEB1, WEB2)
    change.requests(BEGAN)
    change.take(table(now_with(WEB1, "drain"), WEB2), BEGAN + 0.1)
    change.take(QueryAnswered(b"web1-a1", b"error: time-out"), BEGAN + 0.2)
    assert isinstance(change.outcomes()[0], Shown)


def test_who_was_not_asked_is_not_heard() -> None:
    """An answer from somebody else changes nothing."""
    change = changing(WEB1)
    change.requests(BEGAN)
    for message in QueryReceived(b"x"), QueryAnswered(b"x", b"error: no"), QueryAnswered(b"web1", b"no"), QueryEnded():
        change.take(message, BEGAN + 0.1)
    assert why(change).startswith("web1 (web1-a1) did not say")


@pytest.mark.parametrize("there", [(), (now_with(WEB1, status="failed"),)])
def test_a_node_that_goes_ends_the_wait_for_it(there: tuple[Node, ...]) -> None:
    """No longer alive, or no longer listed at all."""
    change = changing(WEB1)
    change.requests(BEGAN)
    change.take(table(*there), BEGAN + 0.1)
    assert change.is_over(BEGAN + 0.1)
    assert why(change) == f"web1 (web1-a1) is {'failed' if there else 'no longer listed'} meanwhile"


def test_who_was_passed_over_is_asked_again() -> None:
    """Within what is left of the time; who has said that the query came is not."""
    change = changing(WEB1, WEB2)
    change.requests(BEGAN)
    change.take(QueryReceived(b"web2-b2"), BEGAN + 0.1)
    assert change.next_timer(BEGAN + 0.1) == BEGAN + AGAIN_S
    again = query(WEB1, b"drain", OVER - (BEGAN + AGAIN_S))
    assert change.requests(BEGAN + AGAIN_S) == [again]
    assert change.requests(BEGAN + AGAIN_S) == []


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "did not say within 5 s that the query has come"),
        ([QueryReceived(b"web1-a1")], "got the query and did not answer within 5 s"),
        ([QueryAnswered(b"web1-a1", b"ok\n")], "says that it is done, but its tag `state` is not seen here within 5 s"),
    ],
)
def test_a_node_that_does_not_follow_in_time(messages: list[Message], told: str) -> None:
    """What is said of it tells how far it came."""
    change = changing(WEB1)
    change.requests(BEGAN)
    for message in (*messages, table(WEB1)):
        change.take(message, BEGAN + 0.1)
    assert not change.is_over(OVER - 0.01)
    assert change.is_over(OVER)
    assert why(change).startswith(f"web1 (web1-a1) {told}")


def test_the_table_is_read_again_and_again_but_not_all_the_time() -> None:
    """Half of the agent's time at most: a read that took long is followed by as long a pause."""
    change = changing(WEB1)
    change.requests(BEGAN)
    change.take(QueryReceived(b"web1-a1"), BEGAN)
    change.take(table(WEB1), BEGAN + 0.01)
    assert change.next_timer(BEGAN + 0.01) == BEGAN + 0.01 + READ_INTERVAL_S
    assert change.requests(BEGAN + 0.02) == []
    assert change.requests(BEGAN + 0.1) == [protocol.members()]
    change.take(table(WEB1), BEGAN + 1.1)
    assert change.next_timer(BEGAN + 1.1) == pytest.approx(BEGAN + 2.1)


def test_a_silent_agent_is_not_taken_for_silent_nodes() -> None:
    """Each read has a deadline, and the last one may go on past that of the nodes."""
    change = changing(WEB1)
    change.requests(BEGAN)
    with pytest.raises(SerfUnreachable, match="no answer to `members` within 3 s"):
        change.requests(BEGAN + 3.0)

    change = changing(WEB1)
    change.requests(BEGAN)
    change.take(table(WEB1), BEGAN + 0.1)
    change.requests(OVER - 1.0)
    assert not change.is_over(OVER)
    assert change.requests(OVER) == []
    assert change.next_timer(OVER) == OVER + 2.0
    with pytest.raises(SerfUnreachable):
        change.requests(OVER + 2.0)
    change.take(table(WEB1), OVER + 1.0)
    assert change.is_over(OVER + 1.0)
    assert change.next_timer(OVER + 1.0) == math.inf


def test_an_agent_that_is_lost_takes_nothing_back() -> None:
    """What the table has shown and who has refused stays said; of the others it is not known whether they did it."""
    web3 = Node("web3", "web3", "alive", "drain")
    change = changing(WEB1, WEB2, web3)
    change.requests(BEGAN)
    change.take(table(now_with(WEB1, "drain"), WEB2, web3), BEGAN + 0.1)
    change.lose_agent("it hung up")
    assert change.is_over(BEGAN + 0.2)
    first, second, third = change.outcomes()
    assert (type(first), type(third)) == (Shown, ShownBefore)
    assert second == NotShown(WEB2, "web2 (web2-b2) may have done it or not: it hung up")


def test_what_nobody_asked_for_is_out_of_step() -> None:
    """Here as elsewhere."""
    with pytest.raises(SerfOutOfStep, match="Told"):
        changing(WEB1).take(Told(Command.STREAM), BEGAN)

"""Telling a node its state: the same on real agents with the handler that is shipped, and on the fake."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import pytest

from compose.node import state_handler
from rosterd.errors import NodeUnknown, SerfAuthRefused, SerfUnreachable
from rosterd.model import AdminState, MemberRecord
from rosterd.serf import protocol, state_change
from rosterd.serf.errand import errand
from rosterd.serf.protocol import Members
from rosterd.serf.state_change import NotShown, Outcome, Patience, Shown, ShownBefore
from rosterd.serf.tell import tell
from tests.contract.serf_wires import FakeWire, Handler, RealWire, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE = Patience(agent_s=2.0, nodes_s=5.0)
IN_VAIN = Patience(agent_s=2.0, nodes_s=2.5)
"""For a node that is known not to do it."""

HASTY = Patience(agent_s=0.5, nodes_s=5.0)
"""For an agent that is lost."""

WITHIN_S = 10.0
KEY = "k"


@pytest.fixture(params=["fake", "real"])
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    """Give a local agent that runs, with a key."""
    wire: Wire = FakeWire() if request.param == "fake" else RealWire(tmp_path)
    await wire.start(auth_key=KEY)
    yield wire
    await wire.close()


async def rows(wire: Wire) -> dict[str, MemberRecord]:
    """Return the local agent's member table."""
    async with asyncio.timeout(WITHIN_S), errand(wire.rpc_address, KEY) as agent:
        agent.send(protocol.members())
        answer = await agent.message()
        assert isinstance(answer, Members)
        return {row.name.decode(): row for row in answer.records}


async def until_listed(wire: Wire, name: str, status: bytes) -> None:
    """Wait until the local agent lists a member as that."""
    async with asyncio.timeout(WITHIN_S):
        while (row := (await rows(wire)).get(name)) is None or row.status != status:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.02)


async def add(wire: Wire, name: str, handler: Handler | None, **tags: str) -> None:
    """Start a node, and wait until the local agent lists it."""
    await wire.add(name, tags, handler)
    await until_listed(wire, name, b"alive")


async def told(wire: Wire, state: AdminState, *names: str, patience: Patience = PATIENCE) -> tuple[Outcome, ...]:
    """Tell nodes their state."""
    return await tell(wire.rpc_address, KEY, names, state, patience)


async def test_a_node_is_drained_put_into_maintenance_and_brought_back(wire: Wire) -> None:
    """Each time its own agent sets the tag, and the local agent's table shows it when the command ends."""
    await add(wire, "web1-a1", Handler.SETS, node="web1", role="backend")
    for state, tags in [
        (AdminState.DRAIN, {b"state": b"drain"}),
        (AdminState.MAINT, {b"state": b"maint"}),
        (AdminState.READY, {}),
    ]:
        (outcome,) = await told(wire, state, "web1")
        assert isinstance(outcome, Shown)
        assert 0 < outcome.after_s < PATIENCE.nodes_s
        assert (await rows(wire))["web1-a1"].tags == {b"node": b"web1", b"role": b"backend"} | tags


async def test_a_state_that_is_there_is_not_asked_for(wire: Wire) -> None:
    """A script may say it twice; a node without a handler can be told what it is already."""
    await add(wire, "web1-a1", Handler.FAILS, node="web1", state="drain")
    (outcome,) = await told(wire, AdminState.DRAIN, "web1")
    assert isinstance(outcome, ShownBefore)


async def test_several_nodes_at_once_each_to_its_own_end(wire: Wire) -> None:
    """By either name, each once; who does not follow holds nobody up, and the order is that of the question."""
    await add(wire, "web1-a1", Handler.SETS, node="web1")
    await add(wire, "web2-b2", Handler.REFUSES, node="web2")
    await add(wire, "web3-c3", Handler.SETS, node="web3")
    outcomes = await told(wire, AdminState.DRAIN, "web3-c3", "web2", "web1", "web1-a1")
    assert [type(outcome) for outcome in outcomes] == [Shown, NotShown, Shown]
    assert [outcome.node.node for outcome in outcomes] == ["web3", "web2", "web1"]
    assert [row.tags.get(b"state") for _, row in sorted((await rows(wire)).items())] == [None, b"drain", None, b"drain"]


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (None, "web1 got the query and did not answer within 2.5 s: its agent has no handler for rosterd-state"),
        (
            Handler.FAILS,
            "web1 got the query and did not answer within 2.5 s: its agent has no handler for rosterd-state",
        ),
        (Handler.LIES, "web1 says that it is done, but its tag `state` is not seen here within 2.5 s"),
        (Handler.REFUSES, "web1 refused: [Errno 2] No such file or directory: '/no/such/file'"),
    ],
)
async def test_a_node_that_does_not_follow_is_told_with_the_reason(
    wire: Wire, handler: Handler | None, why: str
) -> None:
    """No handler, one that fails, one that lies, one that cannot: each in its own words, and in time."""
    await add(wire, "web1", handler)
    (outcome,) = await told(wire, AdminState.DRAIN, "web1", patience=IN_VAIN)
    assert isinstance(outcome, NotShown)
    assert outcome.why.startswith(why)


async def test_a_name_that_nobody_has_tells_who_is_there(wire: Wire) -> None:
    """And nobody is told anything, though one of the names is right."""
    await add(wire, "web1-a1", Handler.SETS, node="web1")
    with pytest.raises(NodeUnknown, match="there is no node 'web9'; alive are: local, web1"):
        await told(wire, AdminState.DRAIN, "web1", "web9")
    assert b"state" not in (await rows(wire))["web1-a1"].tags


async def test_a_name_that_two_have_is_not_guessed(wire: Wire) -> None:
    """One of them may be anybody's."""
    await add(wire, "web1-a1", Handler.SETS, node="web1")
    await add(wire, "web1-b2", Handler.SETS, node="web1")
    with pytest.raises(NodeUnknown, match="2 alive nodes; give one of these: web1-a1, web1-b2"):
        await told(wire, AdminState.DRAIN, "web1")
    (outcome,) = await told(wire, AdminState.DRAIN, "web1-b2")
    assert isinstance(outcome, Shown)


async def test_a_node_that_has_left_cannot_be_told(wire: Wire) -> None:
    """It is listed for a while yet."""
    await add(wire, "web1-a1", Handler.SETS, node="web1")
    await wire.leave("web1-a1")
    await until_listed(wire, "web1-a1", b"left")
    with pytest.raises(NodeUnknown, match=r"web1 \(web1-a1\) is left, and only an alive node can be told"):
        await told(wire, AdminState.DRAIN, "web1")


async def test_the_wrong_key_is_refused(wire: Wire) -> None:
    """The errand stands at the same gate as all others, and the text names the agent."""
    with pytest.raises(SerfAuthRefused, match=rf"Serf agent at {wire.rpc_address[0]}.*was refused"):
        await tell(wire.rpc_address, "wrong", ["web1"], AdminState.DRAIN, PATIENCE)


async def test_an_agent_that_hangs_is_given_up(wire: Wire) -> None:
    """With what to look at; nobody was told anything."""
    wire.pause()
    began = time.monotonic()
    with pytest.raises(SerfUnreachable, match=r"no answer within 0\.5 s; is it running"):
        await told(wire, AdminState.DRAIN, "web1", patience=HASTY)
    assert time.monotonic() - began < PATIENCE.nodes_s


@pytest.mark.parametrize("hangs", [True, False])
async def test_what_was_achieved_before_the_agent_is_lost_is_told(wire: Wire, *, hangs: bool) -> None:
    """Silent or gone: who is drained is said to be, and of whom it is not known, that it is not known, and why."""
    await add(wire, "web1", Handler.SETS)
    await add(wire, "web2", Handler.FAILS)
    telling = asyncio.create_task(told(wire, AdminState.DRAIN, "web1", "web2", patience=HASTY))
    async with asyncio.timeout(WITHIN_S):
        while (await rows(wire))["web1"].tags.get(b"state") != b"drain":  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)  # several reads of the table
    if hangs:
        wire.pause()
    else:
        await wire.kill()
    drained, open_one = await telling
    assert isinstance(drained, Shown)
    assert isinstance(open_one, NotShown)
    assert open_one.why.startswith(f"web2 may have done it or not: Serf agent at {wire.rpc_address[0]}:")
    assert re.search(r"no answer to `members` within 0\.5 s$" if hangs else "(closed|reset)", open_one.why)


async def test_an_agent_that_is_not_there_is_told(wire: Wire) -> None:
    """With what to look at."""
    await wire.kill()
    with pytest.raises(SerfUnreachable, match=r"Connection refused; is it running, and is serf\.rpc_address right"):
        await told(wire, AdminState.DRAIN, "web1")


def test_both_ends_speak_of_the_same() -> None:
    """The handler imports nothing of the daemon's, since it goes where no daemon is."""
    assert (state_handler.QUERY, state_handler.OK.encode()) == (state_change.QUERY, state_change.OK)
    assert set(state_handler.CHANGES) == {state.value for state in AdminState}

"""Tell nodes their state: one errand to the local agent, which sends them a query. `state_change` knows the rest."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from rosterd.errors import SerfError, SerfOutOfStep, SerfUnreachable
from rosterd.serf import protocol
from rosterd.serf.client import agent_at
from rosterd.serf.errand import errand
from rosterd.serf.lookup import find, nodes_of
from rosterd.serf.protocol import Members
from rosterd.serf.state_change import Patience, StateChange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rosterd.model import AdminState
    from rosterd.serf.errand import Errand
    from rosterd.serf.lookup import Node
    from rosterd.serf.state_change import Outcome


async def tell(
    address: tuple[str, int], auth_key: str | None, names: Sequence[str], state: AdminState, patience: Patience
) -> tuple[Outcome, ...]:
    """Have the nodes of these names set their state, and wait until the table of the agent at `address` shows it.

    Once a node was asked there are outcomes, whatever happens to the agent: what was achieved until then is told.

    Raises:
        NodeUnknown: a name is nobody's, or several have it; nobody was told anything.
        SerfUnreachable, SerfAuthRefused, SerfRefused, SerfOutOfStep: the local agent does not do its part, and nobody
            was told anything.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        try:
            deadline = loop.time() + patience.agent_s
            agent = await stack.enter_async_context(_reached(address, auth_key, deadline))
            nodes = find(await _nodes(agent, deadline), names)
        except SerfError as error:
            raise type(error)(f"{agent_at(address)}: {error}") from error
        change = StateChange(nodes, state, loop.time(), patience)
        try:
            await _carry_out(change, agent)
        except SerfError as error:
            change.lose_agent(f"{agent_at(address)}: {error}")
    return change.outcomes()


@asynccontextmanager
async def _reached(address: tuple[str, int], auth_key: str | None, deadline: float) -> AsyncIterator[Errand]:
    """Reach the agent by the deadline; who cannot is told what to look at."""
    async with AsyncExitStack() as stack:
        try:
            async with _answer_by(deadline):
                agent = await stack.enter_async_context(errand(address, auth_key))
        except SerfUnreachable as error:
            raise SerfUnreachable(f"{error}; is it running, and is serf.rpc_address right?") from error
        yield agent


async def _nodes(agent: Errand, deadline: float) -> tuple[Node, ...]:
    agent.send(protocol.members())
    async with _answer_by(deadline):
        answer = await agent.message()
    if not isinstance(answer, Members):
        raise SerfOutOfStep("no answer to `members`")
    return nodes_of(answer.records)


@asynccontextmanager
async def _answer_by(deadline: float) -> AsyncIterator[None]:
    within_s = deadline - asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise SerfUnreachable(f"no answer within {within_s:.3g} s") from None


async def _carry_out(change: StateChange, agent: Errand) -> None:
    loop = asyncio.get_running_loop()
    while not change.is_over(loop.time()):
        for request in change.requests(loop.time()):
            agent.send(request)
        try:
            async with asyncio.timeout_at(change.next_timer(loop.time())):
                message = await agent.message()
        except TimeoutError:
            continue
        change.take(message, loop.time())

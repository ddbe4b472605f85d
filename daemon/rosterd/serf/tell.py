"""Tell nodes their state: one errand to the local agent, which sends them a query. `state_change` knows the rest."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from rosterd.errors import SerfError, SerfOutOfStep, SerfUnreachable
from rosterd.serf import protocol
from rosterd.serf.client import agent_at
from rosterd.serf.errand import errand
from rosterd.serf.lookup import find, nodes_of
from rosterd.serf.protocol import Members
from rosterd.serf.state_change import Patience, StateChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rosterd.model import AdminState
    from rosterd.serf.errand import Errand
    from rosterd.serf.lookup import Node
    from rosterd.serf.state_change import Outcome


async def tell(
    address: tuple[str, int], auth_key: str | None, names: Sequence[str], state: AdminState, patience: Patience
) -> tuple[Outcome, ...]:
    """Have the nodes of these names set their state, and wait until the table of the agent at `address` shows it.

    Raises:
        NodeUnknown: a name is nobody's, or several have it; nobody was told anything.
        SerfUnreachable, SerfAuthRefused, SerfRefused, SerfOutOfStep: the local agent does not do its part.
    """
    try:
        return await _tell(address, auth_key, names, state, patience)
    except SerfUnreachable as error:
        problem: SerfError = SerfUnreachable(f"{error}; is it running, and is serf.rpc_address right?")
    except SerfError as error:
        problem = error
    raise type(problem)(f"{agent_at(address)}: {problem}")


async def _tell(
    address: tuple[str, int], auth_key: str | None, names: Sequence[str], state: AdminState, patience: Patience
) -> tuple[Outcome, ...]:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(patience.agent_s):
                agent = await stack.enter_async_context(errand(address, auth_key))
                nodes = find(await _nodes(agent), names)
        except TimeoutError:
            raise SerfUnreachable(f"no answer within {patience.agent_s:g} s") from None
        change = StateChange(nodes, state, loop.time(), patience)
        while not change.is_over(loop.time()):
            for request in change.requests(loop.time()):
                agent.send(request)
            try:
                async with asyncio.timeout_at(change.next_timer(loop.time())):
                    message = await agent.message()
            except TimeoutError:
                continue
            change.take(message, loop.time())
    return change.outcomes()


async def _nodes(agent: Errand) -> tuple[Node, ...]:
    agent.send(protocol.members())
    answer = await agent.message()
    if not isinstance(answer, Members):
        raise SerfOutOfStep("no answer to `members`")
    return nodes_of(answer.records)

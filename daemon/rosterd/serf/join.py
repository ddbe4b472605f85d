"""One errand to the agent: join these nodes. With a node that does not answer it takes seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rosterd.errors import SerfOutOfStep, SerfUnreachable
from rosterd.serf import protocol
from rosterd.serf.errand import errand
from rosterd.serf.protocol import Joined

if TYPE_CHECKING:
    from rosterd.serf.protocol import Message


async def join(address: tuple[str, int], auth_key: str | None, endpoint: str, within: float) -> int:
    """Have the agent whose RPC is at `address` join `endpoint` (host:port); return how many nodes it reached.

    Raises:
        SerfUnreachable: the agent does not answer `within` these seconds, or hangs up.
        SerfAuthRefused: the agent wants another key.
        SerfRefused: nobody could be reached at `endpoint`; the text is the agent's.
        SerfOutOfStep: the agent answered with something else.
    """
    try:
        async with asyncio.timeout(within):
            answer = await _ask(address, auth_key, endpoint)
    except TimeoutError:
        raise SerfUnreachable(f"no answer to `join` within {within:g} s") from None
    if not isinstance(answer, Joined):
        raise SerfOutOfStep("no answer to `join`")
    return answer.reached


async def _ask(address: tuple[str, int], auth_key: str | None, endpoint: str) -> Message:
    async with errand(address, auth_key) as agent:
        agent.send(protocol.join([endpoint]))
        return await agent.message()

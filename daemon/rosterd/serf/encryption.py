"""Whether gossip is encrypted, asked of the local agent by one errand."""

from __future__ import annotations

from rosterd.serf import protocol
from rosterd.serf.errand import errand
from rosterd.serf.protocol import Stats


async def gossip_encryption(address: tuple[str, int], auth_key: str | None) -> bool | None:
    """Ask the agent whose RPC is at `address`; None where it does not say. The caller bounds the time.

    Raises:
        SerfUnreachable, SerfAuthRefused, SerfRefused, SerfOutOfStep: the agent does not do its part.
    """
    async with errand(address, auth_key) as agent:
        agent.send(protocol.stats())
        stats = await agent.message()
    return stats.encrypted if isinstance(stats, Stats) else None

"""Now and then have the agent compare its whole member table with another member's, for what gossip lost.

Gossip tells each change to a few members at random, a few times. In a small cluster a member may be passed over: of
scale-ups from three to nine agents one in sixty left an agent ignorant of new members until its own next comparison, up
to 30 s later, and Serf has no setting for that. A join with somebody who is a member already is such a comparison, both
ways and over TCP. Rules:

- One alive member at a time, chosen at random.
- The larger the cluster the seldomer, as the agent itself does it: a table costs more there, and gossip is surer.
- A refusal is no news: whether that member is well is gossip's to find out.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import structlog

from rosterd.errors import SerfError
from rosterd.serf.endpoints import Endpoint, others, text_of
from rosterd.serf.join import join

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from rosterd.model import Snapshot

log = structlog.get_logger(__name__)

FULL_PACE_MEMBERS: Final = 32
"""Up to so many members the interval is as it was set."""


def pause_s(interval: float, members: int) -> float:
    """Return the seconds until the next comparison: the interval, and once more for each doubling above 32 members."""
    doublings = math.ceil(math.log2(max(members, FULL_PACE_MEMBERS) / FULL_PACE_MEMBERS))
    return interval * (1 + doublings)


class TableExchange:
    """Has the agent whose RPC is at `address` compare tables, every `interval` seconds in a small cluster.

    `timeout` (seconds) bounds one comparison. `latest` returns the newest snapshot, None before the first.
    """

    def __init__(
        self,
        *,
        address: tuple[str, int],
        auth_key: str | None,
        interval: float,
        timeout: float,
        latest: Callable[[], Snapshot | None],
        rng: random.Random,
    ) -> None:
        self._address = address
        self._auth_key = auth_key
        self._interval = interval
        self._timeout = timeout
        self._latest = latest
        self._rng = rng

    async def run(self) -> None:
        """Compare until cancelled. What fails is tried again with another member."""
        while True:
            await asyncio.sleep(pause_s(self._interval, len(self._others())))
            if members := self._others():  # as they are now, after the pause
                await self._compare(text_of(self._rng.choice(members)))

    def _others(self) -> tuple[Endpoint, ...]:
        snapshot = self._latest()
        return others(snapshot) if snapshot is not None else ()

    async def _compare(self, endpoint: str) -> None:
        try:
            await join(self._address, self._auth_key, endpoint, self._timeout)
        except SerfError as error:
            log.debug("exchange.refused", member=endpoint, reason=str(error))

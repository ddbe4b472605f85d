"""Keep the cluster whole: look for missing seeds now and then, and have the agent join them.

A start in the wrong order, a seed that was down, a network that was cut: each can leave two halves that do not know of
each other. Rules:

- Names are resolved again each time: a seed may move, and a name may stand for many nodes.
- Few joins at a time, and each looks again whether its seed is still missing: the first success brings in the others.
- What became of a seed is logged when it differs from the last time, not each time.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import structlog

from rosterd.errors import SerfError
from rosterd.serf.endpoints import Endpoint, Seed, missing, text_of
from rosterd.serf.join import join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rosterd.model import Snapshot

log = structlog.get_logger(__name__)

AT_ONCE: Final = 4
"""Joins at a time: one dead seed must not hold up the others, a hundred at once would be a storm."""

FIRST_LOOK_S: Final = 0.1
"""How often to ask for the first snapshot while there is none."""

RESOLVE_TIMEOUT_S: Final = 5.0


class SeedKeeper:
    """Joins the seeds that the table lacks, through the agent whose RPC is at `address`.

    `interval` (seconds) lies between two looks, `join_timeout` (seconds) bounds one join. `latest` returns the newest
    snapshot, None before the first: until then there is nothing to compare with.
    """

    def __init__(
        self,
        *,
        address: tuple[str, int],
        auth_key: str | None,
        seeds: tuple[Seed, ...],
        interval: float,
        join_timeout: float,
        latest: Callable[[], Snapshot | None],
    ) -> None:
        self._address = address
        self._auth_key = auth_key
        self._seeds = seeds
        self._interval = interval
        self._join_timeout = join_timeout
        self._latest = latest
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Look until cancelled; return at once where there are no seeds. What fails is logged and tried again."""
        while self._seeds:
            if self._latest() is None:
                await asyncio.sleep(min(FIRST_LOOK_S, self._interval))
                continue
            await self._look()
            await asyncio.sleep(self._interval)

    async def _look(self) -> None:
        found = await asyncio.gather(*(self._resolve(seed) for seed in self._seeds))
        wanted = dict.fromkeys(endpoint for endpoints in found for endpoint in endpoints)
        absent = self._missing(wanted)
        for endpoint in wanted.keys() - set(absent):
            self._said.pop(text_of(endpoint), None)  # it is here; should it go missing, that is news
        turn = iter(absent)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(absent))):
                group.create_task(self._join_each(turn))

    def _missing(self, wanted: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        snapshot = self._latest()
        return () if snapshot is None else missing(wanted, snapshot)

    async def _resolve(self, seed: Seed) -> tuple[Endpoint, ...]:
        if seed.address is not None:
            return ((seed.address, seed.port),)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await loop.getaddrinfo(seed.host, seed.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            self._say_unresolved(seed, f"no answer within {RESOLVE_TIMEOUT_S:g} s")
            return ()
        except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
            self._say_unresolved(seed, str(error))
            return ()
        self._said.pop(str(seed), None)
        # A scope such as %eth0 is of use to this machine only.
        return tuple((ip_address(str(where[0]).partition("%")[0]), seed.port) for *_, where in found)

    async def _join_each(self, turn: Iterator[Endpoint]) -> None:
        for endpoint in turn:
            if self._missing((endpoint,)):
                await self._join(text_of(endpoint))

    async def _join(self, endpoint: str) -> None:
        try:
            await join(self._address, self._auth_key, endpoint, self._join_timeout)
        except SerfError as error:
            if self._is_news(endpoint, "refused"):
                log.warning("seed.refused", seed=endpoint, reason=str(error))
            return
        if self._is_news(endpoint, "joined"):
            log.info("seed.joined", seed=endpoint)

    def _say_unresolved(self, seed: Seed, reason: str) -> None:
        if self._is_news(str(seed), "unresolved"):
            log.warning("seed.unresolved", seed=str(seed), reason=reason)

    def _is_news(self, whom: str, outcome: str) -> bool:
        before = self._said.get(whom)
        self._said[whom] = outcome
        return before != outcome

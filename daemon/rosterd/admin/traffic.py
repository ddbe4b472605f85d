"""How much traffic each server has, asked when somebody wants to know, and never otherwise.

Rules:

- HAProxy is asked at most once a second, however many want to know: they share one question and its answer.
- It is a connection of its own with a short deadline. A HAProxy that hangs costs the asker so long and no more, and the
  controller nothing: long answers are read in slices, between which the loop turns.
- That the figures are not known is an answer, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rosterd.errors import ProxyError
from rosterd.proxy.socket import HAProxySocket
from rosterd.proxy.traffic import SHOW_TRAFFIC, Figures, Reading, Traffic, figures_in

ANSWER_WITHIN_S = 0.5
"""The deadline of the question."""

KEPT_S = 1.0
"""How long an answer, or that there was none, is given to all who ask."""

_SLICE = 200
"""Lines that are read in one go; they take about a millisecond."""


class TrafficReader:
    """Reads the traffic figures through `socket`; `clock` is monotonic seconds."""

    def __init__(self, socket: HAProxySocket, clock: Callable[[], float]) -> None:
        self._socket = socket
        self._clock = clock
        self._last: Reading | None = None
        self._asking: asyncio.Task[Reading] | None = None

    async def latest(self) -> Reading:
        """The figures, at most a second old."""
        if self._asking is None:
            if self._last is not None and self._last.at is not None and self._clock() < self._last.at + KEPT_S:
                return self._last
            self._asking = asyncio.create_task(self._ask(), name="traffic")
        # One who asks and goes away does not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """End a question that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> Reading:
        try:
            traffic = await _in_slices(await self._socket.ask(SHOW_TRAFFIC))
            self._last = Reading(self._clock(), traffic, "")
        except ProxyError as error:
            self._last = Reading(self._clock(), None, str(error))
        finally:
            self._asking = None
        return self._last


async def _in_slices(text: str) -> Traffic:
    services: dict[str, Figures] = {}
    servers: dict[tuple[str, str], Figures] = {}
    for number, ((service, server), figures) in enumerate(figures_in(text), 1):
        if server is None:
            services[service] = figures
        else:
            servers[service, server] = figures
        if number % _SLICE == 0:
            await asyncio.sleep(0)
    return Traffic(services, servers)

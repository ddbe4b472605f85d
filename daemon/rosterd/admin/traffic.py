"""How much traffic each server has.

It is asked on a connection of its own with a short deadline. A HAProxy that hangs costs the asker so long and no more,
and the controller nothing: long answers are read in slices, between which the loop turns. That the figures are not
known is an answer, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rosterd.errors import ProxyError
from rosterd.proxy.socket import HAProxySocket
from rosterd.proxy.traffic import SHOW_TRAFFIC, Figures, Reading, Traffic, figures_in

ANSWER_WITHIN_S = 0.5
"""The deadline of the question."""

_SLICE = 200
"""Lines that are read in one go; they take about a millisecond."""


async def read_traffic(socket: HAProxySocket, clock: Callable[[], float]) -> Reading:
    """Ask for the figures through `socket`; `clock` is monotonic seconds."""
    try:
        traffic = await _in_slices(await socket.ask(SHOW_TRAFFIC))
        return Reading(clock(), traffic, "")
    except ProxyError as error:
        return Reading(clock(), None, str(error))


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

"""Which host names lead to which service, in the order in which they have to be asked.

Pure. Names that are written out go before wildcards, and a longer wildcard before a shorter one, whichever services
they belong to: `api.example.org`, then `*.api.example.org`, then `*.example.org`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rosterd.settings import WILDCARD, ServiceSettings


@dataclass(frozen=True, slots=True)
class Route:
    """Host names that lead to one service; where `is_suffix`, the ends of names, such as `.example.org`."""

    service: str
    hosts: tuple[str, ...]
    is_suffix: bool


def routes(services: Iterable[ServiceSettings]) -> tuple[Route, ...]:
    """The routes to all HTTP services that have hosts."""
    exact: list[Route] = []
    suffixes: list[Route] = []
    for service in services:
        if names := tuple(host for host in service.hosts if not host.startswith(WILDCARD)):
            exact.append(Route(service.name, names, is_suffix=False))
        ends = [host.removeprefix("*") for host in service.hosts if host.startswith(WILDCARD)]
        suffixes += [Route(service.name, (end,), is_suffix=True) for end in ends]
    return (*exact, *sorted(suffixes, key=lambda route: -len(route.hosts[0])))

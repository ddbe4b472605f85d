"""Endpoints: one address and port is served once in a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rosterd.model import Address, Server
from rosterd.policy.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Displaced:
    """A server that is not served because `by` has its address and port."""

    service: str
    name: str
    by: str


def one_per_endpoint(
    service: str, wanted: Iterable[Candidate], served: Mapping[str, Server]
) -> tuple[list[Candidate], list[Displaced]]:
    """Who serves, ordered by name, and who does not because somebody else has its address and port.

    That a spare has lost its place is no news: it would have gone anyway.
    """

    def rank(candidate: Candidate) -> tuple[bool, bool, bool, bool, bool, str]:
        server = candidate.server
        line = served.get(server.name)
        holds_it = line is not None and line.endpoint == server.endpoint
        # Who takes no traffic has no use for a place that somebody alive would use.
        idles = server.weight == 0
        # A daemon that has just started may find two in a place: one that drains, and one that came after it.
        return candidate.is_spare, candidate.hold is not None, idles and not holds_it, not holds_it, idles, server.name

    owners: dict[tuple[Address, int], str] = {}
    winners: list[Candidate] = []
    losers: list[Displaced] = []
    for candidate in sorted(wanted, key=rank):
        name = candidate.server.name
        owner = owners.setdefault(candidate.server.endpoint, name)
        if owner == name:
            winners.append(candidate)
        elif not candidate.is_spare:
            losers.append(Displaced(service, name, owner))
    return sorted(winners, key=lambda winner: winner.server.name), losers

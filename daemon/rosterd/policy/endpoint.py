"""Endpoints: one address and port is served once in a service.

Of several members that claim it, in this order: a server that takes traffic before one that does not; an alive member
before a held one; the member that served there earliest (`tenure.py`); the one that has it now; the first name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rosterd.model import Address, Server
from rosterd.policy.candidate import Candidate
from rosterd.policy.tenure import Tenures

NEVER: Final = 2**31
"""Where a server comes in a place in which it never served: after all that did."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """A server that is not served because `by` has its address and port."""

    service: str
    name: str
    by: str


def one_per_endpoint(
    service: str, wanted: Sequence[Candidate], served: Mapping[str, Server], tenures: Tenures
) -> tuple[list[Candidate], list[Displaced]]:
    """The candidates that serve, ordered by name, and those that do not because another has their address and port.

    A spare that loses its place is not reported: it would have gone anyway.
    """
    returning = {
        candidate.server.endpoint
        for candidate in wanted
        if candidate.hold is None and candidate.server.weight > 0 and _turn(service, candidate.server, tenures) < NEVER
    }

    def rank(candidate: Candidate) -> tuple[bool, bool, bool, int, bool, bool, str]:
        server = candidate.server
        line = served.get(server.name)
        holds_it = line is not None and line.endpoint == server.endpoint
        turn = _turn(service, server, tenures)
        # A server that takes no traffic displaces none that would. It keeps a place where it served first, unless an
        # earlier server of that place is back: it drains, and its address must not serve again under another name.
        idles = server.weight == 0
        yields = idles and not (holds_it and turn == 0 and server.endpoint not in returning)
        # A daemon that has just started may find two in a place: one that drains, and one that came after it.
        return candidate.is_spare, yields, candidate.hold is not None, turn, not holds_it, idles, server.name

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


def _turn(service: str, server: Server, tenures: Tenures) -> int:
    """How many others served in the server's place before it did."""
    names = [tenure.name for tenure in tenures.get((service, server.address, server.port), ())]
    return names.index(server.name) if server.name in names else NEVER

"""Tenure: which members served at an address and port before, so that a member that was away gets its place back.

Pure. A member that was away for a moment may find its address and port claimed by another one, which would keep them
for good. So the names that served in a place are remembered in the order in which they came. Rules:

- Only serving counts: a server that takes no traffic earns nothing.
- A name that lost its place is forgotten `longest_hold_s` later: addresses get reused.
- What is remembered is bounded: `MOST_NAMES` a place, the earliest, and `MOST_PLACES`, those lost last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from rosterd.model import Address, Server

MOST_NAMES: Final = 8
MOST_PLACES: Final = 20_000

Lines: TypeAlias = Mapping[str, Mapping[str, Server]]
"""Server lines by service and server name."""

Place: TypeAlias = tuple[str, Address, int]
"""Service, address and port."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """A member that served in a place; `until` is when that is forgotten, infinity while it has the place."""

    name: str
    until: float = math.inf


Tenures: TypeAlias = Mapping[Place, tuple[Tenure, ...]]


def note(tenures: Tenures, lines: Lines, longest_hold_s: float, now: float) -> Tenures:
    """The tenures once these lines are served."""
    holders = {
        (service, server.address, server.port): server
        for service, servers in lines.items()
        for server in servers.values()
    }
    noted: dict[Place, tuple[Tenure, ...]] = {}
    for place in tenures.keys() | holders.keys():
        if names := _noted(tenures.get(place, ()), holders.get(place), longest_hold_s, now):
            noted[place] = names
    if len(noted) <= MOST_PLACES:
        return noted
    newest = sorted(noted, key=lambda place: max(each.until for each in noted[place]), reverse=True)
    return {place: noted[place] for place in newest[:MOST_PLACES]}


def _noted(known: tuple[Tenure, ...], holder: Server | None, longest_hold_s: float, now: float) -> tuple[Tenure, ...]:
    name = holder.name if holder else ""
    names = tuple(
        Tenure(each.name, math.inf if each.name == name else min(each.until, now + longest_hold_s))
        for each in known
        if each.name == name or each.until > now
    )
    is_new = holder is not None and holder.weight > 0 and all(each.name != name for each in names)
    return (*names, Tenure(name))[:MOST_NAMES] if is_new else names

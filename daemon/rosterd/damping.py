"""Who comes and goes over and over: a penalty that decays, and above a limit a wait outside.

Pure. Each departure of an alive member costs it a point, and the points halve every `flap_half_life_s`. Who reaches
`flap_limit` points is to wait until half of that is left. Rules:

- Points are kept for the member's name and for where it listens: an incarnation has a new name at the same place, and
  a node that moves keeps its name.
- Only what a member does is counted. Who is lost because the local agent has forgotten everybody does not pay for it.
- This says who waits; whether they may (there may be nobody else to serve) is policy's to decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from rosterd.model import Entry, Member, Status
from rosterd.roster import Table

LEAST_POINTS: Final = 0.1
"""What has decayed below this is forgotten."""

MOST_KEPT: Final = 10_000
"""Places; of more, those with the fewest points are forgotten."""

_GONE: Final = frozenset({Status.LEAVING, Status.LEFT, Status.FAILED})


class Limits(Protocol):
    """When a member waits; the settings [policy] have these."""

    @property
    def flap_limit(self) -> int:
        """Departures, within little more than a half-life, after which a member waits; 0 is never."""

    @property
    def flap_half_life_s(self) -> float:
        """Seconds in which half of the points are forgotten."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """The points of a place at a moment, and until when who comes back there waits. Monotonic seconds."""

    points: float
    at: float
    waits_until: float

    def points_at(self, now: float, half_life_s: float) -> float:
        """What is left of the points."""
        return self.points * math.exp2((self.at - now) / half_life_s)


Penalties = Mapping[str, Penalty]
"""By place: a name, or where a server listens."""


def note(penalties: Penalties, before: Table, after: Table, limits: Limits, now: float) -> Penalties:
    """The penalties after one change of the table."""
    gone = [old for name, old in before.entries.items() if _has_gone(old, after.entries.get(name))]
    if not gone:
        return penalties
    half_life = limits.flap_half_life_s
    kept = {place: each for place, each in penalties.items() if each.points_at(now, half_life) >= LEAST_POINTS}
    for place in {place for old in gone for place in _places(old)}:
        kept[place] = _after_departure(kept.get(place), limits, now)
    if len(kept) > MOST_KEPT:
        heaviest = sorted(kept, key=lambda place: kept[place].points_at(now, half_life), reverse=True)[:MOST_KEPT]
        kept = {place: kept[place] for place in heaviest}
    return kept


def waiting(penalties: Penalties, table: Table, now: float) -> Mapping[str, float]:
    """The names of the alive members that are to wait, each with the time until when."""
    if not any(penalty.waits_until > now for penalty in penalties.values()):
        return {}
    return {
        name: until
        for name, entry in table.entries.items()
        if entry.status is Status.ALIVE and (until := _waits_until(penalties, entry)) > now
    }


def points_of(penalties: Penalties, entry: Entry, half_life_s: float, now: float) -> float:
    """How many points a member has."""
    found = (penalties[place].points_at(now, half_life_s) for place in _places(entry) if place in penalties)
    return max(found, default=0.0)


def _has_gone(old: Entry, new: Entry | None) -> bool:
    return old.status is Status.ALIVE and new is not None and new.status in _GONE


def _places(entry: Entry) -> Iterator[str]:
    yield entry.name
    if isinstance(entry.subject, Member):
        yield f"{entry.subject.address} {entry.subject.port}"  # a blank, which no name has


def _after_departure(before: Penalty | None, limits: Limits, now: float) -> Penalty:
    half_life = limits.flap_half_life_s
    points = 1.0 + (before.points_at(now, half_life) if before else 0.0)
    until = before.waits_until if before else now
    if 0 < limits.flap_limit <= points:
        until = now + half_life * math.log2(2.0 * points / limits.flap_limit)
    return Penalty(points, now, until)


def _waits_until(penalties: Penalties, entry: Entry) -> float:
    return max((penalties[place].waits_until for place in _places(entry) if place in penalties), default=-math.inf)

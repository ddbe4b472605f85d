"""Who comes and goes over and over: a penalty that decays, and above a limit a wait outside.

Pure. Each departure of an alive member costs it a point, and the points halve every `flap_half_life_s`. Who reaches
`flap_limit` points is to wait until half of that is left. Rules:

- Points are kept for the member's name and for where it listens: an incarnation has a new name at the same place, and
  a node that moves keeps its name. A place gets points from who served there, and from nobody else: whoever reaches the
  gossip port may claim any place.
- Only what a member does is counted. Who is lost because the local agent has forgotten everybody does not pay for it.
- This says who waits; whether they may (there may be nobody else to serve) is policy's to decide.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from rosterd.model import Entry, Member, Status
from rosterd.roster import Table

LEAST_POINTS: Final = 0.1
"""What has decayed below this is forgotten."""

MOST_KEPT: Final = 10_000
"""Names and places; of more, those with the fewest points are forgotten."""

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
    """The points of a name or place after its last departure, at that moment in monotonic seconds."""

    points: float
    at: float

    def waits_until(self, limits: Limits) -> float:
        """Until when who comes back there waits, having reached the limit: until half of that is left."""
        return self.at + limits.flap_half_life_s * math.log2(2.0 * self.points / limits.flap_limit)

    def points_at(self, now: float, half_life_s: float) -> float:
        """What is left of the points."""
        return self.points * math.exp2((self.at - now) / half_life_s)


Key = tuple[str, *tuple[object, ...]]
"""A name, or where a server listens; neither can be mistaken for the other."""

Penalties = Mapping[Key, Penalty]


def note(
    penalties: Penalties, before: Table, after: Table, served: Container[str], limits: Limits, now: float
) -> Penalties:
    """The penalties after one change of the table; `served` are the names of the servers that are configured."""
    gone = [old for name, old in before.entries.items() if _has_gone(old, after.entries.get(name))]
    if not gone:
        return penalties
    half_life = limits.flap_half_life_s
    kept = {key: each for key, each in penalties.items() if each.points_at(now, half_life) >= LEAST_POINTS}
    for key in {key for old in gone for key in _keys(old) if key == _name(old) or old.name in served}:
        past = kept.get(key)
        kept[key] = Penalty(1.0 + (past.points_at(now, half_life) if past else 0.0), now)
    if len(kept) > MOST_KEPT:
        heaviest = sorted(kept, key=lambda key: kept[key].points_at(now, half_life), reverse=True)[:MOST_KEPT]
        kept = {key: kept[key] for key in heaviest}
    return kept


def waiting(penalties: Penalties, table: Table, limits: Limits, now: float) -> Mapping[str, float]:
    """The names of the alive members that are to wait, each with the time until when."""
    enough = limits.flap_limit or math.inf
    flapping = ((key, penalty) for key, penalty in penalties.items() if penalty.points >= enough)
    ends = {key: until for key, penalty in flapping if (until := penalty.waits_until(limits)) > now}
    if not ends:
        return {}
    return {
        name: max(ends[key] for key in _keys(entry) if key in ends)
        for name, entry in table.entries.items()
        if entry.status is Status.ALIVE and any(key in ends for key in _keys(entry))
    }


def points_of(penalties: Penalties, entry: Entry, half_life_s: float, now: float) -> float:
    """How many points a member has."""
    found = (penalties[key].points_at(now, half_life_s) for key in _keys(entry) if key in penalties)
    return max(found, default=0.0)


def _has_gone(old: Entry, new: Entry | None) -> bool:
    return old.status is Status.ALIVE and new is not None and new.status in _GONE


def _name(entry: Entry) -> Key:
    return "name", entry.name


def _keys(entry: Entry) -> Iterator[Key]:
    yield _name(entry)
    if isinstance(entry.subject, Member):
        yield "place", entry.subject.address, entry.subject.port

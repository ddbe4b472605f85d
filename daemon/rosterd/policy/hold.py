"""Holds: servers that keep their line although their member is not alive, or does not parse any more.

Each hold has a time of its own. Who has none, or whose time is over, is a spare: `minimum.py` says who of these stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rosterd.model import Entry
from rosterd.policy.view import View
from rosterd.settings import PolicySettings

QUARANTINED = "quarantined"
"""Why a member that is alive and does not parse is held."""

OVERDUE = "overdue"
"""Why somebody is held whose own time is over."""

LEFT = "left"
"""Why somebody is held who has left, or serves elsewhere now."""


@dataclass(frozen=True, slots=True)
class Held:
    """A server that stays although its member is not alive.

    `why` is `failed`, `unseen` or `quarantined` while its own time lasts, then `overdue`; `left` for who said goodbye.
    """

    service: str
    name: str
    since: float
    why: str

    @property
    def is_spare(self) -> bool:
        """Whether it stays only because too few others serve."""
        return self.why in (OVERDUE, LEFT)


@dataclass(frozen=True, slots=True)
class Holding:
    """The rules for one service at one moment."""

    service: str
    view: View
    limits: PolicySettings
    now: float
    guarded: bool

    def of_unfit(self, entry: Entry) -> Held:
        """The hold of an alive member that does not parse."""
        since = entry.since if entry.unfit_since is None else entry.unfit_since
        is_over = self.now >= since + self.limits.quarantine_hold_s
        return Held(self.service, entry.name, since, OVERDUE if is_over else QUARANTINED)

    def of_away(self, entry: Entry) -> Held:
        """The hold of a member that is failed or unseen."""
        why = entry.status.value if self._keeps(entry) else OVERDUE
        return Held(self.service, entry.name, entry.since, why)

    def of_gone(self, entry: Entry) -> Held:
        """The hold of a member that leaves, has left, or has tags that lead elsewhere."""
        return Held(self.service, entry.name, entry.since, LEFT)

    def _keeps(self, entry: Entry) -> bool:
        if self.guarded or self.now < entry.since + self.limits.hold_s:
            return True
        # Unknown health counts as answering: HAProxy is down or hangs just now, which proves nothing.
        answers = self.view.answering.get((self.service, entry.name), True)
        return answers and self.now < entry.since + self.limits.longest_hold_s


def ends_of(held: Iterable[Held], limits: PolicySettings) -> list[float]:
    """When time may end these holds; in between health decides, and is read on its own timer."""
    spans = {QUARANTINED: (limits.quarantine_hold_s,), OVERDUE: (), LEFT: ()}
    usual = (limits.hold_s, limits.longest_hold_s)
    return [hold.since + span for hold in held for span in spans.get(hold.why, usual)]

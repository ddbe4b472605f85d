"""Holds: servers that keep their line although their member is not alive, or does not parse any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rosterd.model import Entry
from rosterd.policy.view import View
from rosterd.settings import PolicySettings

QUARANTINED = "quarantined"
"""Why a member that is alive and does not parse is held."""


@dataclass(frozen=True, slots=True)
class Held:
    """A server that stays although its member is not alive."""

    service: str
    name: str
    since: float
    why: str


@dataclass(frozen=True, slots=True)
class Holding:
    """The rules for one service at one moment."""

    service: str
    view: View
    limits: PolicySettings
    now: float
    guarded: bool

    def of_unfit(self, entry: Entry) -> Held | None:
        """The hold of an alive member that does not parse; None when its time is over."""
        since = entry.since if entry.unfit_since is None else entry.unfit_since
        if self.now >= since + self.limits.quarantine_hold_s:
            return None
        return Held(self.service, entry.name, since, QUARANTINED)

    def of_away(self, entry: Entry) -> Held | None:
        """The hold of a member that is failed or unseen; None when nothing speaks for it any more."""
        return Held(self.service, entry.name, entry.since, entry.status.value) if self._keeps(entry) else None

    def _keeps(self, entry: Entry) -> bool:
        if self.guarded or self.now < entry.since + self.limits.hold_s:
            return True
        # Unknown health counts as answering: HAProxy is down or hangs just now, which proves nothing.
        answers = self.view.answering.get((self.service, entry.name), True)
        return answers and self.now < entry.since + self.limits.longest_hold_s


def ends_of(held: Iterable[Held], limits: PolicySettings) -> list[float]:
    """When time may end these holds; in between health decides, and is read on its own timer."""
    spans = {QUARANTINED: (limits.quarantine_hold_s,)}
    usual = (limits.hold_s, limits.longest_hold_s)
    return [hold.since + span for hold in held for span in spans.get(hold.why, usual)]

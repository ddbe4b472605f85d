"""The isolation guard: when many seem to be away, the likelier truth is that this balancer is cut off."""

from __future__ import annotations

from rosterd.model import Entry, Status
from rosterd.policy.view import View
from rosterd.roster import Table
from rosterd.settings import PolicySettings


def isolation(table: Table, view: View, limits: PolicySettings) -> str:
    """Why this balancer is probably cut off; empty when nothing says so."""
    if view.health_score >= limits.guard_health_score:
        return f"the local agent's health score is {view.health_score}"
    if not view.agent_answers and any(
        _is_away(table.entries.get(name)) for names in view.served.values() for name in names
    ):
        return "the local agent does not answer"
    for service, lines in view.served.items():
        away = sum(1 for name in lines if _is_away(table.entries.get(name)))
        if away >= 2 and away > limits.guard_share * len(lines):
            return f"{away} of {len(lines)} servers of {service} are failed or unseen"
    return ""


def _is_away(entry: Entry | None) -> bool:
    return entry is not None and entry.status in (Status.FAILED, Status.UNSEEN)

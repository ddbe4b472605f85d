"""The goals that rosterd has set itself, beside what was measured. Pure.

They stand here once, before any measurement, and are never adapted to one: a miss is shown as a miss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.bench.figures import Figure, Figures

OURS = "rosterd"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of ours should be at most `most`, or at most so many times the same figure of `of`."""

    scenario: str
    figure: str
    most: float
    what: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal beside its measurement. `bound` is the number that `measured` should not exceed."""

    goal: Goal
    measured: float
    bound: float

    @property
    def is_met(self) -> bool:
        """Whether it was reached. A negative number is a count that began anew meanwhile, and no measurement."""
        return 0 <= self.measured <= self.bound


GOALS: tuple[Goal, ...] = (
    *(
        goal
        for size in (5, 50)
        for goal in (
            Goal(f"join_{size}", "p50_s", 0.30, f"{size} agents: start of the agent to the first answer, median"),
            Goal(f"join_{size}", "p95_s", 0.50, f"{size} agents: the same, 95 of 100"),
            Goal(f"join_{size}", "p50_s", 1 / 7, f"{size} agents: seven times faster than event handlers", "handlers"),
            Goal(f"join_{size}", "visible_p50_s", 0.010, f"{size} agents: member visible to first answer, median"),
            Goal(f"join_{size}", "visible_p99_s", 0.030, f"{size} agents: the same, 99 of 100"),
            Goal(f"join_{size}", "failed", 0, f"{size} agents: failed requests meanwhile"),
            Goal(f"leave_{size}", "p50_s", 0.35, f"{size} agents: SIGINT to the last request, median"),
            Goal(f"leave_{size}", "failed", 0, f"{size} agents: failed requests meanwhile"),
        )
    ),
    Goal("crash", "failed", 0, "a server of four dies under 1,500 requests/s: failed requests"),
    Goal("crash", "longest_s", 0.100, "the same: the longest wait"),
    Goal("churn", "failed", 0, "two changes a second under 3,000 requests/s: failed requests"),
    Goal("churn", "reloads", 0, "the same: reloads"),
    Goal("churn", "pid_changes", 0, "the same: changes of HAProxy's process"),
    Goal("churn", "p99_s", 1.2, "the same: 99 of 100 requests, beside a HAProxy that nobody changes", "static"),
    Goal("churn", "cpu_ms_per_event", 3.0, "the same: processor time of the daemon for each change"),
    Goal("template", "failed", 0, "template edits under 3,000 requests/s: failed requests"),
    Goal("burst", "p50_s", 0.150, "50 members at once: from visible to all serving, median"),
    Goal("cost_100", "p50_s", 0.6, "100 members: start of the daemon to ready, median"),
    Goal("cost_100", "rss_mb", 60, "100 members: memory of the daemon"),
    Goal("cost_100", "idle_cpu_percent", 1.0, "100 members: idle daemon, share of a core"),
)


def verdicts(results: Mapping[str, Mapping[str, Figures]]) -> tuple[Verdict, ...]:
    """Put each goal beside what was measured; those that were not are left out.

    Where no request was sent nothing is known of how requests fare: every goal of that scenario is missed.
    """
    found = []
    for goal in GOALS:
        contenders = results.get(goal.scenario, {})
        ours = contenders.get(OURS, {})
        measured = math.inf if ours.get("requests") == 0 else _number(ours.get(goal.figure))
        of = _number(contenders.get(goal.of, {}).get(goal.figure)) if goal.of else 1.0
        if measured is not None and of is not None:
            found.append(Verdict(goal, measured, goal.most * of))
    return tuple(found)


def _number(figure: Figure | None) -> float | None:
    return None if figure is None or isinstance(figure, str) else float(figure)

"""Numbers out of what happened: for each fault, for all requests, for memory and descriptors. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.figures import median
from tests.soak.ledger import Failure, excused, kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.soak.census import Sample, Usage
    from tests.soak.ledger import Ledger
    from tests.soak.runner import Played

Json = dict[str, Any]

BEFORE = -1
"""The number of the turn that is none: requests before the first one."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Failed requests of one turn: those without an excuse, and those with one."""

    failed: int = 0
    excused: int = 0


def losses_by_turn(ledger: Ledger, played: Sequence[Played]) -> dict[int, Losses]:
    """Return what each turn lost, by its place in the row.

    A failure belongs to the turn in which the request was due, or else to the one whose excuse it has: what was under
    way when HAProxy died was due before.
    """
    begins = [one.began_at for one in played]
    failed: Counter[int] = Counter()
    allowed: Counter[int] = Counter()
    for failure, excuse in excused(ledger.failures, ledger.excuses):
        moment = max(failure.due, excuse.span.begin) if excuse else failure.due
        (allowed if excuse else failed)[bisect_right(begins, moment) - 1] += 1
    return {number: Losses(failed[number], allowed[number]) for number in range(BEFORE, len(played))}


def fault_rows(
    names: Iterable[str], played: Sequence[Played], losses: Mapping[int, Losses], allowed: Mapping[str, int]
) -> dict[str, dict[str, float | int | None]]:
    """Return the row of each fault: how often it was tried, what was lost, how long it took until all was well.

    Two faults of one turn share its time and what failed: who looks at a row sees what happened while it did. What was
    allowed is that of the fault whose excuse it was.
    """
    turns_of = {name: [(one, losses[at]) for at, one in enumerate(played) if name in one.turn.faults] for name in names}
    return {name: _row(turns, allowed.get(name, 0)) for name, turns in turns_of.items()}


def _row(turns: Sequence[tuple[Played, Losses]], allowed: int) -> dict[str, float | int | None]:
    times = [one.heal_s for one, _ in turns if one.heal_s is not None]
    return {
        "tried": len(turns),
        "with_another": sum(len(one.turn.faults) > 1 for one, _ in turns),
        "failed": sum(lost.failed for _, lost in turns),
        "excused": allowed,
        "heal_median_s": round(median(times), 2) if times else None,
        "heal_longest_s": round(max(times), 2) if times else None,
        "not_healed": sum(one.well_at is None for one, _ in turns),
        "problems": sum(bool(one.problems) for one, _ in turns),
    }


def excused_by_fault(ledger: Ledger) -> dict[str, int]:
    """Return how many requests failed with the excuse of each fault."""
    return dict(Counter(excuse.fault for _, excuse in excused(ledger.failures, ledger.excuses) if excuse is not None))


def excused_by_second(ledger: Ledger) -> list[int]:
    """Return how many requests failed with an excuse, by the second in which they were due."""
    counts = Counter(
        int(failure.due - ledger.begin)
        for failure, excuse in excused(ledger.failures, ledger.excuses)
        if excuse is not None
    )
    return [counts[second] for second in range(len(ledger.seconds))]


def requests(ledger: Ledger) -> Json:
    """Return the counts of all requests, and how those failed that had no excuse, and those that had one."""
    found = list(excused(ledger.failures, ledger.excuses))
    without: list[Failure] = [failure for failure, excuse in found if excuse is None]
    return {
        "requests": ledger.requests,
        "failed": len(without),
        "excused": len(found) - len(without),
        "failures": kinds(without),
        "excused_failures": kinds(failure for failure, excuse in found if excuse is not None),
        "slowest_s": round(max((second.slowest_s for second in ledger.seconds), default=0.0), 3),
    }


def unexcused(ledger: Ledger) -> list[Json]:
    """Return each failure without an excuse: when it was due, since the beginning, how long it took, what it was."""
    return [
        {
            "at_s": round(failure.due - ledger.begin, 3),
            "after_s": round(failure.done - failure.due, 3),
            "what": failure.what,
        }
        for failure, excuse in excused(ledger.failures, ledger.excuses)
        if excuse is None
    ]


# --- memory and descriptors -------------------------------------------------------------------------------------


def growth(values: Sequence[float]) -> Json:
    """Return the median of the first third and of the last third, the most, and how much larger the last third is."""
    third = len(values) // 3
    if not third:
        return {}
    first, last = median(values[:third]), median(values[-third:])
    return {
        "first_third": round(first, 2),
        "last_third": round(last, 2),
        "grown_percent": round(100 * (last - first) / first, 1) if first else 0.0,
        "most": round(max(values), 2),
    }


def uses(samples: Sequence[Sample]) -> Json:
    """Return how memory and descriptors grew: of each program, and of rosterd in its longest life."""
    found: Json = {}
    for program, usage_of in PROGRAMS.items():
        usages = [usage for one in samples if (usage := usage_of(one)) is not None]
        found[program] = _grown(usages) | {"lives": len({usage.pid for usage in usages})}
    lives = Counter(one.daemon.pid for one in samples if one.daemon is not None)
    if lives:
        longest = lives.most_common(1)[0][0]
        times = [one.at for one in samples if one.daemon is not None and one.daemon.pid == longest]
        usages = [one.daemon for one in samples if one.daemon is not None and one.daemon.pid == longest]
        found["rosterd_longest_life"] = _grown(usages) | {"life_s": round(times[-1] - times[0])}
    return found


def _grown(usages: Sequence[Usage]) -> Json:
    return {
        "rss_mb": growth([usage.rss_mb for usage in usages]),
        "descriptors": growth([float(usage.descriptors) for usage in usages]),
    }


PROGRAMS: Mapping[str, Callable[[Sample], Usage | None]] = {
    "rosterd": lambda one: one.daemon,
    "haproxy_worker": lambda one: one.worker,
    "serf_agent": lambda one: one.agent,
}
"""Whose memory and descriptors are looked at."""

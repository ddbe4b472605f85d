"""Figures out of measured values: quantiles, medians, ratios. Pure.

A figure is a number with its unit at the end of its name (`p50_s`, `rss_mb`, `failed`). `None` is no figure: what was
not measured does not appear, rather than as a zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tests.bench.samples import Sample

Figure = float | int | bool | str
Figures = dict[str, Figure]
"""By the figure's name; a text stands only where something could not be measured, and says why."""

NOT_MEASURED = "not_measured"
"""The name of that text."""

_SIGNIFICANT = 4


def quantile(values: Collection[float], share: float) -> float:
    """Return the smallest value that `share` of the values do not exceed (nearest rank: a value that was measured).

    Raises:
        ValueError: there are no values, or the share is not in (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"no quantile {share} of {len(values)} values")
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def median(values: Collection[float]) -> float:
    """Return the quantile 0.5."""
    return quantile(values, 0.5)


def ratio(ours: float, theirs: float) -> float:
    """Say how many times larger theirs is; infinite where ours is nothing."""
    return theirs / ours if ours else math.inf


def rounded(value: float) -> float:
    """Return the value with as many digits as its measurement can carry."""
    return float(f"{value:.{_SIGNIFICANT}g}")


def spread(values: Collection[float], *shares: float, prefix: str = "", suffix: str = "s") -> Figures:
    """Return quantiles as figures: `spread(x, 0.5, 0.95)` gives `p50_s` and `p95_s`; none of no values."""
    if not values:
        return {}
    return {f"{prefix}p{round(100 * share)}_{suffix}": rounded(quantile(values, share)) for share in shares}


def of_requests(samples: Sequence[Sample]) -> Figures:
    """Count requests and failures, and measure the wait of those that were answered, and the longest of any."""
    answered = [sample.latency_s for sample in samples if not sample.failed]
    return {
        "requests": len(samples),
        "failed": sum(sample.failed for sample in samples),
        **spread(answered, 0.5, 0.95, 0.99),
        **({"longest_s": rounded(max(sample.latency_s for sample in samples))} if samples else {}),
    }


def send_lag(samples: Sequence[Sample]) -> Figures:
    """How late the generator itself sent, at its 99th of a hundred: whether it kept up with its own timetable."""
    return spread([sample.sent - sample.due for sample in samples], 0.99, prefix="send_lag_")


def cpu_ms_per_event(used_s: float, idle_share: float, span_s: float, events: int) -> float:
    """Return the processor time that one change cost, in milliseconds, without what would have been used anyway.

    `used_s` was used in `span_s`, in which `events` changes happened; `idle_share` is the use per second without any.
    """
    return rounded(max(0.0, used_s - idle_share * span_s) * 1000 / events)


def without_none(figures: Mapping[str, Figure | None]) -> Figures:
    """Leave out what was not measured."""
    return {name: value for name, value in figures.items() if value is not None}

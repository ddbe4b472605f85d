"""All that the admin interface may look at, handed to it by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rosterd.history import History
from rosterd.metrics import Metrics
from rosterd.proxy.traffic import Reading
from rosterd.report import Report


@dataclass(frozen=True, slots=True)
class Insight:
    """A report of this moment, the events so far, the counts so far, the traffic, and how many old workers still are.

    The last two are asked of HAProxy when somebody wants to know; None where its master does not say.
    """

    report: Callable[[], Report]
    history: History
    metrics: Metrics
    traffic: Callable[[], Awaitable[Reading]]
    old_workers: Callable[[], Awaitable[int | None]]

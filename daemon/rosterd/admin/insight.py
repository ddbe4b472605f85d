"""All that the admin interface may look at, handed to it by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rosterd.history import History
from rosterd.metrics import Metrics
from rosterd.report import Report


@dataclass(frozen=True, slots=True)
class Insight:
    """A report of this moment, the events so far, the counts so far, and how many old workers HAProxy still has.

    The last is asked when somebody wants to know; None where HAProxy's master does not say.
    """

    report: Callable[[], Report]
    history: History
    metrics: Metrics
    old_workers: Callable[[], Awaitable[int | None]]

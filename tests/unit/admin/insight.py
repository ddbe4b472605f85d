"""What an admin interface without a daemon looks at."""

from __future__ import annotations

from collections.abc import Callable

from rosterd.admin.insight import Insight
from rosterd.history import History
from rosterd.metrics import Metrics
from rosterd.proxy.traffic import NOT_ASKED, Reading
from rosterd.report import Report


def insight(report: Callable[[], Report], history: History | None = None, metrics: Metrics | None = None) -> Insight:
    """Return an insight into this report; nothing has happened unless told otherwise, and one old worker finishes."""

    async def traffic() -> Reading:
        return NOT_ASKED

    async def old_workers() -> int | None:
        return 1

    return Insight(report, history or History("ab12"), metrics or Metrics(), traffic, old_workers)

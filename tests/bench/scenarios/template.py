"""template: the template is edited fifty times under 3,000 requests a second, so the proxy has to reload each time.

An edit every 0.8 s. `edit_p50_s` is the time from the edit to the first moment at which a new worker serves.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.bench.children import Traffic, wait_for_answers
from tests.bench.figures import Figures, of_requests, send_lag, spread
from tests.bench.scenarios.scenario import Bench, Results, Scenario, cluster_of, placed, tell_failures
from tests.bench.waiting import until, wait_until

if TYPE_CHECKING:
    from tests.bench.contenders.contender import Contender

RATE = 3_000.0
_EVERY_S = 0.8
_SERVERS = 4
_WITHIN_S = 5.0
_AFTER_S = 1.0


def _pid(contender: Contender) -> int:
    """The worker that serves now; 0 while the proxy is too busy with its reload to say."""
    with suppress(OSError):
        return contender.proxy_pid()
    return 0


def _edit(contender: Contender, number: int) -> float:
    """Make an edit, wait for the new worker, and return how long that took."""
    before = contender.proxy_pid()
    begin = time.monotonic()
    contender.edit(number)
    until(lambda: _pid(contender) not in {0, before}, f"a new worker after edit {number}", _WITHIN_S)
    return time.monotonic() - begin


def run(bench: Bench, contender_type: type[Contender]) -> Results:
    """Edit, again and again."""
    edits = bench.of(50, 3)
    took: list[float] = []
    with cluster_of(bench, _SERVERS) as (cluster, nodes), placed(bench, contender_type, cluster, nodes) as contender:
        reloads = contender.reloads()
        with Traffic(contender.target, RATE) as traffic:
            wait_for_answers(traffic, _WITHIN_S)
            begin = time.monotonic()
            for number in range(edits):
                wait_until(begin + number * _EVERY_S)
                if not contender.never_changes:
                    took.append(_edit(contender, number))
            time.sleep(_AFTER_S)
        reloads = contender.reloads() - reloads
    tell_failures(bench, traffic.samples)
    figures: Figures = {
        **of_requests(traffic.samples),
        "reloads": reloads,
        **spread(took, 0.5, 0.95, prefix="edit_"),
        **send_lag(traffic.samples),
    }
    return {"template": figures}


SCENARIO = Scenario(
    words=("template",),
    results=("template",),
    run=run,
    without={
        "rosterd_reload": "an edit of the template is a reload for rosterd in any case",
        "envoy": "it never reloads: its listeners and routes come over the wire as its servers do",
    },
)

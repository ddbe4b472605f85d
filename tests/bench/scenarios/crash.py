"""crash: one of four web nodes dies under 1,500 requests a second, its web server and its agent by SIGKILL at once.

The load begins before and goes on for long enough that gossip notices too (it takes 6 to 13 seconds); until then the
proxy is on its own. Every request counts, those in flight at that moment first of all. Several times over; `failed` is
the sum of all, `longest_s` the longest of all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.children import Traffic, WebFarm
from tests.bench.figures import of_requests
from tests.bench.scenarios.scenario import Bench, Results, Scenario, cluster_of, placed, tell_failures, wait_served

if TYPE_CHECKING:
    from tests.bench.contenders.contender import Contender
    from tests.bench.samples import Sample

RATE = 1_500.0
_BEFORE_S = 1.0
_SURVIVORS = 3
_SPARES = 2


def _die_once(bench: Bench, contender_type: type[Contender]) -> list[Sample]:
    with WebFarm() as doomed, cluster_of(bench, _SURVIVORS, _SPARES) as (cluster, nodes):
        victim = cluster.node(doomed)
        cluster.start_all([victim.agent])
        everybody = [*nodes, victim]
        with placed(bench, contender_type, cluster, everybody) as contender:
            with Traffic(contender.target, RATE) as traffic:
                wait_served(traffic, everybody)
                time.sleep(_BEFORE_S)
                doomed.kill()
                victim.agent.kill()
                time.sleep(bench.of(12, 2))
            return traffic.samples


def run(bench: Bench, contender_type: type[Contender]) -> Results:
    """Have a node die on a fresh cluster, some times."""
    samples = [sample for _ in range(bench.of(3, 1)) for sample in _die_once(bench, contender_type)]
    tell_failures(bench, samples)
    return {"crash": of_requests(samples)}


SCENARIO = Scenario(words=("crash",), results=("crash",), run=run)

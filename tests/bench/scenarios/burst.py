"""burst: fifty web nodes become members at once; how long until all of them serve.

Fifty agents that start together on one machine trickle in over seconds. So they form a cluster first, and then the
balancer's agent, alone until then, joins it: one exchange of state between two agents brings all of them, as when two
halves of a cluster find each other. The clock starts when `members` shows the last of them, and ends with the first
answer of the last; 3,000 requests a second take 17 ms to go round fifty servers.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.children import Traffic
from tests.bench.figures import rounded, spread
from tests.bench.scenarios.scenario import Bench, Results, Scenario, cluster_of
from tests.bench.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.cluster import Cluster, Node
    from tests.bench.contenders.contender import Contender

RATE = 3_000.0
_BEFORE_S = 1.0


def _merge_once(bench: Bench, contender_type: type[Contender], cluster: Cluster, nodes: Sequence[Node]) -> float:
    """Return how long it took. What failed is not counted: before, there was no server to ask."""
    with contender_type(bench.folder(), joins=()) as contender:
        contender.start(())
        with Traffic(contender.target, RATE) as traffic:
            time.sleep(_BEFORE_S)
            contender.agent.join_now(cluster.seed())
            visible = [_when(partial(contender.watcher.seen, node.name, "alive"), node) for node in nodes]
            first = [_when(partial(traffic.first_answer, node.address), node) for node in nodes]
    return max(first) - max(visible)


def _when(moment: Callable[[], float | None], node: Node) -> float:
    return until(moment, f"{node.name}, one of many at once")


def run(bench: Bench, contender_type: type[Contender]) -> Results:
    """Have a balancer meet the cluster, some times, each time a new one."""
    with cluster_of(bench, bench.of(50, 10)) as (cluster, nodes):
        took = [_merge_once(bench, contender_type, cluster, nodes) for _ in range(bench.of(5, 1))]
    return {"burst": {**spread(took, 0.5), "longest_s": rounded(max(took)), "nodes": len(nodes), "trials": len(took)}}


SCENARIO = Scenario(
    words=("burst",),
    results=("burst",),
    run=run,
    without={"static": "nobody joins a HAProxy that nobody changes"},
)

"""join and leave: one web node comes and goes, again and again, in clusters of 5 and of 50 agents.

The clock of a join starts just before the agent is started, that of a leave when SIGINT is sent. 1,000 requests a
second go through the balancer all the while, so the first answer is known to some 4 ms: each of the four servers gets
every fourth request. The other agents serve nothing; they make gossip what it is in a cluster of that size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.children import Traffic
from tests.bench.figures import Figures, of_requests, spread
from tests.bench.scenarios.scenario import PROBE_RATE, Bench, Results, Scenario, cluster_of, placed, tell_failures
from tests.bench.waiting import until

if TYPE_CHECKING:
    from tests.bench.cluster import Cluster, Node
    from tests.bench.contenders.contender import Contender

SERVERS = 3
SIZES = (5, 50)
_SETTLE_S = 0.3
_QUIET_S = 0.5
_LONGEST_S = 20.0


@dataclass(frozen=True, slots=True)
class _Visit:
    """One coming and going. `visible` and `leaving` are when `members` of the balancer's agent showed it."""

    node: Node
    visible: float
    first: float
    leaving: float


def _visit(contender: Contender, cluster: Cluster, traffic: Traffic) -> _Visit:
    node = cluster.node()
    node.start()
    first = until(lambda: traffic.first_answer(node.address), f"the first answer of {node.name}", _LONGEST_S)
    visible = until(lambda: contender.watcher.seen(node.name, "alive"), f"{node.name} in the table")
    node.wait_joined()
    time.sleep(_SETTLE_S)
    node.leave()
    leaving = until(
        lambda: contender.watcher.seen(node.name, "leaving") or contender.watcher.seen(node.name, "left"),
        f"{node.name} to be seen leaving",
    )
    until(lambda: _quiet_for(traffic, node) > _QUIET_S, f"the last request to {node.name}", _LONGEST_S)
    node.wait_gone()
    return _Visit(node, visible, first, leaving)


def _quiet_for(traffic: Traffic, node: Node) -> float:
    return time.monotonic() - (traffic.last_request(node.address) or 0.0)


def _measure(bench: Bench, contender: Contender, cluster: Cluster, trials: int) -> tuple[Figures, Figures]:
    with Traffic(contender.target, PROBE_RATE) as traffic:
        visits = [_visit(contender, cluster, traffic) for _ in range(trials)]
    # Looked at again at the end: a slot that is used anew may give requests to one who left long ago.
    last = [traffic.last_request(visit.node.address) or visit.first for visit in visits]
    tell_failures(bench, traffic.samples)
    counts = of_requests(traffic.samples)
    requests: Figures = {"requests": counts["requests"], "failed": counts["failed"]}
    join = {
        **spread([visit.first - visit.node.started_at for visit in visits], 0.5, 0.95),
        **spread([visit.first - visit.visible for visit in visits], 0.5, 0.99, prefix="visible_"),
    }
    # None after it was seen is none: what was sent a moment before counts as nothing.
    after = [max(0.0, end - visit.leaving) for end, visit in zip(last, visits, strict=True)]
    leave = {
        **spread([end - visit.node.left_at for end, visit in zip(last, visits, strict=True)], 0.5, 0.95),
        **spread(after, 0.5, 0.99, prefix="visible_"),
    }
    return {**join, **requests, "trials": trials}, {**leave, **requests, "trials": trials}


def run(bench: Bench, contender_type: type[Contender]) -> Results:
    """Measure in each size of cluster."""
    results: Results = {}
    for size in SIZES if not bench.quick else SIZES[:1]:
        # The balancer and the cluster's anchor are two of them, and the node that comes and goes is one.
        with cluster_of(bench, SERVERS, spares=max(0, size - SERVERS - 3)) as (cluster, nodes):
            bench.say(f"{size} agents")
            with placed(bench, contender_type, cluster, nodes) as contender:
                trials = bench.of(15, 2)
                results[f"join_{size}"], results[f"leave_{size}"] = _measure(bench, contender, cluster, trials)
    return results


SCENARIO = Scenario(
    words=("join", "leave"),
    results=tuple(f"{word}_{size}" for word in ("join", "leave") for size in SIZES),
    run=run,
    without={"static": "nobody joins a HAProxy that nobody changes"},
)

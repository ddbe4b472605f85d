"""churn: two changes a second for a minute under 3,000 requests a second, half of them on kept connections.

Each half second a node is started, or the one that is there for longest leaves; four others stay. HAProxy alone, with
those four and nobody to change it, goes through the same minute on the same machine: what it cannot do nobody can.

The processor time of a change is what the process that follows the members used in that minute, less what it used when
nothing changed (measured just before, over some seconds and under the same requests: on a busy machine the same work
takes more time), by the number of changes. The requests of those seconds are not counted.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.children import Traffic, wait_for_answers
from tests.bench.figures import Figures, cpu_ms_per_event, of_requests, send_lag
from tests.bench.scenarios.scenario import Bench, Results, Scenario, cluster_of, placed, tell_failures
from tests.bench.waiting import wait_until

if TYPE_CHECKING:
    from tests.bench.cluster import Cluster, Node
    from tests.bench.contenders.contender import Contender

RATE = 3_000.0
_EVERY_S = 0.5
_STAYING = 4
_GUESTS = 3
_SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a contender has used and done up to a moment."""

    at: float
    pid: int
    reloads: int
    cpu_s: float | None


def _read(contender: Contender) -> _Reading:
    return _Reading(time.monotonic(), contender.proxy_pid(), contender.reloads(), contender.control_cpu_s())


def _churn(cluster: Cluster, guests: deque[Node], changes: int) -> list[Node]:
    """Make the changes at their times; return the nodes that are on their way out."""
    gone: list[Node] = []
    begin = time.monotonic()
    for number in range(changes):
        wait_until(begin + number * _EVERY_S)
        if number % 2:
            guest = guests.popleft()
            guest.wait_joined()
            guest.leave()
            gone.append(guest)
        else:
            guests.append(cluster.node())
            guests[-1].start()
    return gone


def _cost(before: _Reading, begin: _Reading, end: _Reading, changes: int) -> Figures:
    """What the changes cost between `begin` and `end`, when nothing changed between `before` and `begin`."""
    if before.cpu_s is None or begin.cpu_s is None or end.cpu_s is None:
        return {}
    idle = (begin.cpu_s - before.cpu_s) / (begin.at - before.at)
    cost = cpu_ms_per_event(end.cpu_s - begin.cpu_s, idle, end.at - begin.at, changes)
    return {"cpu_ms_per_event": cost}


def run(bench: Bench, contender_type: type[Contender]) -> Results:
    """Measure one minute of it."""
    changes = bench.of(120, 6)
    with cluster_of(bench, _STAYING) as (cluster, nodes), placed(bench, contender_type, cluster, nodes) as contender:
        guests = deque(cluster.start_nodes(_GUESTS))
        time.sleep(_SETTLE_S)
        with Traffic(contender.target, RATE) as traffic:
            wait_for_answers(traffic, _SETTLE_S)
            before = _read(contender)
            time.sleep(bench.of(10, 1))
            begin = _read(contender)
            gone = _churn(cluster, guests, changes)
            time.sleep(_SETTLE_S)
        end = _read(contender)
        for node in gone:
            node.wait_gone()
    samples = [sample for sample in traffic.samples if sample.due >= begin.at]
    tell_failures(bench, samples)
    figures: Figures = {
        **of_requests(samples),
        "reloads": end.reloads - begin.reloads,
        "pid_unchanged": end.pid == begin.pid,
        "pid_changes": int(end.pid != begin.pid),
        **_cost(before, begin, end, changes),
        **send_lag(samples),
        "changes": changes,
    }
    return {"churn": figures}


SCENARIO = Scenario(words=("churn",), results=("churn",), run=run)

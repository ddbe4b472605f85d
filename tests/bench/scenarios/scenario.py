"""What every scenario is, and what all of them start with.

A scenario puts one contender at a time on a cluster of its own and returns figures; the contenders follow each other in
one run, on the same machine. No cluster is used twice: members that left stay in the table of all others for a day.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.children import Traffic, WebFarm
from tests.bench.cluster import Cluster, Node
from tests.bench.samples import failures
from tests.bench.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.bench.contenders.contender import Contender
    from tests.bench.figures import Figures
    from tests.bench.samples import Sample

Results = dict[str, "Figures"]
"""Figures by the scenario's name: one run may measure two, such as a join and the leave that undoes it."""

PROBE_RATE = 1_000.0
_SERVING_S = 30.0


@dataclass
class Bench:
    """Where a scenario runs: a folder, and somebody who is told what happens. `quick` asks for a smoke run."""

    directory: Path
    quick: bool
    say: Callable[[str], None]
    _used: int = field(default=0, init=False)

    def of(self, full: int, quick: int) -> int:
        """Return how many: of a full run, or of a smoke run."""
        return quick if self.quick else full

    def folder(self) -> Path:
        """Return a folder's path that nobody used before, short enough for the path of a socket in it."""
        self._used += 1
        return self.directory / str(self._used)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What it is called, how it runs for one contender, and why some contenders have no part in it, by their names.

    A run may give several results, named in `results`; each name begins with one of `words`, which choose them.
    """

    words: tuple[str, ...]
    results: tuple[str, ...]
    run: Callable[[Bench, type[Contender]], Results]
    without: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def cluster_of(bench: Bench, servers: int, spares: int = 0) -> Iterator[tuple[Cluster, list[Node]]]:
    """Run a cluster with so many web nodes, and agents that serve nothing."""
    with ExitStack() as stack:
        farm = stack.enter_context(WebFarm())
        cluster = stack.enter_context(Cluster(bench.folder(), farm))
        cluster.start_spares(spares)
        yield cluster, cluster.start_nodes(servers)


@contextmanager
def placed(
    bench: Bench, contender_type: type[Contender], cluster: Cluster, nodes: Sequence[Node]
) -> Iterator[Contender]:
    """Put a contender on the cluster; it serves all `nodes` when this returns."""
    with contender_type(bench.folder(), joins=(cluster.seed(),)) as contender:
        names = {node.name for node in nodes}
        until(lambda: names <= _alive(contender), f"the agent of {contender.name} to see {len(names)} nodes")
        try:
            contender.start(nodes)
            with Traffic(contender.target, PROBE_RATE) as probe:
                wait_served(probe, nodes)
            yield contender
        finally:
            contender.stop()


def wait_served(traffic: Traffic, nodes: Sequence[Node]) -> None:
    """Wait until each of the nodes has answered."""
    for node in nodes:
        until(partial(traffic.first_answer, node.address), f"answers of {node.name}", _SERVING_S)


def _alive(contender: Contender) -> set[str]:
    return {row.name for row in contender.watcher.table.values() if row.status == "alive"}


def tell_failures(bench: Bench, samples: Iterable[Sample]) -> None:
    """Say what failed, if anything did."""
    for line in failures(samples):
        bench.say(f"failed: {line}")

"""The demo's stage of local processes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from compose.cluster import ClusterError, Kind, LocalCluster, Node
from compose.demo.stage import Site
from compose.haproxy_view import HAProxyUnreadableError, read_master
from compose.logs import Follower
from compose.settled import require_own

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from compose.demo.stage import Spot
    from compose.haproxy_view import Master
    from compose.logs import Line

TALKATIVE = frozenset({"haproxy", "supervisord"})
"""They warn of what is usual: of these only errors are problems."""
MARK = ".demo"
"""A file in the run directory of a cluster that a demo made, and may stop; no node has such a name."""


def is_problem(line: Line) -> bool:
    """Whether a line deserves a look when something went wrong."""
    return line.level == "error" or (line.level == "warning" and line.program not in TALKATIVE)


class LocalStage:
    """A `LocalCluster` with a balancer of its own."""

    made_of = "each node has its own processes on an address of its own"
    deadline_s = 80.0
    close_within_s = 25.0
    """Together, with what a start takes, less than two minutes; as a rule all of it takes one."""

    def __init__(self, cluster: LocalCluster, balancer: Node) -> None:
        self._cluster = cluster
        self._balancer = balancer
        ports, address = cluster.ports, balancer.address
        self.site = Site(
            traffic=(address, ports.http),
            stats=(address, ports.stats),
            admin=(address, ports.admin),
            runtime=balancer.runtime_socket,
            template=balancer.template,
        )

    @classmethod
    async def create(cls, directory: Path, say: Callable[[str], None]) -> LocalStage:
        """A new cluster in the directory; what an earlier demo left up there is stopped, a cluster of yours is not.

        Raises:
            ClusterError: it cannot run here, or somebody's cluster runs in the directory.
            NoNetworkError: no network is free.
        """
        with contextlib.suppress(ClusterError):
            earlier = LocalCluster.open(directory)
            if earlier.running() and (directory / MARK).exists():
                say("stopping the cluster that an earlier demo left up ...")
                await earlier.down()
        cluster = LocalCluster.create(directory)
        (directory / MARK).touch()
        cluster.require_programs()
        return cls(cluster, cluster.register(Kind.BALANCER, "balancer"))

    async def start(self) -> Sequence[Spot]:
        """Start two web nodes and then the balancer; the web nodes."""
        web = [self._cluster.register(Kind.WEB) for _ in range(2)]
        for node in (*web, self._balancer):
            self._cluster.start(node)
        return web

    def require_own(self) -> None:
        """Make sure that the cluster's own processes answer. ClusterError names the endpoints of others."""
        require_own(self._cluster)

    async def add_web(self, number: int) -> Sequence[Spot]:
        """Start so many web nodes more."""
        joining = [self._cluster.register(Kind.WEB) for _ in range(number)]
        for node in joining:
            self._cluster.start(node)
        return joining

    async def stop(self, spot: Spot) -> float:
        """Stop a web node in order; the seconds it took."""
        return await self._cluster.stop(self._cluster.node(spot.name))

    async def kill(self, spot: Spot) -> None:
        """Crash a web node: SIGKILL to all its processes."""
        self._cluster.kill(self._cluster.node(spot.name))

    async def set_tags(self, spot: Spot, tags: dict[str, str]) -> None:
        """Set tags of a web node's agent."""
        await self._cluster.set_tags(self._cluster.node(spot.name), tags)

    async def tell(self, spot: Spot, command: str) -> None:
        """Run `rosterd drain`, `maint` or `ready` for a web node, on the balancer; returns when the cluster knows."""
        ended = await self._cluster.rosterd(self._balancer, command, spot.name)
        if ended.code:
            raise ClusterError(f"rosterd {command}: {ended.stderr}".strip())

    async def restart_daemon(self) -> None:
        """Have supervisord restart rosterd."""
        ended = await self._cluster.supervisorctl(self._balancer, "restart", "rosterd")
        if ended.code:
            raise ClusterError(f"supervisorctl: {ended.stdout}{ended.stderr}".strip())

    async def master(self) -> Master:
        """HAProxy's master process; HAProxyUnreadableError while it does not tell."""
        if not self._balancer.master_socket.exists():
            raise HAProxyUnreadableError(f"{self._balancer.master_socket}: not there yet")
        return await read_master(self._balancer.master_socket)

    def executables(self) -> Sequence[str]:
        """The program files that the nodes' processes run now."""
        return sorted(map(str, self._cluster.executables()))

    async def problems(self, most: int) -> Sequence[Line]:
        """The last warnings and errors of all programs."""
        return [line for line in Follower(self._cluster.directory).new_lines() if is_problem(line)][-most:]

    async def hints(self) -> Sequence[tuple[str, str]]:
        """Commands to try on a cluster that stays up, each with its purpose."""
        (address, http), (_, admin), (_, stats) = self.site.traffic, self.site.admin, self.site.stats
        run = ".venv/bin/python -m compose"
        return (
            (f"curl -i http://{address}:{http}/", "another server each time"),
            (f"http://{address}:{admin}/", "rosterd's page: servers, traffic, what happens"),
            (f"{run} rosterd top", "the same in the terminal; ends with q"),
            (f"http://{address}:{stats}/", "HAProxy's page"),
            (f"{run} add", "one more web node"),
            (f"{run} rosterd drain web1", "take one out, without a lost request; rosterd ready web1"),
            (f"{run} stop web2", "or: kill web2, start web2"),
            (f"{run} rosterd status", "or: members, events --follow, plan, render"),
            (f"make logs CLUSTER={self._cluster.directory.name}", "everything, all nodes together"),
            (f"{run} down", "stop all nodes"),
        )

    async def keep_logs(self) -> str:
        """They lie in the run directory anyway."""
        return f"make logs CLUSTER={self._cluster.directory.name}"

    async def close(self) -> None:
        """Stop every node in order."""
        await self._cluster.down()

    def close_at_once(self) -> None:
        """Kill what is left."""
        self._cluster.kill_all()

"""The demo's stage of containers, and what is shown there alone."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from compose.containers import HOST, ContainerCluster
from compose.demo.context import status_of
from compose.demo.local import is_problem
from compose.demo.stage import Site
from compose.demo.step import Step, StepFailedError
from compose.demo.steps import DEADLINE_S, FOLLOWED, first_answer_of, wait_until_removed
from compose.engine import EngineError
from compose.haproxy_view import HAProxyUnreadableError, parse_master
from compose.images import make_images
from compose.logs import parse_collected
from compose.model import ClusterError
from compose.waiting import ask_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from compose.containers import Container
    from compose.demo.context import Context
    from compose.demo.stage import Spot
    from compose.haproxy_view import Master
    from compose.logs import Line

PROJECT = "rosterd-demo"
OUTAGE_S = 10.0
PAUSE_S = 2.0
NUMBERED_LINES = 500
ARRIVED_WITHIN_S = 30.0
MASTER_QUESTION = "echo 'show proc' | socat - UNIX-CONNECT:/run/node/master.sock"


class ContainerStage:
    """A `ContainerCluster` with its collector."""

    made_of = "each node is a container; the balancer's ports are published on this machine's loopback"
    deadline_s = 420.0
    close_within_s = 90.0

    def __init__(self, cluster: ContainerCluster) -> None:
        self.cluster = cluster
        ports = cluster.ports
        self.site = Site(
            traffic=(HOST, ports.http),
            stats=(HOST, ports.stats),
            admin=(HOST, ports.admin),
            runtime=(HOST, ports.runtime),
            template=cluster.template,
        )

    @classmethod
    async def create(cls, directory: Path, say: Callable[[str], None]) -> ContainerStage:
        """A new cluster of images that are made first; what an earlier demo left up is removed.

        Raises:
            EngineError: no engine answers, or the images cannot be made.
            NoNetworkError: no port is free.
        """
        cluster = ContainerCluster.create(directory, PROJECT)
        if await cluster.containers():
            say("removing the containers that an earlier demo left up ...")
        await cluster.down()  # also where only volumes are left, with another cluster's keys and logs on them
        await asyncio.to_thread(make_images, cluster.engine, say)
        return cls(cluster)

    async def start(self) -> Sequence[Spot]:
        """Start two web nodes and the collector, and the balancer last; the web nodes."""
        await self.cluster.up("webapp", "logs", webapps=2)
        await self.cluster.up("ha", webapps=2)
        return await self.cluster.running("webapp")

    def require_own(self) -> None:
        """The engine publishes the ports, and refuses one that is taken."""

    async def add_web(self, number: int) -> Sequence[Spot]:
        """Start so many web nodes more."""
        before = {container.id for container in await self.cluster.containers("webapp")}
        await self.cluster.scale(len(before) + number)
        return [one for one in await self.cluster.running("webapp") if one.id not in before]

    async def stop(self, spot: Spot) -> float:
        """`docker stop`; the seconds it took."""
        container, begin = await self.container(spot), asyncio.get_running_loop().time()
        await self.cluster.stop(container)
        code = (await self.cluster.described(container))["State"]["ExitCode"]
        if code:
            raise EngineError(f"{spot.name}: exit code {code} after docker stop")
        return asyncio.get_running_loop().time() - begin

    async def kill(self, spot: Spot) -> None:
        """`docker kill`."""
        await self.cluster.kill(await self.container(spot))

    async def set_tags(self, spot: Spot, tags: dict[str, str]) -> None:
        """Set tags of a web node's agent."""
        arguments = [word for key, value in tags.items() for word in ("-set", f"{key}={value}")]
        await self.cluster.serf(await self.container(spot), "tags", *arguments)

    async def tell(self, spot: Spot, command: str) -> None:
        """Run `rosterd drain`, `maint` or `ready` for a web node, on the balancer; returns when the cluster knows."""
        node = (await self.container(spot)).node
        await self.cluster.run_in(await self.cluster.only("ha"), "rosterd", command, node)

    async def restart_daemon(self) -> None:
        """Have supervisord restart rosterd."""
        configuration = "/opt/rosterd/compose/node/supervisord.conf"
        ha = await self.cluster.only("ha")
        await self.cluster.run_in(ha, "supervisorctl", "-c", configuration, "restart", "rosterd")

    async def master(self) -> Master:
        """HAProxy's master process; HAProxyUnreadableError while it does not tell."""
        try:
            ha = await self.cluster.only("ha")
            return parse_master(await self.cluster.run_in(ha, "sh", "-c", MASTER_QUESTION))
        except ClusterError as error:
            raise HAProxyUnreadableError(str(error)) from error

    def executables(self) -> Sequence[str]:
        """None: they lie in the images."""
        return ()

    async def problems(self, most: int) -> Sequence[Line]:
        """The last warnings and errors of all programs, as the collector has them."""
        lines = (parse_collected(line) for line in await self.collected())
        return [line for line in lines if line is not None and is_problem(line)][-most:]

    async def collected(self) -> Sequence[str]:
        """Every line that the collector has; none while it is away."""
        try:
            logs = await self.cluster.only("logs")
            return (await self.cluster.run_in(logs, "cat", "/var/log/cluster/all.jsonl")).splitlines()
        except ClusterError:
            return ()

    async def container(self, spot: Spot) -> Container:
        """The container as it is now."""
        found = {one.name: one for one in await self.cluster.containers("webapp")}
        if spot.name not in found:
            raise EngineError(f"there is no container {spot.name}")
        return found[spot.name]

    async def hints(self) -> Sequence[tuple[str, str]]:
        """Commands to try on a cluster that stays up, each with its purpose."""
        compose = " ".join(self.cluster.engine.compose())
        ports = self.cluster.ports
        balancers = await self.cluster.running("ha")
        return (
            (f"curl -i http://{HOST}:{ports.http}/", "another server each time"),
            (f"http://{HOST}:{ports.admin}/", "rosterd's page: servers, traffic, what happens"),
            *((f"docker exec -it {one.name} rosterd top", "the same in the terminal; or: status") for one in balancers),
            (f"http://{HOST}:{ports.stats}/", "HAProxy's page"),
            ("make logs", "everything, all nodes together"),
            # Nothing but web nodes: compose does not know this cluster's ports and would make the balancer anew.
            (f"{compose} up -d --no-build --no-deps --no-recreate --scale webapp=6 webapp", "more nodes"),
            (".venv/bin/python -m compose down", "remove all of it"),
        )

    async def keep_logs(self) -> str:
        """Copy what the collector has, also one that is down, into the run directory."""
        kept = self.cluster.directory / "all.jsonl"
        try:
            logs = await self.cluster.only("logs")
            copy = self.cluster.engine.docker("cp", f"{logs.id}:/var/log/cluster/all.jsonl", str(kept))
            await self.cluster.engine.run(copy)
        except ClusterError:
            return ""
        return str(kept)

    async def close(self) -> None:
        """Stop and remove every container in order."""
        await self.cluster.down()

    def close_at_once(self) -> None:
        """Remove what is left, whatever it does."""
        self.cluster.remove_all()


# --- steps ------------------------------------------------------------------------------------------------------


def _stage(context: Context) -> ContainerStage:
    assert isinstance(context.stage, ContainerStage)  # noqa: S101  these steps are for this stage
    return context.stage


async def scale_up(context: Context) -> float:
    """Scale to eight web nodes."""
    begin = context.now()
    joining = await context.stage.add_web(8 - len(await _stage(context).cluster.containers("webapp")))
    if not joining:
        raise StepFailedError("the engine started no web node")
    context.welcome(joining)
    times = [await first_answer_of(context, spot, begin) for spot in joining]
    return max(times) - begin


async def scale_down(context: Context) -> float:
    """Scale to three: the engine stops the others in order."""
    cluster = _stage(context).cluster
    begin = context.now()
    await cluster.scale(3)
    left = {container.name for container in await cluster.running("webapp")}
    gone = [spot for spot in context.web if spot.name not in left]
    if not gone:
        raise StepFailedError("the engine stopped no web node")
    for spot in gone:
        await wait_until_removed(context, spot)
    context.web = [spot for spot in context.web if spot.name in left]
    return context.now() - begin


async def restart_node(context: Context) -> float:
    """Restart a web container: the same name, perhaps another address, another incarnation in Serf."""
    stage, spot = _stage(context), context.web.pop()
    await stage.cluster.restart(await stage.container(spot))
    begin = context.now()
    again = await stage.container(spot)
    context.welcome([again])
    return await first_answer_of(context, again, begin) - begin


async def pause_node(context: Context) -> float:
    """Pause a web container for a moment: its processes stand still, and what was sent to it waits."""
    stage, spot = _stage(context), context.web[-1]
    container = await stage.container(spot)
    begin = context.now()
    await stage.cluster.pause(container)
    try:
        await asyncio.sleep(PAUSE_S)
    finally:
        await stage.cluster.unpause(container)
    return await first_answer_of(context, spot, begin + PAUSE_S) - begin


async def second_balancer(context: Context) -> float:
    """Start a second balancer; it is level when both serve the same, by the digests in their status."""
    cluster = _stage(context).cluster
    begin = context.now()
    await cluster.up("ha2", webapps=len(await cluster.containers("webapp")))

    async def agree() -> bool:
        one = await context.status()
        other = await status_of((HOST, cluster.second_ports.admin))
        digests = [found.get("proxy", {}).get("servers_digest") for found in (one, other)]
        return other.get("ready") is True and digests[0] == digests[1] is not None

    await ask_until(agree, DEADLINE_S, "both balancers to serve the same")
    return context.now() - begin


async def collector_outage(context: Context) -> float:
    """Kill the collector for some seconds while a program logs numbered lines; every one has to arrive."""
    stage = _stage(context)
    ha, logs = await stage.cluster.only("ha"), await stage.cluster.only("logs")
    loop = f"i=0; while [ $i -lt {NUMBERED_LINES} ]; do echo numbered $i; i=$((i+1)); sleep 0.02; done"
    writing = asyncio.create_task(stage.cluster.run_in(ha, "sh", "-c", f"{loop} >>/run/node/logs/probe.log"))
    await stage.cluster.kill(logs)
    await asyncio.sleep(OUTAGE_S)
    await stage.cluster.start(logs)
    begin = context.now()
    await writing
    wanted = {f"numbered {number}" for number in range(NUMBERED_LINES)}

    async def all_there() -> bool:
        lines = [json.loads(line) for line in await stage.collected()]
        return {line.get("text") for line in lines if line["program"] == "probe"} == wanted

    await ask_until(all_there, ARRIVED_WITHIN_S, "every line to arrive")
    context.note(f"{NUMBERED_LINES} of {NUMBERED_LINES} lines arrived, {OUTAGE_S:.0f} s of them late")
    return context.now() - begin


async def lose_balancer(context: Context) -> float:
    """Kill the second balancer; the first one goes on."""
    cluster = _stage(context).cluster
    begin = context.now()
    await cluster.kill(await cluster.only("ha2"))
    if (await context.status()).get("ready") is not True:
        raise StepFailedError("the first balancer is not ready")
    return context.now() - begin


CONTAINER_STEPS = (
    Step("scaled to eight", "docker compose up --scale webapp=8", FOLLOWED, scale_up, 1.0),
    Step("scaled to three", "docker compose up --scale webapp=3", FOLLOWED, scale_down, 1.0),
    Step("a node is restarted", "docker restart", FOLLOWED, restart_node, 1.0),
    Step("a node is paused", f"docker pause for {PAUSE_S:.0f} s", "answers again", pause_node, 1.0),
    Step("a second balancer", "beside the first, none is special", "both serve the same", second_balancer, 1.0),
    Step("a balancer is killed", "the second one", "the other goes on", lose_balancer, 1.0),
    Step("the collector is away", f"killed for {OUTAGE_S:.0f} s", "every line there", collector_outage, 0.5),
)

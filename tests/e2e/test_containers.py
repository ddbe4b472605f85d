"""The cluster in containers, with requests flowing: scaled, stopped, killed, restarted, paused; any start order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from compose import http
from compose.containers import HOST, Container, ContainerCluster
from compose.engine import EngineError
from compose.haproxy_view import HAProxyUnreadableError, ServerView, ask, read_servers
from compose.load import Failure, Load, LoadPlan, failures
from compose.network import Ports
from compose.waiting import ask_until

UP_WITHIN_S = 60.0
FOLLOWED_WITHIN_S = 30.0
RATE = 200.0


async def status(ports: Ports) -> dict[str, Any]:
    """Return what a balancer's daemon says of itself; an empty one while it does not answer."""
    try:
        answer = await http.get(HOST, ports.admin, "/v1/status", 3.0)
        found: dict[str, Any] = json.loads(answer.body)
    except (OSError, asyncio.IncompleteReadError, http.GarbledAnswerError, ValueError):
        return {}
    return found


async def servers(ports: Ports) -> tuple[ServerView, ...]:
    """Return HAProxy's servers; none while it does not answer."""
    try:
        return await read_servers((HOST, ports.runtime))
    except HAProxyUnreadableError:
        return ()


async def worker_pid(ports: Ports) -> int:
    """Return the pid of HAProxy's worker, in its container."""
    lines = (await ask((HOST, ports.runtime), "show info")).splitlines()
    return int(next(line for line in lines if line.startswith("Pid:")).partition(":")[2])


async def answering(ports: Ports, requests: int = 32) -> set[str]:
    """Send some requests and return the addresses that answered."""
    found = set()
    for _ in range(requests):
        try:
            answer = await http.get(HOST, ports.http, "/", 3.0)
        except (OSError, asyncio.IncompleteReadError, http.GarbledAnswerError):
            continue
        if answer.status == 200:
            found.add(answer.headers["x-backend-ip"])
    return found


async def until_served(cluster: ContainerCluster, number: int, ports: Ports | None = None) -> tuple[Container, ...]:
    """Wait until just these web containers answer through a balancer; return them."""
    found: tuple[Container, ...] = ()

    async def served() -> bool:
        nonlocal found
        found = await cluster.running("webapp")
        wanted = {container.address for container in found}
        return len(found) == number and await answering(ports or cluster.ports, 4 * number + 8) == wanted

    await ask_until(served, UP_WITHIN_S, f"{number} web containers to answer")
    return found


@asynccontextmanager
async def traffic(cluster: ContainerCluster) -> AsyncIterator[Load]:
    """Keep requests flowing meanwhile; at the end not one may have failed."""
    async with load_of(cluster) as load:
        yield load
    assert failures(load.samples, 0.0, float("inf")) == ()


@asynccontextmanager
async def load_of(cluster: ContainerCluster) -> AsyncIterator[Load]:
    """Keep requests flowing meanwhile, whatever becomes of them; each asks for another path."""
    load = Load(LoadPlan(HOST, cluster.ports.http, path="/?n={number}", rate=RATE, longest_s=200.0))
    task = asyncio.create_task(load.run())
    try:
        await asyncio.sleep(0.5)
        yield load
        await asyncio.sleep(0.5)
    finally:
        load.stop()
        await task
    assert len(load.samples) > 20


async def test_scaled_up_and_down(cluster: ContainerCluster) -> None:
    """4, 8, 2, 0, 3: each server is hit, nothing fails while there is any, and HAProxy is the same process."""
    await cluster.up("ha", "logs", "webapp", webapps=4)
    await until_served(cluster, 4)
    pid = await worker_pid(cluster.ports)
    async with traffic(cluster):
        for number in (8, 2):
            await cluster.scale(number)
            await until_served(cluster, number)
    await cluster.scale(0)
    assert (await http.get(HOST, cluster.ports.http, "/", 3.0)).status == 503
    await cluster.scale(3)
    await until_served(cluster, 3)
    assert await worker_pid(cluster.ports) == pid
    assert (await status(cluster.ports))["reloads"] == 0
    await ask_until(partial(are_healthy, cluster), FOLLOWED_WITHIN_S, "the engine to hold every container for healthy")
    await cluster.down()
    assert await leftovers(cluster) == []


async def are_healthy(cluster: ContainerCluster) -> bool:
    """Whether the engine's own checks of all containers pass."""
    return {container.health for container in await cluster.containers()} == {"healthy"}


async def leftovers(cluster: ContainerCluster) -> list[str]:
    """Return the volumes and networks of the project, and the volumes of nobody that its containers left."""
    label = f"label=com.docker.compose.project={cluster.engine.project}"
    volumes = await cluster.engine.run(cluster.engine.docker("volume", "ls", "--quiet", "--filter", label))
    networks = await cluster.engine.run(cluster.engine.docker("network", "ls", "--quiet", "--filter", label))
    return [*volumes.split(), *networks.split()]


async def test_what_happens_to_a_web_container(cluster: ContainerCluster) -> None:
    """Stopped, killed, restarted: no request is lost, and each comes back with what it is then. Then one is paused.

    An answer that is half sent when its server is killed cannot be asked for again: that alone is excused.
    """
    await cluster.up("ha", "webapp", webapps=4)
    stopped, killed, restarted, paused = await until_served(cluster, 4)
    async with load_of(cluster) as load:
        begin = asyncio.get_running_loop().time()
        await cluster.stop(stopped)
        assert asyncio.get_running_loop().time() - begin < 15
        assert (await cluster.described(stopped))["State"]["ExitCode"] == 0
        await until_served(cluster, 3)

        kill_begins = asyncio.get_running_loop().time()
        await cluster.kill(killed)
        kill_ends = asyncio.get_running_loop().time()
        await until_served(cluster, 2)

        await cluster.restart(restarted)
        await until_served(cluster, 2)

        await cluster.start(stopped)
        await cluster.start(killed)
        await until_served(cluster, 4)

    lost = [sample for sample in load.samples if sample.failure is not None]
    under_way = [sample for sample in lost if sample.sent < kill_ends and sample.done > kill_begins]
    assert [sample for sample in lost if sample not in under_way] == []
    assert {sample.failure for sample in under_way} <= {Failure.CLOSED}
    assert (await status(cluster.ports))["reloads"] == 0
    await pause_for_long(cluster, paused)


async def pause_for_long(cluster: ContainerCluster, paused: Container) -> None:
    """A container that stands still is out soon; only requests that it had taken by then wait for it.

    HAProxy asks it every 2 s, and believes three answers that take longer than 1 s.
    """
    async with load_of(cluster) as load:
        await cluster.pause(paused)
        begin = asyncio.get_running_loop().time()

        async def is_out() -> bool:
            return paused.address not in {server.address for server in await servers(cluster.ports) if server.is_up}

        await ask_until(is_out, FOLLOWED_WITHIN_S, "HAProxy to take the paused one out")
        out = asyncio.get_running_loop().time()
        await asyncio.sleep(10.0)
        await cluster.unpause(paused)
        await until_served(cluster, 4)
    lost = [sample for sample in load.samples if sample.failure is not None]
    assert {sample.failure for sample in lost} <= {Failure.LATE}
    assert [sample for sample in lost if not begin - 0.5 < sample.sent < out] == []


ORDERS = (("ha", "logs", "webapp"), ("webapp", "ha", "logs"), ("logs", "webapp", "ha"))
"""Each is the first, the second and the last once."""


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
async def test_any_order_of_starts(cluster: ContainerCluster, order: tuple[str, ...]) -> None:
    """Each service on its own, one after the other: it becomes one cluster that is served."""
    for service in order:
        await cluster.up(service, webapps=3)
    await until_served(cluster, 3)
    await one_cluster(cluster, 5)


async def one_cluster(cluster: ContainerCluster, number: int) -> None:
    """Wait until every container's agent sees as many members alive as there are containers."""

    async def seen_by_all() -> bool:
        counts = [len(await alive(cluster, container)) for container in await cluster.containers()]
        return counts == [number] * number

    await ask_until(seen_by_all, FOLLOWED_WITHIN_S, f"one cluster of {number}")


async def alive(cluster: ContainerCluster, container: Container) -> Sequence[str]:
    """Return the members that a container's agent holds for alive; none while it does not answer."""
    try:
        reply = json.loads(await cluster.serf(container, "members", "-status=alive", "-format=json"))
    except EngineError:
        return []
    return [member["name"] for member in reply["members"]]


async def test_two_balancers_agree_and_each_may_be_lost(cluster: ContainerCluster) -> None:
    """Both serve the same, by the digest in their status; the one goes on while the other is away."""
    await cluster.up("ha", "ha2", "webapp", webapps=2)
    await until_served(cluster, 2)
    await until_served(cluster, 2, cluster.second_ports)

    async def agree() -> bool:
        one, other = await status(cluster.ports), await status(cluster.second_ports)
        digests = [found.get("proxy", {}).get("servers_digest") for found in (one, other)]
        return digests[0] == digests[1] and digests[0] is not None

    await ask_until(agree, FOLLOWED_WITHIN_S, "both to say that they run the same")
    async with traffic(cluster):
        await cluster.kill(await cluster.only("ha2"))
        await cluster.scale(3)
        await until_served(cluster, 3)
    await cluster.start(await cluster.only("ha2"))
    await until_served(cluster, 3, cluster.second_ports)
    await ask_until(agree, FOLLOWED_WITHIN_S, "both to say that they run the same again")


async def test_containers_are_locked_down(cluster: ContainerCluster) -> None:
    """No root, no capability, a read-only root, no key in sight; ports are published where they should be."""
    await cluster.up("ha", "logs", "webapp", webapps=1)
    await until_served(cluster, 1)
    for container in await cluster.containers():
        described = await cluster.described(container)
        assert described["Config"]["User"] == "rosterd"
        assert described["HostConfig"]["ReadonlyRootfs"] is True
        assert described["HostConfig"]["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in described["HostConfig"]["SecurityOpt"]
        status_lines = (await cluster.run_in(container, "cat", "/proc/1/status")).splitlines()
        assert "CapEff:\t0000000000000000" in status_lines
        for path in ("/var/lib/cluster/encrypt_key", "/run/node/rpc_auth"):
            key = (await cluster.run_in(container, "cat", path)).strip()
            assert len(key) == 44
            assert key not in json.dumps(described)
            assert key not in await cluster.output_of(container)
            arguments = await cluster.run_in(container, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
            assert key not in arguments
    published = (await cluster.described(await cluster.only("ha")))["NetworkSettings"]["Ports"]
    assert {binding["HostIp"] for port in ("9999/tcp", "9780/tcp") for binding in published[port]} == {HOST}


async def test_children_come_back_and_leave_no_zombies(cluster: ContainerCluster) -> None:
    """Every program of a balancer but the first is killed, one after the other; requests go on."""
    await cluster.up("ha", "webapp", webapps=2)
    await until_served(cluster, 2)
    ha = await cluster.only("ha")
    async with traffic(cluster):
        for program in ("rosterd", "serf", "rsyslog", "admin-port"):
            before = await pid_of(cluster, ha, program)
            await cluster.run_in(ha, "sh", "-c", f"kill -9 {before}")

            async def is_back(program: str = program, before: int = before) -> bool:
                return await pid_of(cluster, ha, program) not in (0, before)

            await ask_until(is_back, FOLLOWED_WITHIN_S, f"{program} to come back")
    await until_served(cluster, 2)
    states = await cluster.run_in(ha, "sh", "-c", "cat /proc/[0-9]*/stat")
    assert not [line for line in states.splitlines() if line.rpartition(") ")[2].startswith("Z")]


async def pid_of(cluster: ContainerCluster, container: Container, program: str) -> int:
    """Return the pid of a program in its container; 0 while it does not run."""
    configuration = "/opt/rosterd/compose/node/supervisord.conf"
    try:
        return int(await cluster.run_in(container, "supervisorctl", "-c", configuration, "pid", program))
    except ValueError:
        return 0


async def test_a_program_that_cannot_run_ends_its_container(cluster: ContainerCluster) -> None:
    """Supervisord gives up on it, the container ends, and the engine starts it anew."""
    image = "rosterd-webapp:dev"
    made = await cluster.engine.run(
        cluster.engine.docker(
            "run", "--detach", "--restart=always", "--read-only", "--cap-drop=ALL",
            "--tmpfs=/run/node:uid=900,gid=900", "--tmpfs=/var/lib/cluster:uid=900,gid=900",
            "--tmpfs=/var/spool/node:uid=900,gid=900",
            "--env=NODE_START_RETRIES=1", "--env=SERVICE_PORT=none", "--env=SERF_JOIN=", image,
        )
    )  # fmt: skip
    container = made.strip()
    try:

        async def restarted() -> bool:
            described = json.loads(await cluster.engine.run(cluster.engine.docker("inspect", container)))[0]
            return bool(described["RestartCount"] > 0)

        await ask_until(restarted, FOLLOWED_WITHIN_S, "the engine to start it anew")
        output = await cluster.engine.run([*cluster.engine.docker("logs", container)])
        assert "SERVICE_PORT: 'none' is not a port" in output
    finally:
        await cluster.engine.run(cluster.engine.docker("rm", "--force", container))

"""`rosterd drain` and its kin on nodes as they ship: real agents with the handler, two balancers, requests flowing."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compose.cluster import LocalCluster, Node
from compose.haproxy_view import HAProxyUnreadableError, ServerView, read_servers
from compose.load import Load, LoadPlan, failures, first_answer, last_answer
from compose.processes import processes_of
from compose.waiting import ask_until, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from compose.commands import CommandResult
    from compose.load import Sample

TIMEOUT_S = 20.0
USUAL_WEIGHT = 100


@pytest.fixture
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """Two balancers, each with the servers of both web nodes up; whatever runs at the end is killed."""
    made = LocalCluster.create(tmp_path_factory.mktemp("c"), first_network=os.getpid() * 37 % 200 + 50)
    try:
        for name in ("balancer", "balancer2"):
            made.add_balancer(name)
        for _ in range(2):
            made.add_web()
        for name in ("web1", "web2"):
            await seen(made, name, weight=USUAL_WEIGHT, up=True)
        yield made
    finally:
        made.kill_all()


async def server_of(cluster: LocalCluster, balancer: str, node: str) -> ServerView | None:
    """The newest line that a balancer's HAProxy has for a node; None while there is none, or no answer."""
    address = cluster.node(node).address
    try:
        servers = await read_servers(cluster.node(balancer).runtime_socket)
    except HAProxyUnreadableError:
        return None
    return next((server for server in servers if server.address == address), None)


async def seen(cluster: LocalCluster, node: str, *, up: bool, weight: int | None = None) -> None:
    """Wait until both balancers' HAProxy has a node up or not, with this weight where it counts."""
    for balancer in ("balancer", "balancer2"):

        async def as_expected(balancer: str = balancer) -> bool:
            server = await server_of(cluster, balancer, node)
            return server is not None and server.is_up == up and weight in (None, server.weight)

        await ask_until(as_expected, TIMEOUT_S, f"{balancer} to have {node} with weight {weight}, up: {up}")


@asynccontextmanager
async def load_on(balancer: Node, cluster: LocalCluster) -> AsyncIterator[Load]:
    """Send requests meanwhile; not one may fail."""
    load = Load(LoadPlan(balancer.address, cluster.ports.http))
    running = asyncio.create_task(load.run())
    try:
        await wait_until(lambda: len(load.samples) > 20, TIMEOUT_S, "requests")
        yield load
    finally:
        load.stop()
        await running
    assert failures(load.samples, 0.0, float("inf")) == ()


async def gets_nothing(load: Load, node: Node) -> None:
    """Of the requests that are sent from now on, a node gets none."""
    now = asyncio.get_running_loop().time()

    def later() -> list[Sample]:
        return [sample for sample in load.samples if sample.sent > now]

    await wait_until(lambda: len(later()) > 40, TIMEOUT_S, "more requests")
    assert last_answer(later(), node.address) is None


async def gets_some(load: Load, node: Node) -> None:
    """Wait until a node answers a request that is sent from now on."""
    now = asyncio.get_running_loop().time()
    await wait_until(lambda: first_answer(load.samples, node.address, now) is not None, TIMEOUT_S, f"{node.name}")


async def states(cluster: LocalCluster, node: str) -> dict[str, str]:
    """The tag `state` of each alive incarnation of a node, as another web node's agent has it."""
    ended = await cluster.serf(cluster.node("web2"), "members", "-format=json", "-status=alive", "-tag", f"node={node}")
    found = json.loads(ended.stdout)["members"] or ()  # Serf writes null for none
    return {member["name"]: member["tags"].get("state", "") for member in found}


def fine(ended: CommandResult) -> str:
    """What a command printed that went well."""
    assert (ended.code, ended.stderr) == (0, "")
    return ended.stdout


async def test_a_node_is_drained_outlives_its_agent_and_comes_back(cluster: LocalCluster) -> None:
    """Told once, at one balancer: both follow, no request fails, and a new agent of the node goes on as it was."""
    balancer, web = cluster.node("balancer"), cluster.node("web1")
    async with load_on(balancer, cluster) as load:
        await gets_some(load, web)
        (before,) = await states(cluster, "web1")
        shown = fine(await cluster.rosterd(balancer, "drain", "web1"))
        assert shown.startswith(f"web1 ({before}) drains; seen in the cluster after ")
        await seen(cluster, "web1", weight=0, up=True)
        await gets_nothing(load, web)

        # Another agent is another member of another name. It begins with the tags that the last one had.
        fine(await cluster.supervisorctl(web, "restart", "serf"))

        async def drains_anew() -> bool:
            found = await states(cluster, "web1")
            return len(found) == 1 and before not in found and set(found.values()) == {"drain"}

        await ask_until(drains_anew, TIMEOUT_S, "the new agent of web1 to drain")
        assert fine(await cluster.rosterd(balancer, "drain", "web1")).endswith("drains; as before\n")
        await seen(cluster, "web1", weight=0, up=True)
        await gets_nothing(load, web)

        told = json.loads(fine(await cluster.rosterd(balancer, "ready", "--json", "web1")))
        assert told["state"] == "ready"
        assert told["nodes"][0]["after_s"] > 0
        await seen(cluster, "web1", weight=USUAL_WEIGHT, up=True)
        await gets_some(load, web)
        assert set((await states(cluster, "web1")).values()) == {""}


async def test_maintenance_of_one_and_no_handler_at_another(cluster: LocalCluster) -> None:
    """A node in maintenance is not up. A balancer has no handler: it cannot be told, and the text has the remedy."""
    balancer, web = cluster.node("balancer"), cluster.node("web1")
    async with load_on(balancer, cluster) as load:
        fine(await cluster.rosterd(balancer, "maint", "web1"))
        await seen(cluster, "web1", up=False)
        await gets_nothing(load, web)
        ended = await cluster.rosterd(balancer, "ready", "web1", "balancer2", "--timeout", "1")
        assert ended.code == 0
        ended = await cluster.rosterd(balancer, "drain", "web1", "balancer2", "--timeout", "2")
        assert ended.code == 10
        assert ended.stdout.startswith("web1 (")
        assert "balancer2 (balancer2-" in ended.stderr
        assert ended.stderr.endswith("on the node itself: serf tags -set state=drain\n")


def command_lines(node: Node) -> str:
    """The arguments of all processes of a node now."""
    session = json.loads((node.directory / "node.json").read_text())["session"]
    found = []
    for pid in processes_of(session, node.directory):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:  # it has ended meanwhile
            continue
    return b"\n".join(found).decode(errors="replace")


async def test_no_key_is_in_the_process_list(cluster: LocalCluster) -> None:
    """While the handler works, nothing of the node's has the key of the RPC or of the gossip among its arguments."""
    web = cluster.node("web1")
    keys = [(cluster.directory / "secrets" / name).read_text() for name in ("rpc_auth", "encrypt_key")]
    command = asyncio.create_task(cluster.rosterd(cluster.node("balancer"), "drain", "web1"))
    lines: list[str] = []
    while not command.done() or not lines:
        lines.append(command_lines(web))
        await asyncio.sleep(0)
    fine(await command)
    assert any("state_handler" in line for line in lines), "the handler was never seen"
    assert not [line for line in lines if any(key in line for key in keys)]

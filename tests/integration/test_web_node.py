"""A web node under its real supervisord: what comes back, and in which order it goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from compose.cluster import Kind, LocalCluster, Node
from compose.http import get
from compose.processes import signal_process
from compose.waiting import ask_until, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_S = 20.0


@pytest.fixture
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """A cluster without nodes; whatever runs at the end is killed."""
    made = LocalCluster.create(tmp_path_factory.mktemp("c"), first_network=os.getpid() * 37 % 200 + 50)
    try:
        yield made
    finally:
        made.kill_all()


async def members(cluster: LocalCluster, seen_by: Node) -> dict[str, str]:
    """Each node's newest incarnation and its status, as another node's agent has it; empty while it has none."""
    ended = await cluster.serf(seen_by, "members", "-format=json")
    if ended.code:
        return {}
    return {member["tags"]["node"]: member["status"] for member in json.loads(ended.stdout)["members"]}


async def wait_for_members(cluster: LocalCluster, seen_by: Node, expected: dict[str, str]) -> None:
    """Wait until an agent sees exactly that."""

    async def as_expected() -> bool:
        return await members(cluster, seen_by) == expected

    await ask_until(as_expected, TIMEOUT_S, f"{seen_by.name} to see {expected}")


async def answers(cluster: LocalCluster, node: Node) -> None:
    """Wait until the node's app answers."""

    async def answered() -> bool:
        try:
            return (await get(node.address, cluster.ports.service, "/", 1.0)).status == 200
        except OSError:
            return False

    await ask_until(answered, TIMEOUT_S, f"{node.name} to answer")


async def pid_of(cluster: LocalCluster, node: Node, program: str) -> int:
    """The process that supervisord runs for a program now; 0 when there is none."""
    return int((await cluster.supervisorctl(node, "pid", program)).stdout.split()[-1])


@pytest.mark.parametrize("program", ["app", "serf"])
async def test_a_killed_child_comes_back(cluster: LocalCluster, program: str) -> None:
    """Supervisord starts it anew; the rest of the node goes on."""
    node = cluster.add_web()
    await wait_for_members(cluster, node, {"web1": "alive"})
    await answers(cluster, node)
    before = {name: await pid_of(cluster, node, name) for name in ("app", "serf")}
    signal_process(before[program], signal.SIGKILL)
    after = before
    async with asyncio.timeout(TIMEOUT_S):
        while after[program] in {0, before[program]}:
            after = {name: await pid_of(cluster, node, name) for name in ("app", "serf")}

    await answers(cluster, node)
    await wait_for_members(cluster, node, {"web1": "alive"})
    other = "serf" if program == "app" else "app"
    assert after[other] == before[other]


async def test_a_stop_leaves_the_cluster_first_and_finishes_what_runs(cluster: LocalCluster) -> None:
    """Seen from another node: Serf leaves, the app answers still, its last request ends well, and all is gone."""
    leaver, witness = cluster.register(Kind.WEB), cluster.register(Kind.WEB)
    cluster.start(leaver)
    cluster.start(witness)
    await wait_for_members(cluster, witness, {"web1": "alive", "web2": "alive"})
    # Serf itself loses a leave that it is asked for while it still tries to join: others then see `failed`.
    log = leaver.logs / "serf.log"
    await wait_until(lambda: "Join completed" in log.read_text(), TIMEOUT_S, "web1 to have joined")
    await answers(cluster, leaver)
    await _slow_down(cluster, leaver, 5000)
    slow = asyncio.create_task(get(leaver.address, cluster.ports.service, "/", TIMEOUT_S))
    await asyncio.sleep(0.1)

    stop = asyncio.create_task(cluster.stop(leaver))
    assert await _departure(cluster, witness) in {"leaving", "left"}
    # The app still lets clients in while its node is on the way out: this would raise.
    _, writer = await asyncio.open_connection(leaver.address, cluster.ports.service)
    writer.close()
    await wait_for_members(cluster, witness, {"web1": "left", "web2": "alive"})
    answer = await slow
    assert not stop.done()
    await stop

    assert (answer.status, json.loads(answer.body)["tag"]) == (200, "web1")
    assert not cluster.is_running(leaver)


async def _departure(cluster: LocalCluster, witness: Node) -> str:
    """The first word for web1 that is not `alive`; `leaving` may be too short to be caught."""
    status = "alive"

    async def departs() -> bool:
        nonlocal status
        status = (await members(cluster, witness)).get("web1", "alive")
        return status != "alive"

    await ask_until(departs, TIMEOUT_S, "web1 to depart")
    return status


async def _slow_down(cluster: LocalCluster, node: Node, delay_ms: int) -> None:
    body = json.dumps({"delay": delay_ms}).encode()
    reader, writer = await asyncio.open_connection(node.address, cluster.ports.service)
    writer.write(
        b"POST /delay HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        + body
    )
    assert b"200 OK" in await reader.readline()
    writer.close()


async def test_nodes_that_start_at_once_become_one_cluster(cluster: LocalCluster) -> None:
    """No seed, no order: every agent ends up with every node."""
    nodes = [cluster.register(Kind.WEB) for _ in range(4)]
    for node in reversed(nodes):
        cluster.start(node)
    for node in nodes:
        await wait_for_members(cluster, node, {node.name: "alive" for node in nodes})


async def test_a_crashed_node_returns_with_what_an_operator_set(cluster: LocalCluster) -> None:
    """The kill leaves no process; the next life is another member, with the tag that was set at run time."""
    node, witness = cluster.add_web(), cluster.add_web()
    await wait_for_members(cluster, witness, {"web1": "alive", "web2": "alive"})
    await cluster.set_tags(node, {"state": "drain"})
    cluster.kill(node)
    assert not cluster.is_running(node)

    cluster.start(node)
    await answers(cluster, node)

    async def both_lives_drain() -> bool:
        return await _states(cluster, witness) == ["drain", "drain"]

    await ask_until(both_lives_drain, TIMEOUT_S, "the second life of web1 to drain too")


async def _states(cluster: LocalCluster, seen_by: Node) -> list[str]:
    """The tag `state` of every incarnation of web1."""
    ended = await cluster.serf(seen_by, "members", "-format=json", "-tag", "node=web1")
    return [member["tags"].get("state", "") for member in json.loads(ended.stdout)["members"]]

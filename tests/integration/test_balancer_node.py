"""A balancer node under its real supervisord, a web node behind it: what comes back, and in which order it goes."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from compose.cluster import LocalCluster, Node
from compose.http import GarbledAnswerError, get
from compose.processes import processes_of, signal_process
from compose.waiting import ask_until, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_S = 20.0


@pytest.fixture
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """A balancer with a web node that serves; whatever runs at the end is killed."""
    made = LocalCluster.create(tmp_path_factory.mktemp("c"), first_network=os.getpid() * 37 % 200 + 50)
    try:
        made.add_balancer()
        made.add_web()
        await serves(made)
        yield made
    finally:
        made.kill_all()


async def serves(cluster: LocalCluster) -> None:
    """Wait until the balancer hands a request on and rosterd says that all is well."""
    balancer = cluster.node("balancer")

    async def answered() -> bool:
        try:
            page = await get(balancer.address, cluster.ports.http, "/", 1.0)
            status = await get(balancer.address, cluster.ports.admin, "/v1/status", 1.0)
        except (OSError, EOFError, GarbledAnswerError):
            return False
        return page.status == 200 and json.loads(status.body)["ready"] is True

    await ask_until(answered, TIMEOUT_S, "the balancer to serve")


async def pid_of(cluster: LocalCluster, node: Node, program: str) -> int:
    """The process that supervisord runs for a program now; 0 when there is none."""
    return int((await cluster.supervisorctl(node, "pid", program)).stdout.split()[-1])


async def test_each_program_comes_back_by_itself(cluster: LocalCluster) -> None:
    """A crash of HAProxy, of rosterd, of the agent or of the log receiver heals, and traffic flows again."""
    balancer = cluster.node("balancer")
    for program in ("rosterd", "serf", "syslog", "haproxy"):
        before = await pid_of(cluster, balancer, program)
        signal_process(before, signal.SIGKILL)

        async def restarted(program: str = program, before: int = before) -> bool:
            return await pid_of(cluster, balancer, program) not in {0, before}

        await ask_until(restarted, TIMEOUT_S, f"{program} to be started anew")
        await serves(cluster)


async def test_a_stop_goes_from_the_daemon_down_to_the_log(cluster: LocalCluster) -> None:
    """Nothing acts any more when the agent leaves; HAProxy serves until then; its last lines are received."""
    balancer = cluster.node("balancer")
    await cluster.stop(balancer)

    log = (balancer.logs / "supervisord.log").read_text()
    assert re.findall(r"stopped: (\w+)", log) == ["rosterd", "serf", "haproxy", "syslog"]
    assert "Proxy traffic stopped" in (balancer.logs / "access.log").read_text()


async def test_requests_are_in_the_access_log(cluster: LocalCluster) -> None:
    """The balancer's own syslog receiver has each request with the server that answered it."""
    balancer = cluster.node("balancer")
    access = balancer.logs / "access.log"
    await wait_until(lambda: '"GET / HTTP/1.1"' in access.read_text(), TIMEOUT_S, "a request in the log")

    expected = re.compile(r"\S+Z haproxy\[\d+\]: 127\.0\.0\.1:\d+ .* nodes/web1-\w+ .* 200 .*")
    assert any(expected.fullmatch(line) for line in access.read_text().splitlines())


async def test_a_node_without_its_supervisord_is_cleared_away(cluster: LocalCluster) -> None:
    """When supervisord itself was killed, its orphans are found by their session and ended."""
    web = cluster.node("web1")
    session = json.loads((web.directory / "node.json").read_text())["session"]
    signal_process(session, signal.SIGKILL)
    await wait_until(lambda: session not in processes_of(session, web.directory), TIMEOUT_S, "supervisord to die")

    assert cluster.is_running(web)
    assert await cluster.stop(web) < 5.0
    assert not cluster.is_running(web)

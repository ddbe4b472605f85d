"""HAProxy under its real supervisord: its processes die, stand still, lose their socket, start from an old file.

While no HAProxy listens no client can be served; what must hold is that it is back at once, with all who should serve.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from compose.cluster import LocalCluster, Node
from compose.http import GarbledAnswerError, get
from compose.load import Load, LoadPlan, failures
from compose.processes import signal_process
from compose.waiting import ask_until
from rosterd.errors import ProxyError
from rosterd.model import Running
from rosterd.proxy.socket import HAProxySocket, observe
from tests.balancer import replace
from tests.frozen import freeze

UP_WITHIN_S = 20.0
HEALED_WITHIN_S = 2.0
STILL_S = 20.0
QUIET_S = 5.0
"""Longer than the first waits before a failed reload is tried again."""


class Place:
    """A balancer with web nodes, each under a supervisord."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.balancer = cluster.add_balancer()

    @property
    def config(self) -> Path:
        """The file that HAProxy starts from."""
        return self.balancer.directory / "haproxy.cfg"

    @property
    def log(self) -> str:
        """What the daemon has logged."""
        return (self.balancer.logs / "rosterd.log").read_text(encoding="utf-8")

    async def running(self) -> Running | None:
        """Return what HAProxy runs; None while it does not answer."""
        try:
            return await observe(HAProxySocket(self.balancer.runtime_socket, 1.0))
        except ProxyError:
            return None

    async def answers(self) -> bool:
        """Whether HAProxy answers on its runtime socket."""
        return await self.running() is not None

    async def served(self) -> set[str]:
        """Return the addresses at which HAProxy has servers that are up and get traffic."""
        running = await self.running()
        servers = running.backends.get("nodes", {}).values() if running else ()
        return {str(server.address) for server in servers if server.up and server.weight > 0}

    async def status(self) -> dict[str, object]:
        """Return what the daemon says; an empty one while it does not answer."""
        try:
            answer = await get(self.balancer.address, self.cluster.ports.admin, "/v1/status", 1.0)
        except (OSError, EOFError, GarbledAnswerError):
            return {}
        found: dict[str, object] = json.loads(answer.body)
        return found

    async def pid_of_worker(self) -> int:
        """Return the pid of HAProxy's worker; 0 while it does not answer."""
        running = await self.running()
        return running.pid if running else 0

    async def pid_of_master(self) -> int:
        """Return the pid of HAProxy's master; 0 while there is none."""
        return int((await self.cluster.supervisorctl(self.balancer, "pid", "haproxy")).stdout.split()[-1])

    async def until_served(self, *webs: Node, within: float = UP_WITHIN_S) -> None:
        """Wait until just these serve, and requests reach each of them."""
        wanted = {web.address for web in webs}

        async def so() -> bool:
            return await self.served() == wanted and await self.answering(4 * len(webs)) == wanted

        await ask_until(so, within, f"{len(webs)} web nodes to serve")

    async def answering(self, requests: int) -> set[str]:
        """Send some requests and return who answered."""
        found = set()
        for _ in range(requests):
            try:
                answer = await get(self.balancer.address, self.cluster.ports.http, "/", 1.0)
            except (OSError, EOFError, GarbledAnswerError):
                continue
            if answer.status == 200:
                found.add(answer.headers["x-backend-ip"])
        return found


@pytest.fixture
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A balancer; whatever runs at the end is killed."""
    cluster = LocalCluster.create(tmp_path_factory.mktemp("c"), first_network=os.getpid() * 37 % 200 + 50)
    try:
        yield Place(cluster)
    finally:
        cluster.kill_all()


async def comes_back(pid_of: Callable[[], Awaitable[int]], before: int) -> None:
    """Wait until a program runs again under another pid."""

    async def again() -> bool:
        return await pid_of() not in {0, before}

    await ask_until(again, UP_WITHIN_S, "it to be back")


async def test_a_worker_or_master_that_is_killed(place: Place) -> None:
    """What changed while it was away is in force two seconds after its return."""
    webs = [place.cluster.add_web() for _ in range(2)]
    await place.until_served(*webs)
    for pid_of in (place.pid_of_worker, place.pid_of_master):
        before = await pid_of()
        signal_process(before, signal.SIGKILL)
        await place.cluster.set_tags(webs[0], {"state": "maint"})
        await comes_back(pid_of, before)
        await place.until_served(webs[1], within=HEALED_WITHIN_S)
        await place.cluster.set_tags(webs[0], {"state": "ready"})
        await place.until_served(*webs)


async def test_a_haproxy_that_stands_still(place: Place) -> None:
    """Every process of it for 20 s; what changed meanwhile is in force two seconds after it goes on."""
    webs = [place.cluster.add_web() for _ in range(2)]
    await place.until_served(*webs)
    pids = (await place.pid_of_master(), await place.pid_of_worker())
    for pid in pids:
        freeze(pid)
    await place.cluster.stop(webs.pop())
    webs.append(place.cluster.add_web())
    await asyncio.sleep(STILL_S)
    status = await place.status()
    assert status["ready"] is False
    for pid in pids:
        signal_process(pid, signal.SIGCONT)
    await place.until_served(*webs, within=HEALED_WITHIN_S)


async def test_a_socket_that_is_removed(place: Place) -> None:
    """HAProxy runs on and nobody can speak to it: it gets a new worker, with a socket and the newest members."""
    webs = [place.cluster.add_web() for _ in range(2)]
    await place.until_served(*webs)
    load = Load(LoadPlan(place.balancer.address, place.cluster.ports.http))
    sending = asyncio.create_task(load.run())
    place.balancer.runtime_socket.unlink()
    webs.append(place.cluster.add_web())
    await ask_until(place.answers, UP_WITHIN_S, "HAProxy to be told things again")
    await place.until_served(*webs, within=HEALED_WITHIN_S)
    load.stop()
    await sending
    assert len(load.samples) > 100
    assert failures(load.samples, 0.0, float("inf")) == ()


async def test_a_start_from_an_older_file(place: Place) -> None:
    """Somebody put back yesterday's file: everybody who should serve does so two seconds after HAProxy is back."""
    webs = [place.cluster.add_web()]
    await place.until_served(*webs)
    old = place.config.read_text(encoding="utf-8")
    webs += [place.cluster.add_web() for _ in range(2)]
    await place.until_served(*webs)
    await place.cluster.supervisorctl(place.balancer, "stop", "haproxy")
    place.config.write_text(old, encoding="utf-8")
    before = await place.pid_of_worker()
    await place.cluster.supervisorctl(place.balancer, "start", "haproxy")
    await comes_back(place.pid_of_worker, before)
    await place.until_served(*webs, within=HEALED_WITHIN_S)


async def test_an_edit_that_haproxy_dies_of(place: Place) -> None:
    """The good file is back before the supervisor starts HAProxy again, and the edit is not tried a second time."""
    webs = [place.cluster.add_web() for _ in range(2)]
    await place.until_served(*webs)
    good = place.balancer.template.read_text(encoding="utf-8")
    # Quoted, so that the directory is not looked for beforehand.
    deadly = good.replace("global\n", 'global\n    chroot "/nonexistent"\n', 1)
    replace(place.balancer.template, deadly)

    async def rejected() -> bool:
        return "edit.rejected" in place.log

    await ask_until(rejected, HEALED_WITHIN_S, "the edit to be rejected")
    assert place.config.read_text(encoding="utf-8").count("/nonexistent") == 0
    await place.until_served(*webs)
    pid = await place.pid_of_master()
    await asyncio.sleep(QUIET_S)
    assert await place.pid_of_master() == pid
    assert place.log.count("edit.taken") == place.log.count("edit.rejected") == 1
    status = await place.status()
    assert status["ready"] is True
    assert "Cannot chroot(/nonexistent)" in str(status["blueprint"])

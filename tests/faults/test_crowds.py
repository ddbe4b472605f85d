"""Many nodes at once: they crash, they all crash, they leave, they come back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compose.load import Load
from tests.balancer import Balancer, WebNode, throughout
from tests.web_server import WebServer

NODES = 8
BACK_WITHIN_S = 2.0
NOTICED_WITHIN_S = 60.0
"""Until a small cluster holds nodes that crashed for failed."""


def failed(load: Load) -> list[str]:
    """Return what went wrong so far, in words."""
    return [f"{sample.failure}: {sample.status}" for sample in load.samples if sample.failure is not None]


def revive(balancer: Balancer, web: WebNode) -> WebNode:
    """Start a crashed web node again, with the name and the place that it had."""
    server = WebServer.start(web.address, port=web.server.port)
    return balancer.add_web_agent(server, web.name)


@pytest.mark.parametrize("killed", [NODES // 2, NODES - 1], ids=["half", "all but one"])
def test_many_crash_at_once(tmp_path: Path, killed: int) -> None:
    """The others answer everything; the dead are held, and back at once when they return."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        webs = [balancer.add_web() for _ in range(NODES)]
        balancer.wait_served(*webs)
        names = {web.name for web in webs}
        with balancer.traffic() as load:
            for web in webs[:killed]:
                web.crash()
            throughout(lambda: balancer.running_names() == names, 5.0, "every server in HAProxy")
            assert {sample.backend for sample in load.samples[-100:]} == {web.address for web in webs[killed:]}
            with ThreadPoolExecutor(killed) as pool:
                again = list(pool.map(lambda web: revive(balancer, web), webs[:killed]))
            begin = time.monotonic()
            balancer.until(lambda: {web.address for web in webs} <= balancer.answering(4 * NODES), "all to answer")
            assert time.monotonic() - begin < BACK_WITHIN_S
            assert {web.name for web in again} <= names


def test_all_crash_at_once(tmp_path: Path) -> None:
    """Clients get the page that says so, nobody is removed, and whoever returns serves at once."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        webs = [balancer.add_web() for _ in range(NODES)]
        balancer.wait_served(*webs)
        names = {web.name for web in webs}
        for web in webs:
            web.crash()
        balancer.until(lambda: balancer.get()[0] == 503, "the page")
        assert "No server is available" in balancer.get()[1]
        throughout(lambda: balancer.running_names() == names, 5.0, "every server in HAProxy")
        first = revive(balancer, webs[0])
        begin = time.monotonic()
        balancer.until(lambda: balancer.answering(4) == {first.address}, "the first to answer")
        assert time.monotonic() - begin < BACK_WITHIN_S
        with balancer.traffic():
            for web in webs[1:]:
                revive(balancer, web)
            balancer.until(lambda: {web.address for web in webs} <= balancer.answering(4 * NODES), "all to answer")
        assert balancer.daemon.status()["reloads"] == 0


def test_fifty_leave_at_once(tmp_path: Path) -> None:
    """Serf loses some of the leaves. No request fails, and in the end all of them are gone."""
    with Balancer(tmp_path, {"policy": {"hold_s": 2.0}}) as balancer:
        balancer.start()
        stays = balancer.add_web()
        with ThreadPoolExecutor(8) as pool:
            webs = list(pool.map(lambda _: balancer.add_web(), range(50)))
        balancer.until(lambda: len(balancer.running_names()) == 51, "all of them in HAProxy", 60.0)
        balancer.wait_content()
        with balancer.traffic():
            for web in webs:
                web.agent.interrupt()
            time.sleep(2.0)  # their agents take as long to leave; then the servers end, in order or not
            for web in webs:
                web.server.kill()
            balancer.until(lambda: balancer.running_names() == {stays.name}, "the others to be gone", 120.0)
        assert balancer.daemon.status()["reloads"] == 0


def test_an_operator_knows_that_all_have_died(tmp_path: Path) -> None:
    """The guard keeps them; `rosterd guard release` lets them go, this once, and says so.

    One stays, for the minimum of servers, until somebody answers.
    """
    with Balancer(tmp_path, {"policy": {"hold_s": 20.0, "longest_hold_s": 20.0}}) as balancer:
        balancer.start()
        webs = [balancer.add_web() for _ in range(4)]
        balancer.wait_served(*webs)
        assert balancer.daemon.command("guard", "release").returncode == 1
        for web in webs:
            web.crash()
        balancer.daemon.wait_event("guard.engaged", within=NOTICED_WITHIN_S)
        kept = balancer.running_names()
        throughout(lambda: balancer.running_names() == kept, 25.0, "those who failed in HAProxy")
        done = balancer.daemon.command("guard", "release")
        assert done.returncode == 0, done.stderr
        balancer.daemon.wait_event("guard.overridden")
        balancer.until(lambda: len(balancer.running_names()) == 1, "all but one to go", NOTICED_WITHIN_S)
        balancer.until(lambda: balancer.daemon.status()["guard_overridden"] == "", "the override to end with the guard")
        (last,) = balancer.running_names()
        assert balancer.daemon.server(last)["held"] == "overdue"
        newcomer = balancer.add_web()
        balancer.wait_gone(last)
        balancer.wait_served(newcomer)

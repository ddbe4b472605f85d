"""The balancer's network fails: all of it, or gossip alone. No server is removed for that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rosterd.settings import PolicySettings
from tests.balancer import Balancer, WebNode, throughout
from tests.haproxy_process import ISLAND_PORT
from tests.island import Island
from tests.serf_agent import SerfAgent

CUTS_S = (20.0, 60.0, 180.0)
"""Serf takes some ten seconds for each member to notice; a hold is over long before the last one ends."""

NOTICED_WITHIN_S = 59.0
"""Until the agent, of a cluster that small, holds all the others for failed."""

HOLD_S = 30.0
"""Gossip finds out about the members one by one; the guard knows when it has more than half of them."""

BACK_WITHIN_S = 5.0
AGREED_WITHIN_S = 60.0
"""Until the agents hold each other for alive again."""

POLICY = {"hold_s": HOLD_S, "longest_hold_s": HOLD_S}


def island_balancer(stack: ExitStack, directory: Path, **policy: float) -> tuple[Island, Balancer, list[WebNode]]:
    """Return a balancer on an island, and three web nodes that it serves; `policy` are settings of its own."""
    island = stack.enter_context(Island())
    directory.mkdir()
    balancer = stack.enter_context(Balancer(directory, {"policy": {**POLICY, **policy}}, island=island))
    balancer.start()
    webs = [balancer.add_web(island.outside()) for _ in range(3)]
    balancer.wait_served(*webs)
    return island, balancer, webs


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What a test opens, closed after it."""
    with ExitStack() as opened:
        yield opened


def test_a_balancer_that_is_cut_off_keeps_its_servers(tmp_path: Path, stack: ExitStack) -> None:
    """For 20, 60 and 180 s, each on an island of its own at the same time; served again at once when it is over."""
    places = [island_balancer(stack, tmp_path / f"{cut:.0f}") for cut in CUTS_S]
    reloads = [balancer.daemon.status()["reloads"] for _, balancer, _ in places]
    begin = time.monotonic()
    for island, _, _ in places:
        island.cut()
    for cut, (island, balancer, webs), before in zip(CUTS_S, places, reloads, strict=True):
        keeps_its_servers(balancer, webs, begin + cut)
        if cut > NOTICED_WITHIN_S:
            assert balancer.daemon.events("guard.engaged") != []
        island.heal()
        is_back(balancer, webs)
        assert balancer.daemon.status()["reloads"] == before


def keeps_its_servers(balancer: Balancer, webs: list[WebNode], end: float) -> None:
    """Look until a time that HAProxy has a server for each web node."""
    names = {web.name for web in webs}
    throughout(lambda: balancer.running_names() == names, end - time.monotonic(), "every server in HAProxy")


def is_back(balancer: Balancer, webs: list[WebNode]) -> None:
    """Wait until all answer, which takes HAProxy's checks, and until the guard is over, which takes gossip."""
    balancer.until(lambda: {web.address for web in webs} <= balancer.answering(), "all to answer", BACK_WITHIN_S)
    balancer.until(lambda: balancer.daemon.status()["guard"] == "", "the guard to end", AGREED_WITHIN_S)
    balancer.wait_content()
    assert balancer.running_names() == {web.name for web in webs}


def test_gossip_that_is_lost_costs_no_request(tmp_path: Path, stack: ExitStack) -> None:
    """The members seem to fail, and all of them answer: they are served on, longer than any hold."""
    island, balancer, webs = island_balancer(stack, tmp_path / "b")
    with balancer.traffic() as load:
        island.lose_gossip()
        balancer.daemon.wait_event("guard.engaged", within=NOTICED_WITHIN_S)
        keeps_its_servers(balancer, webs, time.monotonic() + 1.5 * HOLD_S)
        island.find_gossip()
        is_back(balancer, webs)
    assert {sample.backend for sample in load.samples[-60:]} == {web.address for web in webs}
    assert balancer.daemon.status()["guard"] == ""


def test_a_further_address_of_the_balancer_is_no_server(tmp_path: Path, stack: ExitStack) -> None:
    """A member claims the balancer's own port there: HAProxy would send it requests to itself, in a circle."""
    island = stack.enter_context(Island())
    everywhere = {"proxy": {"http_bind": f":{ISLAND_PORT}"}, "policy": {"own_ports": [ISLAND_PORT + 1]}}
    balancer = stack.enter_context(Balancer(tmp_path, everywhere, island=island))
    balancer.start()
    web = balancer.add_web(island.outside())
    balancer.wait_served(web)
    further = island.add_address()
    tags = {"role": "backend", "port": str(ISLAND_PORT)}
    claim = SerfAgent(further, tmp_path / "claim", "claim", tags, join=(balancer.agent.gossip,), prefix=island.prefix)
    stack.callback(claim.close)
    claim.start()
    barred = balancer.daemon.wait_event("server.barred", server="claim")
    assert barred["reason"] == f"{further} port {ISLAND_PORT} is the balancer's own"
    assert balancer.running_names() == {web.name}
    claim.set_tags(port=str(ISLAND_PORT + 1))  # where the balancer does not listen, somebody else may
    balancer.until(lambda: balancer.running_names() == {web.name, "claim"}, "it at a port of its own")


def test_an_agent_that_feels_unwell_is_enough(tmp_path: Path, stack: ExitStack) -> None:
    """Cut off, it misses every answer, which its health score says before it holds all the others for failed.

    With the shipped limit, and without the share of those who failed, the score alone engages the guard. Their holds
    are long over, and nobody is removed; when the agent is well again, the guard ends.
    """
    shipped = PolicySettings().guard_health_score
    by_score_alone = {"guard_health_score": shipped, "guard_share": 1.0, "hold_s": 0.0, "longest_hold_s": 0.0}
    island, balancer, webs = island_balancer(stack, tmp_path / "b", **by_score_alone)
    balancer.until(lambda: balancer.daemon.status()["guard"] == "", "the agent to be well", AGREED_WITHIN_S)
    mark, names = balancer.daemon.mark(), {web.name for web in webs}
    island.cut()
    engaged = balancer.daemon.wait_event("guard.engaged", mark, NOTICED_WITHIN_S)
    assert engaged["reason"].startswith("the local agent's health score is ")
    for name in names:
        balancer.daemon.wait_event("member.failed", mark, NOTICED_WITHIN_S, member=name)
    keeps_its_servers(balancer, webs, time.monotonic() + 5.0)
    assert balancer.daemon.events("server.released", mark) == []
    island.heal()
    is_back(balancer, webs)
    assert balancer.daemon.wait_event("guard.released", mark)["was"].startswith("the local agent's health score is ")
    assert {held["server"] for held in balancer.daemon.events("server.held", mark)} == names

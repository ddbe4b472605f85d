"""Nodes that come and go, that seem to, that share an address or come back as another."""

from __future__ import annotations

import time
from pathlib import Path

from tests.balancer import SECOND_PORTS, Balancer, WebNode, throughout

MINUTE_S = 60.0
EVERY_S = 2.0
SEEN_WITHIN_S = 40.0


def test_a_node_that_joins_and_leaves_for_a_minute(tmp_path: Path) -> None:
    """No reload and no failed request; after a few times it waits outside, which is told, and in the end it is in."""
    with Balancer(tmp_path, {"policy": {"flap_limit": 3, "flap_half_life_s": 10.0}}) as balancer:
        balancer.start()
        steady = balancer.add_web()
        balancer.wait_served(steady)
        with balancer.traffic():
            web = balancer.add_web()
            end = time.monotonic() + MINUTE_S
            while time.monotonic() < end:
                time.sleep(EVERY_S)
                web.agent.leave()
                web = balancer.add_web_agent(web.server, web.name)
            assert balancer.daemon.events("server.damped", server=web.name) != []
            balancer.until(lambda: web.name in balancer.running_names(), "it to be let in", MINUTE_S)
            balancer.wait_served(steady, web)
        assert balancer.daemon.events("server.admitted", server=web.name) != []
        assert balancer.daemon.status()["reloads"] == 0
        assert balancer.daemon.member(web.name)["departures"] > 1.0


def test_a_node_that_seems_to_fail_and_return(tmp_path: Path) -> None:
    """Its packets are lost for a while, again and again, while it answers requests: it serves all the time."""
    with Balancer(tmp_path, {"policy": {"flap_limit": 1, "flap_half_life_s": 300.0}}) as balancer:
        balancer.start()
        webs = [balancer.add_web() for _ in range(4)]
        balancer.wait_served(*webs)
        shaky = webs[0]
        with balancer.traffic() as load:
            for _ in range(3):
                mark = balancer.daemon.mark()
                shaky.agent.pause()
                balancer.daemon.wait_event("member.failed", mark, SEEN_WITHIN_S, member=shaky.name)
                shaky.agent.resume()
                balancer.daemon.wait_event("member.returned", mark, SEEN_WITHIN_S, member=shaky.name)
                assert shaky.name in balancer.running_names()
            throughout(lambda: shaky.name in balancer.running_names(), 1.0, "it in HAProxy")
        assert shaky.address in {sample.backend for sample in load.samples[-100:]}
        assert balancer.daemon.member(shaky.name)["departures"] > 1.0  # it would have had to wait, were it not there
        assert balancer.daemon.status()["reloads"] == 0


def test_a_new_node_takes_the_address_of_one_that_failed(tmp_path: Path) -> None:
    """The living one serves, once, as soon as it is there."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        other, old = balancer.add_web(), balancer.add_web()
        balancer.wait_served(other, old)
        with balancer.traffic():
            old.agent.kill()
            balancer.daemon.wait_event("member.failed", within=SEEN_WITHIN_S, member=old.name)
            new = balancer.add_web_agent(old.server, "newcomer")
            balancer.until(lambda: balancer.running_names() == {other.name, new.name}, "the new one in its place")
        assert addresses(balancer) == [other.address, new.address]
        assert balancer.daemon.events("server.displaced", server=old.name, by=new.name) != []


def test_two_nodes_claim_one_address_and_port(tmp_path: Path) -> None:
    """Who has it keeps it, and serves once; when it leaves, the other one has its turn."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        other, first = balancer.add_web(), balancer.add_web()
        balancer.wait_served(other, first)
        with balancer.traffic():
            second = claim(balancer, first)
            balancer.daemon.wait_event("server.displaced", server=second.name, by=first.name)
            assert balancer.running_names() == {other.name, first.name}
            first.agent.leave()
            balancer.until(lambda: balancer.running_names() == {other.name, second.name}, "the second in its place")
        assert addresses(balancer) == [other.address, second.agent.address]


def claim(balancer: Balancer, web: WebNode) -> WebNode:
    """Start an agent at the same address, with a gossip port of its own, that speaks for the same web server."""
    return balancer.add_web_agent(web.server, f"{web.name}-again", ports=SECOND_PORTS)


def addresses(balancer: Balancer) -> list[str]:
    """Return where the servers of HAProxy are, in the order of their addresses' last numbers."""
    found = [str(server.address) for server in balancer.running().backends["nodes"].values()]
    return sorted(found, key=lambda address: int(address.rpartition(".")[2]))

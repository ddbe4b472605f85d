"""What becomes of the servers of members that fail: one crash in one cluster, seen by three balancers.

A crash costs gossip ten seconds, so it happens once, and each test waits for its own part of what follows:

    dead    its agent and its web server are killed
    mute    only its agent is killed: it still answers requests
    gone    leaves in order

`usual` is a balancer with a short hold. `forgetful` is another, whose agent soon forgets members that left or failed.
`doubtful` serves nobody but `dead` and `mute`: for it, all there is fails at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import pytest

from compose.load import Load, last_answer
from tests.balancer import Balancer, WebNode, throughout

DETECTED_WITHIN_S = 40.0
"""Until gossip knows of a crash: 6 to 13 s, more on a busy machine."""

REAPED_WITHIN_S = 60.0
"""Until an agent has forgotten it: it looks every 15 s."""

HOLD_S = 1.0
FORGETS = {"reconnect_timeout": "1s", "tombstone_timeout": "1s"}
LONG_HOLD_S = 6.0
"""More than lies between the failures of two nodes that crashed together."""

DOOMED = {"policy": {"hold_s": LONG_HOLD_S}, "services": [{"name": "nodes", "match": {"doomed": "yes"}}]}
POLICY = {"policy": {"hold_s": HOLD_S}}


@dataclass(frozen=True, slots=True)
class Crash:
    """A cluster in which the crash has just happened; `load` has been flowing through `usual` since before."""

    usual: Balancer
    forgetful: Balancer
    doubtful: Balancer
    dead: WebNode
    mute: WebNode
    gone: WebNode
    load: Load


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    """Three balancers, six web nodes, requests; then the crash. No request may fail in all of this."""
    with ExitStack() as stack:
        usual = stack.enter_context(Balancer(tmp_path_factory.mktemp("u"), POLICY))
        forgetful = stack.enter_context(Balancer(tmp_path_factory.mktemp("f"), POLICY, FORGETS))
        doubtful = stack.enter_context(Balancer(tmp_path_factory.mktemp("d"), DOOMED))
        for balancer in (usual, forgetful, doubtful):
            balancer.start()
            if balancer is not usual:
                balancer.agent.join_now(usual.address)
        dead, mute = usual.add_web(doomed="yes"), usual.add_web(doomed="yes")
        gone, *others = (usual.add_web() for _ in range(4))
        usual.wait_served(dead, mute, gone, *others)
        forgetful.wait_served(dead, mute, gone, *others)
        doubtful.wait_served(dead, mute)
        with usual.traffic() as load:
            usual.wait_joined(gone)
            gone.agent.interrupt()
            # First it, then the crash: gossip among agents that have just crashed may lose a leave.
            for balancer in (usual, forgetful):
                balancer.see_off(gone)
            dead.crash()
            mute.agent.kill()
            yield Crash(usual, forgetful, doubtful, dead, mute, gone, load)


def test_a_crashed_node_is_held_and_then_removed(crash: Crash) -> None:
    """Its server stays while HAProxy's checks keep traffic away, and goes when the hold is over: it does not answer."""
    usual, dead = crash.usual, crash.dead
    usual.until(lambda: usual.daemon.server(dead.name).get("up") is False, "HAProxy to see it down")
    assert usual.daemon.member(dead.name)["status"] == "alive"
    assert dead.name in usual.running_names()

    usual.daemon.wait_event("server.held", within=DETECTED_WITHIN_S, server=dead.name, why="failed")
    usual.daemon.wait_event("server.released", within=HOLD_S + 5.0, server=dead.name)
    usual.wait_gone(dead.name)
    held, released = (usual.daemon.events(event, server=dead.name) for event in ("server.held", "server.released"))
    assert seconds_between(held[0], released[0]) > HOLD_S - 0.1  # the lines are written a moment after the decision


def test_no_request_fails_in_a_crash(crash: Crash) -> None:
    """The others answer from the first moment on; the fixture fails if one request of all did."""
    usual = crash.usual
    usual.until(lambda: crash.dead.name not in usual.running_names(), "the dead server to go", DETECTED_WITHIN_S)
    last, newest = last_answer(crash.load.samples, crash.dead.address), crash.load.samples[-1]
    assert last is not None
    assert newest.sent > last
    assert newest.failure is None


def test_a_failed_member_that_answers_stays(crash: Crash) -> None:
    """Gossip lost it, but its health check passes: it is served on, also when the hold is over."""
    usual, mute = crash.usual, crash.mute
    usual.daemon.wait_event("server.held", within=DETECTED_WITHIN_S, server=mute.name, why="failed")
    usual.until(lambda: usual.daemon.member(mute.name)["since_s"] > 2 * HOLD_S, "the hold to be over")
    throughout(lambda: mute.name in usual.running_names(), 1.0, "the mute server in HAProxy")
    assert mute.address in usual.answering()
    server = usual.daemon.server(mute.name)
    assert (server["held"], server["up"]) == ("failed", True)


def test_when_everybody_fails_nobody_is_removed(crash: Crash) -> None:
    """Two of two failed: the likelier truth is that the balancer is cut off, and it says that it holds still."""
    doubtful = crash.doubtful
    doubtful.daemon.wait_event("guard.engaged", within=DETECTED_WITHIN_S)
    doubtful.until(
        lambda: doubtful.daemon.member(crash.dead.name)["since_s"] > LONG_HOLD_S + 1.0, "the hold to be over"
    )
    throughout(lambda: crash.dead.name in doubtful.running_names(), 1.0, "the dead server in HAProxy")
    assert doubtful.daemon.status()["guard"] == "2 of 2 servers of nodes are failed or unseen"
    assert "guard: no failed member is removed" in doubtful.daemon.command("status").stdout


def test_a_member_that_is_reaped_is_forgotten(crash: Crash) -> None:
    """Serf forgets who left and who failed, and so does the daemon, once nothing of it is served any more."""
    forgetful = crash.forgetful
    for node in (crash.gone, crash.dead):
        forgetful.daemon.wait_event("member.reaped", within=REAPED_WITHIN_S, member=node.name)
        wait_forgotten(forgetful, node)


def test_a_member_that_is_reaped_and_answers_stays(crash: Crash) -> None:
    """An agent that forgot it might just as well have been started anew: it is held on, as unseen."""
    forgetful, mute = crash.forgetful, crash.mute
    forgetful.daemon.wait_event("member.reaped", within=REAPED_WITHIN_S, member=mute.name)
    throughout(lambda: mute.name in forgetful.running_names(), 1.0, "the mute server in HAProxy")
    assert forgetful.daemon.member(mute.name)["status"] == "unseen"
    assert mute.address in forgetful.answering()


def test_an_alive_member_takes_over_the_address(crash: Crash) -> None:
    """A new incarnation on the address of a failed one: the old server goes at once, requests go to the new one."""
    usual, mute = crash.usual, crash.mute
    usual.daemon.wait_event("server.held", within=DETECTED_WITHIN_S, server=mute.name, why="failed")
    successor = usual.add_web_agent(mute.server, name=f"{mute.name}-again")
    usual.wait_gone(mute.name)
    usual.wait_served(successor)
    usual.daemon.wait_event("server.displaced", server=mute.name, by=successor.name)


def wait_forgotten(balancer: Balancer, web: WebNode) -> None:
    """Wait until neither the daemon nor HAProxy knows it any more."""
    balancer.until(lambda: balancer.daemon.member(web.name) == {}, f"{web.name} to be forgotten")
    balancer.wait_gone(web.name)


def seconds_between(first: dict[str, str], second: dict[str, str]) -> float:
    """Return the time from one log line to another."""
    start, end = (datetime.fromisoformat(line["time"]) for line in (first, second))
    return (end - start).total_seconds()

"""Something around the daemon, or the daemon itself, stops, hangs or dies: what was good stays, and all of it heals."""

from __future__ import annotations

import http.client
import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer import Balancer, FileIdentity, WebNode, throughout
from tests.haproxy_process import BINARY
from tests.loopback import free_address

STALE_LIMIT_S = 3.0
FAILED_WITHIN_S = 40.0
BACK_WITHIN_S = 4.0
"""After a second HAProxy is held for deaf, and two reloads follow; less than a daemon waits that knows nothing."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Balancer, WebNode]]:
    """A balancer with one web node, which is its seed too, and a script for a haproxy program, which can be broken."""
    directory = tmp_path_factory.mktemp("b")
    program, seed = directory / "haproxy", free_address()
    write_program(program, f'exec {BINARY} "$@"')
    settings = {
        "serf": {"seeds": [seed]},
        "proxy": {"binary": str(program), "check_timeout_s": 0.5},
        "reload": {"least_interval_s": 0.1},
    }
    with Balancer(directory, settings) as made:
        made.start()
        web = made.add_web(seed)
        made.wait_served(web)
        yield made, web


@pytest.fixture
def balancer(running: tuple[Balancer, WebNode]) -> Iterator[Balancer]:
    """The balancer; in the end all is well, and its web node is served."""
    yield running[0]
    write_program(program_of(running[0]), f'exec {BINARY} "$@"')
    running[0].wait_ready()
    running[0].wait_served(running[1])


@pytest.fixture
def web(running: tuple[Balancer, WebNode]) -> WebNode:
    """Its web node."""
    return running[1]


def program_of(balancer: Balancer) -> Path:
    """Return the script that stands for haproxy."""
    return balancer.directory / "haproxy"


def write_program(path: Path, line: str) -> None:
    """Make a shell script of one line, in one step."""
    beside = path.with_name(f"{path.name}~")
    beside.write_text(f"#!/bin/sh\n{line}\n")
    beside.chmod(beside.stat().st_mode | stat.S_IXUSR)
    beside.replace(path)


def untouched(balancer: Balancer) -> tuple[FileIdentity, int]:
    """Return what a write of the file or a reload would change."""
    return balancer.file_identity(), balancer.running().pid


# --- the agent --------------------------------------------------------------------------------------------------


def test_an_agent_that_is_started_anew(balancer: Balancer, web: WebNode) -> None:
    """It knows only itself at first: no server is removed for that, and the seeds bring the cluster back."""
    before, mark = untouched(balancer), balancer.daemon.mark()
    with balancer.traffic():
        balancer.agent.kill()
        balancer.daemon.wait_event("agent.lost", mark)
        throughout(lambda: untouched(balancer) == before, 0.5, "the file and the worker without an agent")
        balancer.agent.start()
        balancer.daemon.wait_event("agent.reached", mark)
        balancer.until(lambda: balancer.daemon.member(web.name)["status"] == "alive", "the web node to be known again")
        balancer.wait_ready()
    assert untouched(balancer) == before
    assert balancer.daemon.server(web.name)["held"] == ""


def test_an_agent_that_hangs(balancer: Balancer, web: WebNode) -> None:
    """It accepts and says nothing: the status tells for how long already, and every server stays."""
    before, mark = untouched(balancer), balancer.daemon.mark()
    balancer.agent.pause()
    try:
        lost = balancer.daemon.wait_event("agent.lost", mark)
        assert "within 1 s" in lost["error"]
        agent = balancer.daemon.status()["agent"]
        assert agent["reachable"] is False
        balancer.until(lambda: balancer.daemon.status()["agent"]["stale_s"] > agent["stale_s"] + 0.3, "the age to grow")
        assert (untouched(balancer), balancer.answering(4)) == (before, {web.address})
    finally:
        balancer.agent.resume()
    balancer.wait_ready()
    assert balancer.daemon.status()["agent"]["stale_s"] == 0
    assert untouched(balancer) == before


def test_an_agent_that_is_silent_for_too_long(balancer: Balancer, web: WebNode) -> None:
    """For a moment that is no reason to take the balancer out of service, and then it is; nobody is removed for it."""
    before, mark = untouched(balancer), balancer.daemon.mark()
    balancer.write_settings({"policy": {"stale_limit_s": STALE_LIMIT_S}})
    balancer.daemon.wait_event("edit.taken", mark)
    balancer.agent.kill()
    with balancer.traffic():
        balancer.daemon.wait_event("agent.lost", mark)
        assert (readiness(balancer), balancer.daemon.status()["agent"]["stale"]) == ((200, True, []), False)
        stale = balancer.daemon.wait_event("members.went_stale", mark)
        assert STALE_LIMIT_S <= stale["stale_s"] < STALE_LIMIT_S + 1.0
        assert balancer.daemon.status()["agent"]["stale"] is True
        assert readiness(balancer) == (503, False, [stale["error"]])
        assert untouched(balancer) == before
        balancer.agent.start()
        balancer.daemon.wait_event("members.refreshed", mark)
        balancer.wait_ready()
    assert readiness(balancer) == (200, True, [])
    balancer.daemon.only_event("members.went_stale", mark)
    balancer.until(lambda: balancer.daemon.member(web.name)["status"] == "alive", "the web node to be known again")
    balancer.write_settings()


def readiness(balancer: Balancer) -> tuple[int, bool, list[str]]:
    """Ask `/readyz`, as what stands before several balancers does: its status, and what it says."""
    connection = http.client.HTTPConnection(*balancer.daemon.admin, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = json.loads(answer.read())
        return answer.status, said["ready"], said["reasons"]
    finally:
        connection.close()


def test_a_start_without_an_agent(balancer: Balancer, web: WebNode) -> None:
    """The daemon keeps the servers that HAProxy runs, tries on, and is ready when the agent comes."""
    before = untouched(balancer)
    balancer.agent.kill()
    assert balancer.daemon.end() == 0
    mark = balancer.daemon.mark()
    balancer.daemon.start()
    lost = balancer.daemon.wait_event("agent.lost", mark)
    assert lost["error"] == f"Serf agent at {balancer.address}:7373: Connection refused"
    assert balancer.daemon.status()["ready"] is False
    # Longer than it waits for the agent before it decides without.
    throughout(lambda: untouched(balancer) == before, 6.0, "the file and the worker without an agent")
    assert balancer.answering(4) == {web.address}
    balancer.daemon.only_event("agent.lost", mark)
    balancer.agent.start()
    balancer.wait_ready()
    balancer.until(lambda: balancer.daemon.member(web.name)["status"] == "alive", "the web node to be known again")
    assert untouched(balancer) == before


def test_a_start_without_anybody(balancer: Balancer, web: WebNode) -> None:
    """With neither agent nor HAProxy there is nothing to decide with: the file keeps its servers."""
    before = balancer.file_identity()
    balancer.kill_haproxy()
    balancer.agent.kill()
    assert balancer.daemon.end() == 0
    balancer.daemon.start()
    throughout(lambda: balancer.file_identity() == before, 6.0, "the file")
    balancer.haproxy.start()
    balancer.agent.start()
    balancer.wait_ready()
    assert balancer.answering(4) == {web.address}
    assert balancer.file_identity() == before


# --- HAProxy ----------------------------------------------------------------------------------------------------


def test_a_haproxy_that_is_killed(balancer: Balancer, web: WebNode) -> None:
    """The file follows the members meanwhile, so HAProxy starts from the truth and there is nothing left to do."""
    mark = balancer.daemon.mark()
    balancer.kill_haproxy()
    balancer.daemon.wait_event("proxy.lost", mark)
    newcomer = balancer.add_web()
    balancer.daemon.wait_event("config.followed", mark)
    assert f"server {newcomer.name} " in balancer.haproxy.config.read_text()
    followed = balancer.file_identity()

    balancer.start_haproxy()
    assert balancer.answering(8) == {web.address, newcomer.address}
    balancer.wait_content()
    assert balancer.file_identity() == followed
    assert balancer.daemon.events("proxy.reloaded", mark) == []
    balancer.remove(newcomer)


def test_a_change_made_by_hand_is_taken_back(balancer: Balancer, web: WebNode) -> None:
    """Whoever sets a weight on the runtime socket finds it as the members say a moment later."""
    balancer.haproxy.ask(f"set server nodes/{web.name} weight 1")
    balancer.until(lambda: weight_of(balancer, web) == 100, "the weight as it was")


def test_a_reload_by_somebody_else_is_noticed(balancer: Balancer) -> None:
    """It is told as a restart that was not ours, and there is nothing to do."""
    mark, before = balancer.daemon.mark(), balancer.file_identity()
    balancer.haproxy.ask("reload", balancer.haproxy.master_socket)
    balancer.daemon.wait_event("proxy.restarted", mark)
    balancer.wait_content()
    assert balancer.file_identity() == before
    assert balancer.daemon.events("proxy.reloaded", mark) == []


# --- the haproxy program ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("exec sleep 60", "did not end within 0.5 s and was killed"),
        (None, "cannot be run: No such file or directory"),
        ("kill -SEGV $$", "was ended by signal 11"),
    ],
    ids=["hangs", "missing", "crashes"],
)
def test_a_haproxy_program_that_fails(balancer: Balancer, web: WebNode, line: str | None, error: str) -> None:
    """HAProxy follows all the same, the file stays, and the status says why; when it is mended, the file follows."""
    before, pid, mark = balancer.file_identity(), balancer.running().pid, balancer.daemon.mark()
    program = program_of(balancer)
    if line is None:
        program.unlink()
    else:
        write_program(program, line)
    web.agent.set_tags(weight="9")
    failed = balancer.daemon.wait_event("apply.failed", mark, kind="ProxyBinaryError")
    assert str(program) in failed["error"]
    assert error in failed["error"]
    assert balancer.daemon.status()["action_error"] == failed["error"]
    assert (balancer.file_identity(), balancer.running().pid) == (before, pid)
    assert (web.address in balancer.answering(4), weight_of(balancer, web)) == (True, 9)

    write_program(program, f'exec {BINARY} "$@"')
    balancer.until(lambda: " weight 9\n" in balancer.haproxy.config.read_text(), "the file to follow")
    balancer.wait_content()
    assert balancer.daemon.status()["action_error"] == ""
    give_back_weight(balancer, web)


def test_a_failure_that_went_away_by_itself_is_not_told_any_more(balancer: Balancer, web: WebNode) -> None:
    """What could not be done was taken back: nothing is wrong with what is in force."""
    mark = balancer.daemon.mark()
    write_program(program_of(balancer), "exit 3")
    web.agent.set_tags(weight="9")
    balancer.daemon.wait_event("apply.failed", mark)
    give_back_weight(balancer, web)
    balancer.until(lambda: balancer.daemon.status()["action_error"] == "", "the failure to be forgotten")


# --- the daemon -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_daemon_that_is_started_anew(balancer: Balancer, web: WebNode, number: signal.Signals) -> None:
    """With nothing changed it writes nothing and reloads nothing, however it ended; HAProxy serves all the while."""
    before, mark = untouched(balancer), balancer.daemon.mark()
    with balancer.traffic():
        code = balancer.daemon.end(number)
        assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        balancer.daemon.start()
        balancer.wait_ready()
        # Long enough for a second look at HAProxy and for the slow read of all members.
        throughout(lambda: untouched(balancer) == before, 1.0, "the file and the worker")
    status = balancer.daemon.status()
    assert (status["reloads"], status["reloads_failed"], status["plan"]["action"]) == (0, 0, "nothing")
    assert balancer.daemon.server(web.name)["held"] == ""
    for event in ("proxy.reloaded", "config.followed", "guard.engaged", "server.held"):
        assert balancer.daemon.events(event, mark) == []


def test_what_changed_while_the_daemon_was_away(balancer: Balancer, web: WebNode) -> None:
    """A node that came meanwhile is served, and one that left is gone, without a reload."""
    left = balancer.add_web()
    balancer.wait_served(left)
    assert balancer.daemon.end() == 0
    left.agent.leave()
    left.close()
    came = balancer.add_web()
    balancer.daemon.start()
    balancer.wait_served(web, came)
    assert balancer.running_names() == {web.name, came.name}
    assert balancer.daemon.status()["reloads"] == 0
    balancer.remove(came)


def test_a_stop_in_the_middle_of_a_check(balancer: Balancer, web: WebNode) -> None:
    """SIGTERM ends the daemon in time although the check of a new file is still running; nothing has changed."""
    before, directory = untouched(balancer), balancer.directory
    balancer.write_settings({"proxy": {"check_timeout_s": 60.0}})
    balancer.restart_daemon()
    balancer.wait_ready()
    started = directory / "check-started"
    write_program(program_of(balancer), f"touch {started}; exec sleep 60")
    web.agent.set_tags(weight="9")
    balancer.until(started.exists, "the check to start")
    assert balancer.daemon.end() == 0
    assert untouched(balancer) == before
    assert list(directory.glob(".*candidate*")) == []
    balancer.write_settings()
    write_program(program_of(balancer), f'exec {BINARY} "$@"')
    balancer.daemon.start()
    balancer.until(lambda: " weight 9\n" in balancer.haproxy.config.read_text(), "the file to follow")
    give_back_weight(balancer, web)


def give_back_weight(balancer: Balancer, web: WebNode) -> None:
    """Take the tag `weight` back, and wait until all has followed."""
    web.agent.set_tags("weight")
    balancer.until(lambda: weight_of(balancer, web) == 100, "the weight as it was")
    balancer.wait_content()


def weight_of(balancer: Balancer, web: WebNode) -> int | None:
    """Return the weight that HAProxy has for the server."""
    server = balancer.running_server(web.name)
    return server.weight if server else None


def test_a_daemon_that_dies_while_haproxy_gets_a_new_socket(tmp_path: Path) -> None:
    """The socket was removed; HAProxy has been reloaded with one beside its place, and not yet with one in its place.

    The next daemon finds it, forgets neither who is held nor who was taken out by hand, and does what is left to do.
    """
    program, flag = tmp_path / "haproxy", tmp_path / "stands-still"
    policy = {"hold_s": 300.0, "longest_hold_s": 300.0}
    with Balancer(tmp_path, {"proxy": {"binary": str(program)}, "policy": policy}) as balancer:
        socket, aside = balancer.haproxy.runtime_socket, balancer.haproxy.runtime_socket.with_suffix(".sock.aside")
        # `haproxy -W -c -f FILE`: the check of the text that comes after the one with the socket beside takes until the
        # daemon is dead.
        wait = f'while [ -e {flag} ]; do grep -q {aside} "$4" && break; sleep 0.02; done'
        write_program(program, f'{wait}; exec {BINARY} "$@"')
        balancer.start()
        web, failed, out = (balancer.add_web() for _ in range(3))
        balancer.wait_served(web, failed, out)
        balancer.haproxy.ask(f"set server nodes/{out.name} state maint")
        balancer.daemon.wait_event("server.taken_out")
        failed.agent.kill()
        balancer.daemon.wait_event("server.held", within=FAILED_WITHIN_S, server=failed.name)
        balancer.wait_content()
        with balancer.traffic() as load:
            flag.touch()
            socket.unlink()
            balancer.until(aside.exists, "a worker that listens beside the place")
            balancer.until(lambda: str(aside) in balancer.haproxy.config.read_text(), "the file to say so")
            balancer.daemon.end(signal.SIGKILL)
            flag.unlink()
            assert not socket.exists()
            mark = balancer.daemon.mark()
            balancer.daemon.start()
            assert balancer.daemon.wait_event("servers.inherited", mark)["servers"] == 3
            balancer.until(lambda: str(aside) not in balancer.haproxy.config.read_text(), "the file to be as it should")
            balancer.daemon.wait_event("proxy.reached", mark, within=BACK_WITHIN_S)
            balancer.wait_ready()
            balancer.wait_content()
        assert {sample.backend for sample in load.samples[-40:]} == {web.address, failed.address}
        assert balancer.running_names() == {web.name, failed.name, out.name}
        assert balancer.daemon.server(failed.name)["held"] == "failed"
        assert balancer.daemon.server(out.name)["by_hand"] is True
        balancer.daemon.only_event("proxy.reloaded", mark)

"""Servers change without a reload: nothing is lost, what was done by hand stays, and what is refused is reloaded."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rosterd.model import AdminState
from tests.balancer import SECOND_PORTS, Balancer, WebNode, throughout
from tests.frozen import freeze
from tests.haproxy_process import version_under_test

LONGEST_REQUEST_S = 30.0
DRAIN_S = 3.0
SEEN_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Balancer, WebNode]]:
    """A balancer that runs, with one web node that stays."""
    with Balancer(tmp_path_factory.mktemp("b"), {"proxy": {"drain_timeout_s": DRAIN_S}}) as made:
        made.start()
        web = made.add_web()
        made.wait_served(web)
        yield made, web


@pytest.fixture
def balancer(shared: tuple[Balancer, WebNode]) -> Iterator[Balancer]:
    """The balancer; in the end all is well."""
    yield shared[0]
    shared[0].wait_ready()
    shared[0].wait_served(shared[1])


@pytest.fixture
def web(balancer: Balancer) -> Iterator[WebNode]:
    """One more web node that is served."""
    node = balancer.add_web()
    balancer.wait_served(node)
    yield node
    balancer.remove(node)


# --- leaving ----------------------------------------------------------------------------------------------------


def test_a_long_request_finishes(balancer: Balancer, web: WebNode) -> None:
    """The server that leaves gets nothing new, and stays until its last request has its answer."""
    mark = balancer.daemon.mark()
    with request_to(balancer, web, "/wait/1.5") as request:
        web.agent.set_tags(role="elsewhere")
        balancer.until(lambda: balancer.running_server(web.name).weight == 0, "the drain")  # type: ignore[union-attr]
        balancer.until(lambda: leaving(balancer).get(web.name) == 1, "the status to count its request")
        assert web.address not in balancer.answering()
        assert request.is_alive()
        assert web.name in balancer.running_names()
    assert request.status == 200
    balancer.wait_gone(web.name)
    assert balancer.daemon.events("sessions.cut", mark) == []
    web.agent.set_tags(role="backend")
    balancer.wait_served(web)


@pytest.mark.parametrize(("method", "status_before_3_0"), [("GET", 200), ("POST", 502)])
def test_a_request_that_takes_too_long_is_cut_and_counted(
    balancer: Balancer, web: WebNode, method: str, status_before_3_0: int
) -> None:
    """After `proxy.drain_timeout_s` the server goes all the same, and the log says how many requests were running.

    HAProxy 2 sends what is safe to repeat to another server, and answers a write with 502. HAProxy 3 closes the
    connections of the clients without an answer.
    """
    mark = balancer.daemon.mark()
    with request_to(balancer, web, "/wait/6", method) as request:
        web.agent.set_tags(role="elsewhere")
        cut = balancer.daemon.wait_event("sessions.cut", mark)
        assert (cut["server"], cut["sessions"]) == (web.name, 1)
        balancer.wait_gone(web.name)
    assert request.status == (status_before_3_0 if version_under_test() < (3, 0) else 0)
    web.agent.set_tags(role="backend")
    balancer.wait_served(web)


def test_a_server_that_comes_back_during_its_drain(balancer: Balancer, web: WebNode) -> None:
    """It is simply ready again: the same server, never removed, with its running request untouched."""
    mark = balancer.daemon.mark()
    with request_to(balancer, web, "/wait/2") as request:
        web.agent.set_tags(role="elsewhere")
        balancer.until(lambda: balancer.running_server(web.name).weight == 0, "the drain")  # type: ignore[union-attr]
        web.agent.set_tags(role="backend")
        balancer.until(lambda: balancer.running_server(web.name).weight == 100, "the weight")  # type: ignore[union-attr]
    assert request.status == 200
    commands = [line for event in balancer.daemon.events("servers.changed", mark) for line in event["commands"]]
    assert commands == [f"set server nodes/{web.name} weight {weight}" for weight in (0, 100)]


@pytest.mark.parametrize("goodbye", ["left", "failed"])
def test_a_newcomer_in_the_place_of_one_that_drains(tmp_path: Path, goodbye: str) -> None:
    """It serves at once, at the same address and port; the old one gets nothing new, and finishes its request."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        other, old = balancer.add_web(), balancer.add_web()
        balancer.wait_served(other, old)
        with balancer.traffic(rate=200), request_to(balancer, old, "/wait/12") as request:
            (old.agent.interrupt if goodbye == "left" else old.agent.kill)()
            balancer.daemon.wait_event(f"member.{goodbye}", member=old.name, within=SEEN_WITHIN_S)
            new = balancer.add_web_agent(old.server, "newcomer", ports=SECOND_PORTS)
            balancer.until(lambda: weight_of(balancer, new.name) == 100, "the newcomer's traffic")
            assert weight_of(balancer, old.name) == 0
            assert request.is_alive()
            balancer.until(lambda: sessions_of(balancer, new) > 0, "a request to the newcomer")
            balancer.until(lambda: leaving(balancer) == {old.name: 1}, "the request to be counted")
        assert request.status == 200
        balancer.wait_gone(old.name)
        displaced = balancer.daemon.events("server.displaced", server=old.name, by=new.name)
        assert len(displaced) == (1 if goodbye == "failed" else 0)
        balancer.remove(new, other)


def test_a_newcomer_in_the_place_of_the_last_one(tmp_path: Path) -> None:
    """It had to wait while that one lived, and has its first check before the other one's traffic ends."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        old = balancer.add_web()
        balancer.wait_served(old)
        new = balancer.add_web_agent(old.server, "newcomer", ports=SECOND_PORTS)
        balancer.daemon.wait_event("server.displaced", server=new.name, by=old.name)
        with balancer.traffic(rate=200), request_to(balancer, old, "/wait/8") as request:
            old.agent.interrupt()
            balancer.until(lambda: weight_of(balancer, new.name) == 100, "the newcomer's traffic")
            balancer.until(lambda: weight_of(balancer, old.name) == 0, "the end of the old one's")
            assert request.is_alive()
        assert request.status == 200
        balancer.wait_gone(old.name)
        balancer.remove(new)


def test_one_that_comes_takes_over_from_one_that_goes(tmp_path: Path) -> None:
    """The only server leaves in the moment in which another one joins: there is always one that answers."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        old = balancer.add_web()
        balancer.wait_served(old)
        new = balancer.add_web(role="waiting")
        balancer.wait_joined(new)
        with balancer.traffic(rate=500):
            balancer.write_settings({"services": [{"name": "nodes", "match": {"role": "waiting"}}]})
            balancer.wait_gone(old.name)
        assert balancer.answering() == {new.address}
        balancer.remove(new)


def test_the_last_one_goes_on_until_the_next_one_answers(tmp_path: Path) -> None:
    """It has left the service, and the node that takes its place is announced before its server listens.

    Status and log say so, and it holds over a reload and a restart of the daemon: the file has it.
    """
    with Balancer(tmp_path) as balancer:
        balancer.start()
        old = balancer.add_web()
        balancer.wait_served(old)
        new = balancer.add_web(port="9")
        balancer.until(lambda: balancer.running_server(new.name) is not None, "the new server")
        with balancer.traffic(rate=200):
            mark = balancer.daemon.mark()
            old.agent.set_tags(role="elsewhere")
            held = balancer.daemon.wait_event("server.held", mark)
            assert (held["server"], held["why"]) == (old.name, "left")
            assert balancer.daemon.server(old.name)["held"] == "left"
            throughout(lambda: balancer.answering(4) == {old.address}, 2.0, "the old one answers")
            reload_once(balancer)
            balancer.wait_content()
            balancer.restart_daemon()
            balancer.wait_ready()
            balancer.wait_content()
            assert f" {old.name} " in balancer.haproxy.config.read_text()
            throughout(lambda: balancer.answering(4) == {old.address}, 2.0, "the old one still answers")
            new.agent.set_tags(port=str(new.server.port))
            balancer.wait_gone(old.name)
        assert balancer.answering() == {new.address}
        balancer.remove(new)


def test_scaled_up_and_down(tmp_path: Path) -> None:
    """4, 8, 2, 0, 3: each server is hit, and HAProxy is the same process all the while."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        pid = balancer.running().pid
        nodes: list[WebNode] = []
        for number in (4, 8, 2, 0, 3):
            nodes += [balancer.add_web() for _ in range(number - len(nodes))]
            balancer.remove(*nodes[number:])
            del nodes[number:]
            balancer.wait_served(*nodes)
            assert balancer.running_names() == {node.name for node in nodes}
            assert balancer.answering(64) == {node.address for node in nodes}
        assert balancer.running().pid == pid
        assert balancer.daemon.status()["reloads"] == 0
        balancer.remove(*nodes)


# --- by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["drain", "maint"])
def test_what_was_taken_out_by_hand_stays_out(balancer: Balancer, web: WebNode, state: str) -> None:
    """Over changes of others, a reload and a restart of the daemon, until it is given back by hand; status says so."""
    mark = balancer.daemon.mark()
    balancer.haproxy.ask(f"set server nodes/{web.name} state {state}")
    taken = balancer.daemon.wait_event("server.taken_out", mark)
    assert (taken["server"], taken["state"]) == (web.name, state)
    assert balancer.daemon.server(web.name)["by_hand"] is True
    balancer.wait_content()

    other = balancer.add_web()
    balancer.wait_served(other)
    reload_once(balancer)
    balancer.until(lambda: state_of(balancer, web) is AdminState(state), "its state in the new worker")
    balancer.wait_content()
    balancer.restart_daemon()
    balancer.wait_ready()
    assert state_of(balancer, web) is AdminState(state)
    assert web.address not in balancer.answering()
    shown = balancer.daemon.command("status").stdout
    assert any(web.name in line and f"{state} by hand" in line for line in shown.splitlines())

    balancer.haproxy.ask(f"set server nodes/{web.name} state ready")
    balancer.wait_served(web)
    balancer.until(lambda: balancer.daemon.server(web.name)["by_hand"] is False, "the daemon to see it")
    balancer.remove(other)


def test_maintenance_by_hand_outlives_haproxy(balancer: Balancer, web: WebNode) -> None:
    """HAProxy is killed and starts from its file: the server is still out, and still known to be out by hand."""
    balancer.haproxy.ask(f"set server nodes/{web.name} state maint")
    balancer.until(lambda: balancer.daemon.server(web.name)["by_hand"] is True, "the daemon to see it")
    balancer.wait_content()
    mark = balancer.daemon.mark()
    balancer.kill_haproxy()
    balancer.start_haproxy()
    assert state_of(balancer, web) is AdminState.MAINT
    assert balancer.daemon.server(web.name)["by_hand"] is True
    balancer.daemon.wait_event("proxy.restarted", mark)  # what is said before that counts as the start's own
    balancer.wait_content()
    balancer.haproxy.ask(f"set server nodes/{web.name} state ready")
    balancer.wait_served(web)


def test_maintenance_by_hand_outlives_haproxy_and_a_file_that_lags(tmp_path: Path) -> None:
    """HAProxy starts from a file without the server: it is added as it was left, and has no request before that."""
    slow = {"file_quiet_s": 60, "file_longest_s": 60}
    with Balancer(tmp_path, {"reload": slow}) as balancer:
        balancer.start()
        stays = balancer.add_web()
        balancer.until(lambda: stays.address in balancer.answering(), "the first server")
        web = balancer.add_web()
        balancer.until(lambda: web.address in balancer.answering(), "the second server")
        balancer.haproxy.ask(f"set server nodes/{web.name} state maint")
        balancer.until(lambda: balancer.daemon.server(web.name)["by_hand"] is True, "the daemon to see it")
        assert web.name not in balancer.haproxy.config.read_text()
        os.kill(balancer.haproxy.pid, signal.SIGKILL)
        balancer.haproxy.stop()
        balancer.haproxy.start()
        balancer.until(lambda: state_of(balancer, web) is AdminState.MAINT, "its state in the new HAProxy")
        balancer.until(lambda: balancer.answering() == {stays.address}, "the first server, and no other")
        assert balancer.daemon.server(web.name)["by_hand"] is True


def test_other_changes_by_hand_are_told_and_taken_back(balancer: Balancer, web: WebNode) -> None:
    """A weight, an address, a server that was removed, one that was added: HAProxy runs what the members say."""
    for command, hint in (
        (f"set server nodes/{web.name} weight 3", f"set server nodes/{web.name} weight 100"),
        (f"set server nodes/{web.name} addr 127.0.0.1 port 9", f"addr {web.address} port {web.server.port}"),
        ("add server nodes/stranger 127.0.0.1:9 id 9 ; enable server nodes/stranger", "nodes/stranger"),
    ):
        mark = balancer.daemon.mark()
        balancer.haproxy.ask(command)
        drifted = balancer.daemon.wait_event("proxy.drifted", mark)
        assert any(hint in line for line in drifted["commands"])
        balancer.wait_content()
        assert balancer.daemon.events("proxy.reloaded", mark) == []
    balancer.until(lambda: "stranger" not in balancer.running_names(), "the stranger to be gone")
    balancer.wait_served(web)


# --- HAProxy fails, or refuses ----------------------------------------------------------------------------------


def test_haproxy_dies_in_the_middle_of_changes(balancer: Balancer) -> None:
    """It starts from a file that may lag behind, and a moment later it runs what the members say."""
    nodes = [balancer.add_web() for _ in range(4)]
    balancer.kill_haproxy()
    balancer.start_haproxy()
    balancer.wait_served(*nodes)
    balancer.remove(*nodes)


def test_a_worker_that_hangs_is_given_up_and_seen_again(balancer: Balancer, web: WebNode) -> None:
    """Its socket has a deadline; nothing is believed of it meanwhile, and what changed is made good afterwards."""
    mark, pid = balancer.daemon.mark(), balancer.running().pid
    freeze(pid)
    try:
        balancer.daemon.wait_event("proxy.lost", mark)
        web.agent.set_tags(weight="8")
        balancer.until(lambda: " weight 8\n" in balancer.haproxy.config.read_text(), "the file to follow")
    finally:
        os.kill(pid, signal.SIGCONT)
    balancer.until(lambda: balancer.running_server(web.name).weight == 8, "the weight")  # type: ignore[union-attr]
    assert balancer.running().pid == pid


def test_a_socket_that_fails_with_commands_has_haproxy_reloaded(tmp_path: Path) -> None:
    """Questions are answered, but every batch of commands ends in the middle: after the second one it is reloaded."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        mark = balancer.daemon.mark()
        with cut_commands(balancer):
            web = balancer.add_web()
            balancer.wait_served(web)
            balancer.daemon.only_event("proxy.reloaded", mark)
            effects = [event["effect"] for event in balancer.daemon.events("change.failed", mark)]
            assert effects == ["what HAProxy runs is looked up again", "HAProxy is reloaded instead"]
            balancer.remove(web)


def test_what_haproxy_refuses_at_run_time_comes_by_a_reload(balancer: Balancer) -> None:
    """An option that the file may have and a command may not: told with HAProxy's words, and served all the same."""
    good = balancer.template.read_text()
    mark = balancer.daemon.mark()
    balancer.edit_template(good.replace(" id {{ server.id }}", " id {{ server.id }} max-reuse 7"))
    balancer.daemon.wait_event("proxy.reloaded", mark)
    mark = balancer.daemon.mark()
    node = balancer.add_web()
    balancer.wait_served(node)
    refused = balancer.daemon.wait_event("command.refused", mark)
    assert refused["server"] == node.name
    assert "'max-reuse'" in refused["error"]
    reloaded = balancer.daemon.only_event("proxy.reloaded", mark)
    assert reloaded["reasons"] == [f"nodes/{node.name}: HAProxy refused: {refused['error']}"]
    balancer.daemon.only_event("command.refused", mark)
    balancer.remove(node)
    balancer.edit_template(good)
    balancer.wait_content()


def test_a_static_algorithm_is_not_even_tried(balancer: Balancer, web: WebNode) -> None:
    """The reason is known beforehand; a server that leaves drains at run time nevertheless."""
    good = balancer.template.read_text()
    mark = balancer.daemon.mark()
    balancer.edit_template(good.replace("balance {{ service.balance }}", "balance static-rr"))
    balancer.daemon.wait_event("proxy.reloaded", mark)
    mark = balancer.daemon.mark()
    node = balancer.add_web()
    balancer.wait_served(node)
    reloaded = balancer.daemon.only_event("proxy.reloaded", mark)
    assert "balance static-rr" in reloaded["reasons"][0]
    assert balancer.daemon.events("command.refused", mark) == []
    balancer.remove(node)
    balancer.edit_template(good)
    balancer.wait_content()
    balancer.wait_served(web)


def test_many_additions_at_once_are_reloaded(tmp_path: Path) -> None:
    """The daemon knows where a reload is faster; `rosterd plan` says so beforehand."""
    with Balancer(tmp_path, {"policy": {"networks": ["10.0.0.0/8"]}}) as balancer:
        balancer.start()
        members = [member(number) for number in range(800)]
        plan = balancer.daemon.command(
            "plan", "--json", "--members", "-", stdin=f'{{"members": [{",".join(members)}]}}'
        )
        assert plan.returncode == 1
        assert '"nodes: 800 servers to add, a reload is faster"' in plan.stdout
        plan = balancer.daemon.command("plan", "--members", "-", stdin=f'{{"members": [{",".join(members[:2])}]}}')
        assert plan.stdout.splitlines()[0] == "runtime"
        assert "add server nodes/web-0 10.0.0.0:3000 id " in plan.stdout


def test_without_the_runtime_path(tmp_path: Path) -> None:
    """`proxy.apply = "reload"`: HAProxy is never told anything on its socket, and follows by reloads."""
    with Balancer(tmp_path, {"proxy": {"apply": "reload"}}) as balancer:
        balancer.start()
        other = balancer.add_web()
        balancer.wait_served(other)
        with balancer.traffic():
            web = balancer.add_web()
            balancer.wait_served(web)
            web.agent.set_tags(state="drain")
            balancer.until(lambda: balancer.running_server(web.name).weight == 0, "the drain")  # type: ignore[union-attr]
            balancer.remove(web)
        assert balancer.daemon.events("servers.changed") == []
        assert balancer.daemon.status()["reloads"] >= 3
        balancer.remove(other)


# --- who breaks it ----------------------------------------------------------------------------------------------


class _Cutter(socketserver.StreamRequestHandler):
    """Passes a question on to HAProxy and its answer back; of commands it passes on neither."""

    def handle(self) -> None:
        line = self.rfile.readline()
        if any(word in line for word in (b"add server", b"set server", b"del server")):
            return
        assert isinstance(self.server, _CuttingServer)
        with socket.socket(socket.AF_UNIX) as haproxy:
            haproxy.connect(str(self.server.haproxy))
            haproxy.sendall(line)
            haproxy.shutdown(socket.SHUT_WR)
            while chunk := haproxy.recv(65536):
                self.wfile.write(chunk)


class _CuttingServer(socketserver.ThreadingUnixStreamServer):
    def __init__(self, path: Path, haproxy: Path) -> None:
        super().__init__(str(path), _Cutter)
        self.haproxy = haproxy


@contextmanager
def cut_commands(balancer: Balancer) -> Iterator[None]:
    """Listen in the place of HAProxy's runtime socket and pass questions on, but no commands; until it is reloaded."""
    path = balancer.haproxy.runtime_socket
    with _CuttingServer(path, path.rename(balancer.directory / "real.sock")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


# --- how it is asked --------------------------------------------------------------------------------------------


def state_of(balancer: Balancer, web: WebNode) -> AdminState | None:
    """Return what HAProxy has the server do."""
    server = balancer.running_server(web.name)
    return server.state if server else None


def weight_of(balancer: Balancer, name: str) -> int | None:
    """Return the weight of a server in HAProxy; None when there is no such server."""
    server = balancer.running_server(name)
    return server.weight if server else None


def leaving(balancer: Balancer) -> Mapping[str, int | None]:
    """Return the running requests of each server that leaves, as the status tells."""
    services: list[dict[str, Any]] = balancer.daemon.status()["services"]
    return {row["name"]: row["sessions"] for row in services[0]["leaving"]}


def reload_once(balancer: Balancer) -> None:
    """Have HAProxy reloaded by a harmless edit."""
    mark = balancer.daemon.mark()
    balancer.edit_template(balancer.template.read_text() + "# edited\n")
    balancer.daemon.wait_event("proxy.reloaded", mark)


def member(number: int) -> str:
    """Return one more member, as `rosterd members --json` prints it."""
    address = f"10.0.{number // 256}.{number % 256}"
    return f'{{"name": "web-{number}", "address": "{address}", "status": "alive", "tags": {{"role": "backend"}}}}'


class Request(threading.Thread):
    """A request on a connection of its own, through HAProxy, until a certain server gets it."""

    def __init__(self, balancer: Balancer, path: str, method: str) -> None:
        super().__init__()
        self.status: int | None = None
        self._connection = http.client.HTTPConnection(
            balancer.address, balancer.haproxy.port, timeout=LONGEST_REQUEST_S
        )
        self._path = path
        self._method = method

    def run(self) -> None:
        """Send it, and keep the status of the answer; 0 when there is none."""
        try:
            self._connection.request(self._method, self._path)
            self.status = self._connection.getresponse().status
        except (OSError, http.client.HTTPException):
            self.status = 0
        finally:
            self._connection.close()


@contextmanager
def request_to(balancer: Balancer, web: WebNode, path: str, method: str = "GET") -> Iterator[Request]:
    """Have a request under way at this web node; in the end, wait for its answer."""
    others = [name for name in balancer.running_names() if name != web.name]
    for name in others:
        balancer.haproxy.ask(f"set server nodes/{name} state drain")
    try:
        request = Request(balancer, path, method)
        request.start()
        balancer.until(lambda: sessions_of(balancer, web) == 1, f"the request to reach {web.name}")
    finally:
        for name in others:
            balancer.haproxy.ask(f"set server nodes/{name} state ready")
    try:
        yield request
    finally:
        request.join(LONGEST_REQUEST_S)


def sessions_of(balancer: Balancer, web: WebNode) -> int:
    """Return how many requests HAProxy has under way to the server."""
    rows = [line.split(",") for line in balancer.haproxy.ask("show stat -1 4 -1").splitlines()]
    return next((int(row[4]) for row in rows if len(row) > 4 and row[1] == web.name), 0)

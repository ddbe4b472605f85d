"""TCP services on a real balancer: a port of their own, servers that come and go, connections that stay."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.balancer import Balancer, WebNode, throughout
from tests.line_server import LineClient, LineServer
from tests.loopback import free_port

PORT = 6379
ROLE = "cache"
PAUSE_S = 0.004
MOST_CONNECTIONS = 20_000
NODES = {"name": "nodes", "match": {"role": "backend"}}


def cache(bind: str, **changes: object) -> dict[str, Any]:
    """Return the settings of a service that is spoken to as Redis is."""
    check = {"send": "PING\r\n", "expect": "+PONG", "interval_s": 0.2}
    given = {"name": "cache", "mode": "tcp", "bind": bind, "match": {"role": ROLE}, "port": PORT, "check": check}
    return given | changes


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer with an HTTP service and a TCP service, and a server for each that stays."""
    with Balancer(tmp_path_factory.mktemp("b")) as made:
        made.settings["services"] = [NODES, cache(f"{made.address}:{PORT}")]
        made.write_settings()
        made.start()
        made.wait_served(made.add_web())
        add(made)
        yield made


@pytest.fixture
def balancer(shared: Balancer) -> Iterator[Balancer]:
    """The balancer; in the end all is well, and no more servers are there than before."""
    before = shared.running_names("cache")
    yield shared
    shared.until(lambda: shared.running_names("cache") == before, "the servers of before")
    shared.wait_content()
    shared.wait_ready()


def add(balancer: Balancer, **tags: str) -> WebNode:
    """Start a server of the TCP service; return when connections reach it."""
    server = LineServer.start(port=PORT)
    node = balancer.add_web_agent(server, tags={"role": ROLE, **tags})
    balancer.wait_joined(node)
    balancer.until(lambda: node.address in answering(balancer), f"connections to reach {node.name}")
    return node


@contextmanager
def added(balancer: Balancer, **tags: str) -> Iterator[WebNode]:
    """One more server, which leaves in the end."""
    node = add(balancer, **tags)
    try:
        yield node
    finally:
        leave(balancer, node)


def leave(balancer: Balancer, node: WebNode) -> None:
    """Have it leave in order, and end it when HAProxy has it no more."""
    node.agent.set_tags(role="elsewhere")
    balancer.until(lambda: node.name not in balancer.running_names("cache"), f"{node.name} to be out of HAProxy")
    node.close()


def answering(balancer: Balancer, connections: int = 12, port: int = PORT) -> set[str]:
    """Open some connections and return who answered, by address."""
    found = set()
    for _ in range(connections):
        try:
            with LineClient(balancer.address, port) as client:
                found.add(client.ask("WHO"))
        except OSError:
            found.add("nobody")
    return found


@dataclass
class Connections:
    """Connections made one after the other: how many, by whom they were answered, and what failed."""

    made: int = 0
    by: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@contextmanager
def connections(balancer: Balancer) -> Iterator[Connections]:
    """Keep connecting meanwhile; at the end not one may have failed."""
    found, stop = Connections(), threading.Event()

    def connect() -> None:
        while not stop.is_set() and found.made < MOST_CONNECTIONS:
            found.made += 1
            try:
                with LineClient(balancer.address, PORT) as client:
                    who = client.ask("WHO")
                    found.by[who] = found.by.get(who, 0) + 1
            except OSError as error:
                found.failures.append(f"{time.strftime('%X')} {error!r}")
            time.sleep(PAUSE_S)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        balancer.until(lambda: found.made > 20, "connections")
        yield found
    finally:
        stop.set()
        thread.join()
    assert found.made > 20
    assert found.failures == []


# --- servers come and go ----------------------------------------------------------------------------------------


def test_servers_come_and_go_without_a_reload(balancer: Balancer) -> None:
    """Over the runtime socket, with every option of their line; no connection fails, no process is started."""
    worker = balancer.running().pid
    with connections(balancer) as made:
        with added(balancer) as node:
            first = balancer.running_server(node.name, "cache")
            assert first is not None
            assert (first.port, first.weight, first.up) == (PORT, 100, True)
            node.agent.set_tags(weight="7")
            balancer.until(lambda: balancer.running_server(node.name, "cache").weight == 7, "the weight")  # type: ignore[union-attr]
        assert made.by[node.address] > 0
    assert balancer.running().pid == worker
    assert balancer.daemon.events("command.refused") == []


def test_the_file_says_the_same_as_the_socket(balancer: Balancer) -> None:
    """A HAProxy that starts from the file runs what was said at run time."""
    with added(balancer) as node:
        balancer.wait_content()
        text = balancer.haproxy.config.read_text(encoding="utf-8")
        assert f"server {node.name} {node.address}:{PORT} id " in text.partition("listen cache\n")[2]


def test_a_connection_outlives_the_leave_of_its_server(balancer: Balancer) -> None:
    """New ones go elsewhere; the old one is let finish, and then the server is removed."""
    with added(balancer) as node, to(balancer, node.address) as client:
        node.agent.set_tags(state="drain")
        balancer.until(lambda: balancer.running_server(node.name, "cache").weight == 0, "the drain")  # type: ignore[union-attr]
        assert node.address not in answering(balancer)
        assert client.ask("WHO") == node.address
        node.agent.set_tags(role="elsewhere")
        throughout(lambda: node.name in balancer.running_names("cache"), 0.5, "it stays for its connection")
        assert client.ask("still there?") == "still there?"


@contextmanager
def to(balancer: Balancer, address: str) -> Iterator[LineClient]:
    """A connection through the balancer that has reached this server."""
    client = LineClient(balancer.address, PORT)
    for _ in range(50):
        if client.ask("WHO") == address:
            break
        client.close()
        client = LineClient(balancer.address, PORT)
    with client:
        yield client


# --- what is wrong with a server --------------------------------------------------------------------------------


def test_a_server_that_is_dead_costs_no_new_connection(balancer: Balancer) -> None:
    """It refuses: the connection is made to another one, before any check has failed."""
    with added(balancer) as node:
        node.server.kill()
        with connections(balancer) as made:
            balancer.until(lambda: made.made > 100, "more connections")
        assert node.address not in made.by


def test_a_server_that_takes_connections_and_cannot_serve_is_found_by_its_check(balancer: Balancer) -> None:
    """It was told what to expect as an answer."""
    with added(balancer) as node:
        directly = (node.address, PORT)
        with LineClient(*directly) as client:
            client.ask("FAIL")
        balancer.until(lambda: node.address not in answering(balancer), "its check to fail")
        balancer.until(lambda: not balancer.daemon.server(node.name, "cache")["up"], "the status to say so")
        with LineClient(*directly) as client:
            client.ask("MEND")
        balancer.until(lambda: node.address in answering(balancer), "its check to pass")


def test_nobody_serves_at_the_port_of_the_service_itself(balancer: Balancer) -> None:
    """A member that gives the balancer's own address would have connections go round in circles."""
    mark = balancer.daemon.mark()
    neighbour = balancer.add_neighbour("circle", {"role": ROLE})
    line = balancer.daemon.wait_event("server.barred", mark, server="circle")
    assert line["reason"] == f"{balancer.address} port {PORT} is the balancer's own"
    assert "circle" not in balancer.running_names("cache")
    neighbour.close()


# --- edits ------------------------------------------------------------------------------------------------------


@contextmanager
def edited(balancer: Balancer, *services: Mapping[str, Any]) -> Iterator[int]:
    """The settings with these services, taken back in the end; gives the mark of the log before the edit."""
    mark = balancer.daemon.mark()
    balancer.write_settings({"services": list(services)})
    try:
        yield mark
    finally:
        balancer.write_settings()
        balancer.wait_content()


def test_a_reload_loses_no_connection(balancer: Balancer) -> None:
    """New ones find the port open all the while, and one that is there stays with the old worker."""
    before = balancer.running().pid
    with connections(balancer), LineClient(balancer.address, PORT) as client:
        who = client.ask("WHO")
        changed = cache(f"{balancer.address}:{PORT}", balance="leastconn")
        with edited(balancer, NODES, changed) as mark:
            balancer.daemon.wait_event("proxy.reloaded", mark)
            assert balancer.running().pid != before
            assert client.ask("WHO") == who


def test_a_service_is_added_and_taken_away_by_an_edit(balancer: Balancer) -> None:
    """The same servers behind a second port, and then not any more; HTTP goes on beside it."""
    port = free_port(balancer.address)
    second = cache(f"{balancer.address}:{port}", name="second", check={"interval_s": 0.2})
    with (
        balancer.traffic(),
        connections(balancer),
        edited(balancer, NODES, cache(f"{balancer.address}:{PORT}"), second),
    ):
        balancer.until(lambda: "nobody" not in answering(balancer, 3, port), "the second port")
        assert answering(balancer, port=port) == answering(balancer)
    balancer.until(lambda: answering(balancer, 1, port) == {"nobody"}, "the second port to be closed")


def test_a_port_that_is_taken_is_found_before_the_reload(balancer: Balancer) -> None:
    """`haproxy -c` does not see it: the edit is rejected with the line, and nobody notices anything."""
    with socket.socket() as other:
        other.bind((balancer.address, 0))
        other.listen()
        taken = f"{balancer.address}:{other.getsockname()[1]}"
        second = cache(taken, name="second")
        with (
            connections(balancer),
            edited(balancer, NODES, cache(f"{balancer.address}:{PORT}"), second) as mark,
        ):
            line = balancer.daemon.wait_event("edit.rejected", mark)
            assert f"bind {taken}: the port" in line["error"]
            assert balancer.daemon.events("proxy.reloaded", mark) == []


def test_without_any_http_service(balancer: Balancer) -> None:
    """HAProxy listens on no HTTP port then, and the TCP service goes on."""
    with connections(balancer), edited(balancer, cache(f"{balancer.address}:{PORT}")) as mark:
        balancer.daemon.wait_event("proxy.reloaded", mark)
        with pytest.raises(ConnectionRefusedError):
            LineClient(balancer.address, balancer.haproxy.port)

"""Each folder of examples/ on a real balancer: what its README claims is so.

The settings and templates are the examples' own, but for the addresses of the binds: each test has an address of its
own and ports that need no root.
"""

from __future__ import annotations

import csv
import http.client
import socket
import ssl
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.balancer import Balancer, WebNode
from tests.certificate import Certificate
from tests.line_server import LineClient, LineServer
from tests.ported import EXAMPLES, placed, port_here, settings_of

TEST = "test_example_"
PORTED = frozenset({"apiserver", "cookies", "database", "edge", "lab", "redis"})
"""What test_ported_templates.py runs."""

RESYNC_S = 6.0
"""A worker waits for five seconds for the table of one before it; only then has it one to hand on."""


@contextmanager
def running(example: str, directory: Path) -> Iterator[Balancer]:
    """A balancer with an example's settings and template; all web nodes that it gets end with it."""
    with Balancer(directory) as balancer:
        balancer.settings |= {
            key: {**balancer.settings.get(key, {}), **value} if isinstance(value, dict) else value
            for key, value in placed(settings_of(example), balancer.address).items()
        }
        balancer.write_settings()
        template = EXAMPLES / example / "haproxy.cfg.j2"
        if template.exists():
            balancer.edit_template(template.read_text(encoding="utf-8"))
        balancer.start()
        yield balancer


def test_every_example_is_tested_and_listed() -> None:
    """Each folder has its settings and its README, a test here, and a row in the list of examples."""
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert all((EXAMPLES / folder / name).exists() for folder in folders for name in ("rosterd.toml", "README.md"))
    tests = {name.removeprefix(TEST) for name in globals() if name.startswith(TEST)}
    assert folders == PORTED | {name.replace("_", "-") for name in tests}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"| [{folder}]({folder}/README.md) |" in listed for folder in folders)


# --- a web service ----------------------------------------------------------------------------------------------


def test_example_web(tmp_path: Path) -> None:
    """Servers come by their tag; no server has more requests at once than it may, and nobody is refused for that."""
    limit = settings_of("web")["services"][0]["server_maxconn"]
    with running("web", tmp_path) as balancer:
        node = balancer.add_web()
        balancer.wait_served(node)
        with ThreadPoolExecutor(limit + 20) as clients:
            answers = list(clients.map(lambda _: balancer.get(path="/wait/1"), range(limit + 20)))
        assert {status for status, _, _ in answers} == {200}
        assert stat(balancer, node.name)["smax"] == f"{limit}"


def stat(balancer: Balancer, server: str) -> dict[str, str]:
    """HAProxy's own row on a server."""
    table = balancer.haproxy.ask("show stat -1 4 -1").removeprefix("# ").strip().splitlines()
    return next(row for row in csv.DictReader(table) if row["svname"] == server)


# --- two services by host name ----------------------------------------------------------------------------------


def test_example_hosts(tmp_path: Path) -> None:
    """The Host header decides, whatever its case and port; a node moves from one service to the other by its tag."""
    with running("hosts", tmp_path) as balancer:
        node, shop, mover = balancer.add_web(), balancer.add_web(role="shop"), balancer.add_web()
        balancer.wait_served(node, mover)
        for host in ("shop.example.org", "SHOP.example.org:8080"):
            wait_answered(balancer, [shop], host)
        assert balancer.answering(host="other.example.org") == addresses([node, mover])
        with balancer.traffic():
            mover.agent.set_tags(role="shop")
            wait_answered(balancer, [shop, mover], "shop.example.org")
            wait_answered(balancer, [node])


# --- canary -----------------------------------------------------------------------------------------------------


def test_example_canary(tmp_path: Path) -> None:
    """A weight is an exact part of the requests, and changes with the tag, without a reload or a lost request."""
    with running("canary", tmp_path) as balancer:
        old = [balancer.add_web(), balancer.add_web()]
        canary = balancer.add_web(weight="10")
        balancer.wait_served(*old)
        wait_weight(balancer, canary, 10)
        worker = balancer.running().pid
        assert share(balancer, canary, requests=210) == pytest.approx(10 / 210, abs=2 / 210)
        with balancer.traffic(rate=20):
            for weight, part in ((100, 1 / 3), (0, 0)):
                canary.agent.set_tags(weight=f"{weight}")
                wait_weight(balancer, canary, weight)
                assert share(balancer, canary, requests=90) == pytest.approx(part, abs=0.1)
        assert share(balancer, canary, requests=30) == 0
        assert balancer.running().pid == worker


def wait_weight(balancer: Balancer, node: WebNode, weight: int) -> None:
    """Wait until HAProxy gives a server this weight."""

    def has_weight() -> bool:
        server = balancer.running_server(node.name)
        return server is not None and server.weight == weight

    balancer.until(has_weight, f"{node.name} to weigh {weight}")


def share(balancer: Balancer, node: WebNode, requests: int) -> float:
    """The part of so many requests that a node gets."""
    by = Counter(balancer.get()[2]["x-backend-ip"] for _ in range(requests))
    return by[node.address] / requests


# --- blue and green ---------------------------------------------------------------------------------------------


def test_example_blue_green(tmp_path: Path) -> None:
    """One word in the settings switches all clients, and back; no request is lost, no process is started."""
    with running("blue-green", tmp_path) as balancer:
        blue = [balancer.add_web(colour="blue") for _ in range(2)]
        green = [balancer.add_web(colour="green") for _ in range(2)]
        balancer.wait_served(*blue)
        wait_answered(balancer, green, "green.example.org")
        assert balancer.answering(host="blue.example.org") == balancer.answering() == addresses(blue)
        worker = balancer.running().pid
        with balancer.traffic():
            for colour, nodes in (("green", green), ("blue", blue)):
                live, *others = balancer.settings["services"]
                match = {**live["match"], "colour": colour}
                balancer.write_settings({"services": [{**live, "match": match}, *others]})
                wait_answered(balancer, nodes)
        assert balancer.running().pid == worker
        assert balancer.answering(host="green.example.org") == addresses(green)


def wait_answered(balancer: Balancer, nodes: Iterable[WebNode], host: str = "balancer") -> None:
    """Wait until these nodes answer for a host, and nobody else."""
    wanted = addresses(nodes)
    balancer.until(lambda: balancer.answering(host=host) == wanted, f"{sorted(wanted)} to answer for {host}")


def addresses(nodes: Iterable[WebNode]) -> set[str]:
    """Where they are."""
    return {node.address for node in nodes}


# --- sticky sessions --------------------------------------------------------------------------------------------


@dataclass
class Visitor:
    """A client with a cookie."""

    balancer: Balancer
    cookie: str = ""
    seen: list[str] = field(default_factory=list)

    def visit(self) -> str:
        """Send one request and return who answered."""
        connection = http.client.HTTPConnection(self.balancer.address, self.balancer.haproxy.port, timeout=5)
        try:
            connection.request("GET", "/", headers={"Cookie": self.cookie} if self.cookie else {})
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()
            given = answer.getheader("Set-Cookie")
            assert bool(given) is not bool(self.cookie), "it is given once, to who has none"
            self.cookie = self.cookie or str(given).partition(";")[0]
            return str(answer.getheader("x-backend-ip"))
        finally:
            connection.close()


def test_example_sticky(tmp_path: Path) -> None:
    """A visitor stays with a server while others come, over a reload too; when it leaves, its visitors move, once."""
    with running("sticky", tmp_path) as balancer:
        nodes = [balancer.add_web() for _ in range(3)]
        balancer.wait_served(*nodes)
        visitors = [Visitor(balancer) for _ in range(9)]
        servers = visits(visitors)
        assert set(servers) == addresses(nodes)
        with balancer.traffic():
            assert visits(visitors) == visits(visitors) == servers

            late = balancer.add_web()
            balancer.wait_served(late)
            assert balancer.daemon.events("command.refused") == []
            assert visits(visitors) == servers

            reload_by_an_edit(balancer)
            assert visits(visitors) == servers

            balancer.remove(nodes[0])
            moved = visits(visitors)
            stayed = [server == before for server, before in zip(moved, servers, strict=True)]
            assert stayed == [before != nodes[0].address for before in servers]
            assert visits(visitors) == moved


def visits(visitors: Sequence[Visitor]) -> list[str]:
    """One visit of each; by whom they were answered."""
    return [visitor.visit() for visitor in visitors]


def reload_by_an_edit(balancer: Balancer) -> None:
    """Have HAProxy reloaded, once its worker has a table to hand on."""

    def has_waited() -> bool:
        (uptime,) = [line for line in balancer.haproxy.ask("show info").splitlines() if line.startswith("Uptime_sec:")]
        return int(uptime.split()[1]) >= RESYNC_S

    balancer.until(has_waited, "the worker to be no beginner")
    mark = balancer.daemon.mark()
    balancer.write_settings({"proxy": {"retries": 3}})
    balancer.daemon.wait_event("proxy.reloaded", mark)
    balancer.wait_content()


# --- TLS --------------------------------------------------------------------------------------------------------


def test_example_tls(tmp_path: Path) -> None:
    """HTTPS with the certificate in the folder, HTTP leads there, and a new certificate takes one reload."""
    certificates = tmp_path / "tls"
    certificates.mkdir()
    address = "127.0.0.1"
    first, second = (Certificate.make(tmp_path, name, address) for name in ("first.example", "second.example"))
    (certificates / "site.pem").write_text(first.bundle, encoding="ascii")
    with running("tls", tmp_path) as balancer:
        node = balancer.add_web()
        balancer.until(lambda: https(balancer, first)[0] == 200, "the server over HTTPS")
        status, body = https(balancer, first)
        assert (status, "x-forwarded-proto: https" in body.lower()) == (200, True)
        assert node.name in balancer.running_names()

        plain = http.client.HTTPConnection(balancer.address, port_here(80), timeout=5)
        plain.request("GET", "/path?query", headers={"Host": "site.example"})
        answer = plain.getresponse()
        assert (answer.status, answer.getheader("Location")) == (301, "https://site.example/path?query")
        plain.close()

        balancer.wait_content()  # the new worker starts from the file
        (certificates / "site.pem").write_text(second.bundle, encoding="ascii")
        mark = balancer.daemon.mark()
        balancer.haproxy.ask("reload", balancer.haproxy.master_socket)
        balancer.daemon.wait_event("proxy.restarted", mark)
        balancer.until(lambda: _shown(balancer, second), "the new certificate")
        assert https(balancer, second)[0] == 200
        assert balancer.daemon.events("proxy.reloaded", mark) == []


def https(balancer: Balancer, certificate: Certificate) -> tuple[int, str]:
    """Status and body of a request over TLS, from a server that has to be who it says."""
    name = certificate.certificate.stem
    raw = socket.create_connection((balancer.address, port_here(443)), timeout=5)
    with certificate.client_context().wrap_socket(raw, server_hostname=name) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read().decode()


def _shown(balancer: Balancer, certificate: Certificate) -> bool:
    """Whether the balancer shows this certificate."""
    try:
        https(balancer, certificate)
    except (ssl.SSLError, OSError):
        return False
    return True


# --- TCP --------------------------------------------------------------------------------------------------------


def test_example_tcp(tmp_path: Path) -> None:
    """Each service behind its port, with its own check; HAProxy listens on no HTTP port."""
    with running("tcp", tmp_path) as balancer:
        redis = [line_node(balancer, "redis", 6379) for _ in range(2)]
        postgres = [line_node(balancer, "postgres", 5432) for _ in range(2)]
        balancer.until(lambda: spoken_to(balancer, 6379) == addresses(redis), "Redis")
        balancer.until(lambda: spoken_to(balancer, 5432) == addresses(postgres), "PostgreSQL")
        for node, port in ((redis[0], 6379), (postgres[0], 5432)):
            with LineClient(node.address, port) as client:
                client.ask("FAIL")
        balancer.until(lambda: spoken_to(balancer, 6379) == {redis[1].address}, "the check of Redis")
        assert spoken_to(balancer, 5432) == addresses(postgres), "only a connection is asked of PostgreSQL"
        with pytest.raises(ConnectionRefusedError):
            balancer.get()


def line_node(balancer: Balancer, role: str, port: int) -> WebNode:
    """A member with this role, and a server behind it that speaks lines."""
    return balancer.add_web_agent(LineServer.start(port=port), tags={"role": role})


def spoken_to(balancer: Balancer, port: int) -> set[str]:
    """Who answers on some connections to a port of the balancer, by address."""
    found = set()
    for _ in range(8):
        try:
            with LineClient(balancer.address, port) as client:
                found.add(client.ask("WHO"))
        except OSError:
            found.add("nobody")
    return found

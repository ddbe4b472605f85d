"""Templates that were ported from a `haproxy.cfg`: each goes through joins, leaves, a crash and edits, under requests.

For each template the tests hold three figures: the requests that failed, the reloads, and the differences between what
is wanted, the file, and what HAProxy runs.
"""

from __future__ import annotations

import http.client
import itertools
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.balancer import WebNode
from tests.certificate import Certificate
from tests.line_server import LineClient, LineServer
from tests.loopback import free_address
from tests.ported import EXAMPLES, Asks, RequestFailedError, Site, port_here
from tests.web_server import WebServer

TEXT_EDIT = ("    stats uri /\n", "    stats uri /\n    stats refresh 7s\n")
HEALTH_PORT = 8008
UNDER_WAY_S = 5.0
"""The clients' own time-out: a request that was sent earlier is not under way any more."""

COOKIES_AT_RUN_TIME = (2, 8)
"""The first tested HAProxy whose `add server` takes the word `cookie`, and gives the server a dynamic one."""


Counted = Callable[[Site, Asks, int], None]


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Counted:
    """Puts the figures of a test into its report (`--junitxml`): requests, failed ones, reloads, differences."""

    def record(site: Site, asks: Asks, reloads_before: int) -> None:
        properties: list[tuple[str, object]] = request.node.user_properties
        properties += [("requests", len(asks.made)), ("failed", len(asks.failed))]
        properties += [("reloads", site.reloads() - reloads_before), ("drift", len(site.drift()))]

    return record


@contextmanager
def started(example: str, directory: Path) -> Iterator[Site]:
    """A site of this example that runs, without a member."""
    with Site(example, directory) as site:
        site.start()
        yield site


# --- clients ----------------------------------------------------------------------------------------------------


def write_to(site: Site) -> str:
    """Write over a new connection; return the address of the server that took the write."""
    with LineClient(site.balancer.address, site.port) as client:
        answer, _, address = client.ask("WRITE").partition(" ")
    if answer != "+OK":
        raise RequestFailedError(f"{address} answered {answer}")
    return address


def get(site: Site, path: str = "/") -> str:
    """Send a GET over a new connection; return the address of the server that answered."""
    status, _, headers = site.balancer.get(path=path)
    if status != 200:
        raise RequestFailedError(f"status {status}")
    return headers["x-backend-ip"]


@dataclass(frozen=True, slots=True)
class TlsClient:
    """Sends requests over TLS to a server that has to show this certificate."""

    address: str
    port: int
    certificate: Certificate
    source: str = ""

    def ask(self, host: str, *alpn: str) -> tuple[int, http.client.HTTPMessage]:
        """Send a GET over a new connection; return status and headers."""
        with self.connect(*alpn) as connection:
            return get_over(connection, host)

    def connect(self, *alpn: str) -> ssl.SSLSocket:
        """Connect and shake hands."""
        context = self.certificate.client_context()
        if alpn:
            context.set_alpn_protocols(list(alpn))
        origin = (self.source, 0) if self.source else None
        raw = socket.create_connection((self.address, self.port), 5, origin)
        return context.wrap_socket(raw, server_hostname=self.certificate.certificate.stem)

    def answering(self, host: str) -> str:
        """Send a GET; return the address of the server that answered."""
        status, headers = self.ask(host)
        if status != 200:
            raise RequestFailedError(f"status {status}")
        return str(headers["x-backend-ip"])


def get_over(connection: socket.socket, host: str) -> tuple[int, http.client.HTTPMessage]:
    """Send a GET over a connection; return status and headers."""
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status, answer.msg


# --- a database with one writer ---------------------------------------------------------------------------------


def join_database(site: Site, name: str) -> WebNode:
    """Join a database, with the agent beside it that answers the health check."""
    server = LineServer.start(port=5432)
    agent = WebServer.start(server.address, HEALTH_PORT)
    site.also(agent)
    return site.join(server, name)


def test_database_has_one_writer_at_a_time(tmp_path: Path, counted: Counted) -> None:
    """Each change of the first server moves the writes once, to one server. No write goes anywhere else.

    Only connections that are under way when the writer crashes fail.
    """
    with started("database", tmp_path) as site:
        second, third = join_database(site, "db2"), join_database(site, "db3")
        before, reloads = site.reloads(), [0]

        def count() -> None:
            reloads.append(site.reloads() - before - sum(reloads))

        with site.asked(partial(write_to, site)) as asks:
            fourth = join_database(site, "db4")
            count()
            site.edit(*TEXT_EDIT)
            site.edit("fastinter 500ms", "fastinter 400ms")
            site.break_and_mend()
            site.set_weight(50)
            count()
            site.leave(fourth)
            count()
            first = join_database(site, "db1")
            count()
            crashed = time.monotonic()
            site.crash(first)
            count()
            site.leave(second)
            count()
        counted(site, asks, before)
        assert asks.turns == [second.address, first.address, second.address, third.address]
        assert asks.failed_outside([(crashed - UNDER_WAY_S, asks.first_by(second, crashed))]) == []
        assert site.drift() == []
        backup_joins, edits, backup_leaves, first_comes, first_goes = 0, 2, 0, 1, 1
        assert reloads[1:] == [backup_joins, edits, backup_leaves, first_comes, first_goes, first_goes], site.reasons()


# --- Redis by role ----------------------------------------------------------------------------------------------


def tell(node: WebNode, word: str) -> None:
    """Send a word to the server itself."""
    with LineClient(node.address, 6379) as client:
        assert client.ask(word) == "+OK"


def join_redis(site: Site, word: str) -> WebNode:
    """Join a Redis that was given its role before."""
    server = LineServer.start(port=6379)
    with LineClient(server.address, 6379) as client:
        client.ask(word)
    return site.join(server)


def test_redis_writes_go_to_the_master_alone(tmp_path: Path, counted: Counted) -> None:
    """No replica is asked: not after it joins, not after a reload, not while there is no master."""
    with started("redis", tmp_path) as site:
        master, replica = join_redis(site, "PROMOTE"), join_redis(site, "DEMOTE")
        site.balancer.until(lambda: not site.balancer.daemon.server(replica.name, "redis")["up"], "the replica's check")
        before = site.reloads()
        without_master = []
        with site.asked(partial(write_to, site)) as asks:
            third = join_redis(site, "DEMOTE")
            site.edit(*TEXT_EDIT)
            site.edit("inter 1s fastinter", "inter 900ms fastinter")
            site.break_and_mend()
            site.set_weight(50)
            site.leave(replica)
            begin = time.monotonic()
            master.server.kill()
            tell(third, "PROMOTE")
            site.balancer.until(lambda: third.address in asks.servers_since(begin), "writes to the new master")
            without_master.append((begin - 1.0, time.monotonic()))
            site.crash(master)
            fourth = join_redis(site, "DEMOTE")
            site.leave(fourth)
        counted(site, asks, before)
        assert site.reloads() - before == 2, site.reasons()
        assert asks.turns == [master.address, third.address]
        assert [ask for ask in asks.made if "READONLY" in ask.failure] == []
        assert asks.failed_outside(without_master) == []
        assert site.drift() == []


# --- API servers ------------------------------------------------------------------------------------------------


def test_apiserver_passes_tls_through(tmp_path: Path, counted: Counted) -> None:
    """Joins, leaves and edits cost no request, and a crash only those under way, although a check comes every 10 s."""
    certificate = Certificate.make(tmp_path, "kubernetes", "127.0.0.1")
    pem = tmp_path / "kubernetes.pem"
    pem.write_text(certificate.bundle, encoding="ascii")
    with started("apiserver", tmp_path) as site:

        def join() -> WebNode:
            return site.join(WebServer.start(free_address(), 6443, pem))

        client = TlsClient(site.balancer.address, site.port, certificate)
        one, two = join(), join()
        before = site.reloads()
        with site.asked(partial(client.answering, "kubernetes")) as asks:
            three = join()
            site.edit(*TEXT_EDIT)
            site.edit("maxqueue 256", "maxqueue 128")
            site.break_and_mend()
            site.set_weight(50)
            site.leave(one)
            left = time.monotonic()
            site.balancer.until(lambda: three.address in asks.servers_since(left), "requests to the new server")
            crashed = time.monotonic()
            site.crash(two)
            join()
        counted(site, asks, before)
        assert site.reloads() - before == 2, site.reasons()
        assert one.address not in asks.servers_since(left)
        assert asks.failed_outside([(crashed - UNDER_WAY_S, crashed + 1.0)]) == []
        assert site.drift() == []


# --- a TLS edge -------------------------------------------------------------------------------------------------


def test_edge(tmp_path: Path, counted: Counted) -> None:
    """Two services behind TLS: redirect, HTTP/2, HSTS, compression, the limit for a client, and no failed request."""
    certificate = Certificate.make(tmp_path, "www.example.org", "127.0.0.1")
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "site.pem").write_text(certificate.bundle, encoding="ascii")
    with started("edge", tmp_path) as site:
        address = site.balancer.address
        client = TlsClient(address, port_here(443), certificate)
        api = site.balancer.add_web(role="api")
        one, two = site.join(WebServer.start()), site.join(WebServer.start())
        before = site.reloads()
        with site.asked(partial(client.answering, "www.example.org")) as asks:
            three = site.join(WebServer.start())
            assert client.answering("API.example.org:443") == api.address
            site.edit(*TEXT_EDIT)
            site.edit("downinter 500ms maxconn 500", "downinter 500ms maxconn 400")
            site.break_and_mend()
            site.set_weight(50)
            site.leave(one)
            site.crash(two)
            site.join(WebServer.start())
        counted(site, asks, before)
        assert site.reloads() - before == 2, site.reasons()
        assert three.address in asks.servers_since(0)
        assert asks.failed == ()
        assert site.drift() == []

        assert redirect_of(address, port_here(80)) == (301, "https://www.example.org/")
        with client.connect("h2", "http/1.1") as connection:
            assert connection.selected_alpn_protocol() == "h2"
            assert http2_status(connection, "www.example.org") == 200
        _, headers = client.ask("www.example.org")
        assert headers["strict-transport-security"] == "max-age=31536000"
        greedy = TlsClient(address, client.port, certificate, source=free_address())
        with greedy.connect() as connection:
            statuses = [get_over(connection, "www.example.org")[0] for _ in range(301)]
            assert set(statuses[:300]) == {200}
        assert greedy.ask("www.example.org")[0] == 429
        assert client.ask("www.example.org")[0] == 200, "another client is not limited"
        site.edit("stats refresh 7s", "stats refresh 8s")
        assert greedy.ask("www.example.org")[0] == 200, "a reload empties the table"


def redirect_of(address: str, port: int) -> tuple[int, str | None]:
    """Return status and target of the answer over plain HTTP."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    connection.request("GET", "/", headers={"Host": "www.example.org"})
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("Location")


def http2_status(connection: socket.socket, host: str) -> int:
    """Send one GET as HTTP/2 writes it (RFC 9113, with RFC 7541 for the headers); return the status."""
    get_https_root = b"\x82\x87\x84"  # three entries of the static table
    headers = get_https_root + b"\x41" + bytes([len(host)]) + host.encode()
    settings, end_of_all = frame(4, 0, 0, b""), 0x1 | 0x4
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + frame(1, end_of_all, 1, headers))
    received = connection.makefile("rb")
    for _ in itertools.repeat(None, 20):
        length, kind = int.from_bytes(received.read(3)), received.read(6)[0]
        payload = received.read(length)
        if kind == 1:
            return {0x88: 200}.get(payload[0], 0)
    return 0


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


# --- sticky cookies ---------------------------------------------------------------------------------------------


def visit(site: Site, cookie: str) -> tuple[str, str]:
    """Send a GET with this cookie; return the server's address and the cookie of the answer, the old one if none."""
    connection = http.client.HTTPConnection(site.balancer.address, site.balancer.haproxy.port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RequestFailedError(f"status {answer.status}")
        given = answer.getheader("Set-Cookie", cookie).partition(";")[0]
        return str(answer.getheader("x-backend-ip")), given
    finally:
        connection.close()


class Visitor:
    """A client that keeps its cookie."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.cookie = ""

    def ask(self) -> str:
        """Send a request; return the address of the server that answered."""
        server, self.cookie = visit(self._site, self.cookie)
        return server


def test_cookies_keep_a_visitor_at_one_server(tmp_path: Path, counted: Counted) -> None:
    """A visitor moves only when the server goes. Before HAProxy 2.8 each new server is a reload more."""
    with started("cookies", tmp_path) as site:
        one = site.join(WebServer.start())
        visitor = Visitor(site)
        site.balancer.wait_served(one)
        before, joins = site.reloads(), 0
        with site.asked(visitor.ask) as asks:
            others = [site.join(WebServer.start()), site.join(WebServer.start())]
            joins += len(others)
            site.edit(*TEXT_EDIT)
            site.edit("downinter 500ms", "downinter 400ms")
            site.break_and_mend()
            site.set_weight(50)
            site.leave(one)
            crashed = next(node for node in others if node.address == asks.turns[-1])
            site.crash(crashed)
            fourth = site.join(WebServer.start())
            joins += 1
            stranger = {visit(site, "")[0] for _ in range(8)}
        counted(site, asks, before)
        survivor = next(node for node in others if node is not crashed)
        assert asks.turns == [one.address, crashed.address, survivor.address] or asks.turns[-1] == fourth.address
        assert stranger == {survivor.address, fourth.address}
        assert asks.failed == ()
        assert site.drift() == []
        extra = 0 if version(site) >= COOKIES_AT_RUN_TIME else joins
        assert site.reloads() - before == 2 + extra, site.reasons()


def test_dynamic_cookies_are_given_to_a_server_that_joins(tmp_path: Path) -> None:
    """HAProxy 2.6 gives such a server no cookie at run time, so there its joining is a reload."""
    with Site("cookies", tmp_path) as site:
        dynamic = "httponly dynamic\n    dynamic-cookie-key between-balancers\n"
        text = site.source.replace("httponly\n", dynamic).replace(" cookie {{ server.name }}", "")
        site.balancer.edit_template(text)
        site.start()
        before = site.reloads()
        nodes = [site.join(WebServer.start()), site.join(WebServer.start())]
        given = dict(visit(site, "") for _ in range(8))
        assert given.keys() == {node.address for node in nodes}
        for node in nodes:
            assert re.fullmatch(r"SRV=[0-9a-f]{16}", given[node.address])
            assert {visit(site, given[node.address]) for _ in range(4)} == {(node.address, given[node.address])}
        assert site.reloads() - before == (0 if version(site) >= COOKIES_AT_RUN_TIME else 2)


def version(site: Site) -> tuple[int, int]:
    """Return the version of the HAProxy that runs."""
    major, minor, *_ = site.balancer.running().version.split(".")
    return int(major), int(minor.partition("-")[0])


# --- a lab's file -----------------------------------------------------------------------------------------------

RETRIES = """\
    # A server that dies costs no GET: the request goes to another server.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
"""


def test_lab(tmp_path: Path, counted: Counted) -> None:
    """With the lines for retries a crash costs no GET."""
    with started("lab", tmp_path) as site:
        one, two = site.join(WebServer.start()), site.join(WebServer.start())
        before = site.reloads()
        with site.asked(partial(get, site)) as asks:
            site.join(WebServer.start())
            site.edit(*TEXT_EDIT)
            site.edit(" check\n", " check inter 1s\n")
            site.break_and_mend()
            site.set_weight(50)
            site.leave(one)
            site.crash(two)
            site.join(WebServer.start())
        counted(site, asks, before)
        assert site.reloads() - before == 2, site.reasons()
        assert asks.failed == ()
        assert site.drift() == []


SECOND_BACKEND = """
backend sockets
    timeout tunnel 1h
{% for server in services[0].servers %}
    server {{ server.name }} {{ server.address }}:{{ server.port }} id {{ server.id }} weight {{ server.weight }} check
{% endfor %}
"""


def test_second_backend_over_the_same_servers_follows_by_reloads(tmp_path: Path) -> None:
    """A backend that is no service is text that depends on the servers: each join and each leave is a reload."""
    with Site("lab", tmp_path) as site:
        by_path = "    use_backend sockets if { path_beg /ws }\n    default_backend nodes\n"
        text = site.source.replace("    default_backend nodes\n", by_path) + SECOND_BACKEND
        site.balancer.edit_template(text)
        site.start()
        before = site.reloads()
        one, two = site.join(WebServer.start()), site.join(WebServer.start())
        assert site.reloads() - before == 2, site.reasons()
        assert {get(site, "/ws") for _ in range(8)} == {one.address, two.address}
        site.leave(one)
        assert {get(site, "/ws") for _ in range(8)} == {two.address}
        assert site.reloads() - before == 3, site.reasons()
        assert site.drift() == []


def test_lab_without_retries_loses_requests_until_the_check_fails(tmp_path: Path, counted: Counted) -> None:
    """The old file's behaviour: each request to the dead server fails, until three checks have failed."""
    with Site("lab", tmp_path) as site:
        assert site.source.count(RETRIES) == 1
        site.balancer.edit_template(site.source.replace(RETRIES, ""))
        site.start()
        site.join(WebServer.start())
        victim = site.join(WebServer.start())
        before = site.reloads()
        with site.asked(partial(get, site)) as asks:
            begin = time.monotonic()
            victim.server.kill()
            site.balancer.until(lambda: not site.balancer.daemon.server(victim.name)["up"], "the check to fail", 30)
            end = time.monotonic()
            site.crash(victim)
        counted(site, asks, before)
        assert asks.failed != ()
        assert asks.failed_outside([(begin - 1.0, end + 1.0)]) == []


@pytest.mark.parametrize(
    ("without", "word"),
    [
        ("    description rosterd:{{ structure }}\n", "description"),
        (" id {{ server.id }}", "id"),
        (' weight {{ 0 if server.state.value == "drain" else server.weight }}', "weight"),
    ],
)
def test_lab_as_first_ported_is_refused_with_the_remedy(tmp_path: Path, without: str, word: str) -> None:
    """`rosterd check` names each line that a port of the old file lacks."""
    with Site("lab", tmp_path) as site:
        assert site.source.count(without) == 1
        site.balancer.edit_template(site.source.replace(without, ""))
        found = site.balancer.daemon.command("check")
        assert found.returncode != 0
        assert re.search(rf"\b{word}\b", found.stderr)


def test_ported_examples_pass_rosterd_check(tmp_path: Path) -> None:
    """Every example that has a template is valid as it stands."""
    for template in sorted(EXAMPLES.glob("*/haproxy.cfg.j2")):
        directory = tmp_path / template.parent.name
        directory.mkdir()
        certificate = Certificate.make(directory, "www.example.org", "127.0.0.1")
        (directory / "tls").mkdir()
        (directory / "tls" / "site.pem").write_text(certificate.bundle, encoding="ascii")
        with Site(template.parent.name, directory) as site:
            found = site.balancer.daemon.command("check")
            assert (found.returncode, found.stderr) == (0, "")

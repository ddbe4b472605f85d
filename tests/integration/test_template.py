"""The shipped template in a real HAProxy, with real servers behind it and real clients before it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from compose.http import Answer, get, read_answer
from compose.load import Load, LoadPlan, failures
from rosterd.model import AdminState, Backend, Desired, Nothing, Server
from rosterd.plan import compare
from rosterd.proxy.apply import Applier, Checker
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.reload import Master, check
from rosterd.proxy.socket import HAProxySocket, observe
from rosterd.render import compile_template, render
from rosterd.settings import CheckSettings, ProxySettings, ServiceSettings
from tests.frozen import freeze
from tests.haproxy_process import BINARY, HAProxyProcess
from tests.loopback import free_port
from tests.web_server import WebServer

HAPROXY = Path(__file__).parents[2] / "haproxy"
TEMPLATE = HAPROXY / "haproxy.cfg.j2"
STRUCTURE = "0123456789abcdef"
NODES = ServiceSettings(name="nodes")
ANY_TEXT = "\U0001f980" * 200 + "\x00\r\n\"' #\\${HOME}\tbackend evil\n  server"
"""Of which nothing may become a word of the configuration."""


class Balancer:
    """A HAProxy whose configuration the shipped template makes."""

    def __init__(self, directory: Path) -> None:
        self.haproxy = HAProxyProcess(directory)
        address = self.haproxy.address
        self.stats_port = free_port(address)
        self.syslog_socket = directory / "log.sock"
        self.proxy = ProxySettings(
            http_bind=f"{address}:{self.haproxy.port}",
            stats_bind=f"{address}:{self.stats_port}",
            runtime_socket=self.haproxy.runtime_socket,
            syslog_socket=self.syslog_socket,
            errors_503_file=HAPROXY / "errors" / "503.http",
        )
        self.services: tuple[ServiceSettings, ...] = (NODES,)

    def text(self, *servers: Server, structure: str = STRUCTURE) -> str:
        """Return the configuration with these servers in the first service."""
        template = compile_template(TEMPLATE.read_text(encoding="utf-8"), str(TEMPLATE))
        backends = (Backend(self.services[0].name, servers),)
        return render(template, structure, self.proxy, self.services, backends)

    def start(self, *servers: Server) -> None:
        """Start HAProxy with these servers in the first service."""
        self.haproxy.config.write_text(self.text(*servers), encoding="utf-8")
        self.haproxy.start()

    async def ask(self, path: str, *headers: str, method: str = "GET") -> Answer:
        """Send one request on a new connection."""
        reader, writer = await asyncio.open_connection(self.haproxy.address, self.haproxy.port)
        try:
            head = (f"{method} {path} HTTP/1.1", "Host: balancer", *headers, "Content-Length: 0", "", "")
            writer.write("\r\n".join(head).encode())
            return await asyncio.wait_for(read_answer(reader), 10)
        finally:
            writer.close()


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    """A balancer, not started yet."""
    made = Balancer(tmp_path)
    yield made
    made.haproxy.stop()


@pytest.fixture
def web_server() -> Iterator[Callable[..., WebServer]]:
    """Starts web servers; ends them after the test."""
    with contextlib.ExitStack() as stack:

        def start(address: str | None = None) -> WebServer:
            server = WebServer.start(address)
            stack.callback(server.kill)
            return server

        yield start


def line_of(web: WebServer, number: int) -> Server:
    """Return the server line of a web server."""
    return Server(f"node-{number}", number, ip_address(web.address), web.port, 100, AdminState.READY)


async def test_the_text_passes_without_a_warning(balancer: Balancer, tmp_path: Path) -> None:
    """With no server, and with every kind of server and service."""
    server = Server("a", 1, ip_address("192.0.2.1"), 80, 100, AdminState.READY)
    kinds = (server, replace(server, name="b", id=2, state=AdminState.DRAIN, address=ip_address("2001:db8::1")))
    path = tmp_path / "checked.cfg"
    path.write_text(balancer.text(), encoding="utf-8")
    assert await check(BINARY, path, 10.0) == ()
    balancer.services = (
        NODES,
        ServiceSettings(name="api", hosts=("a.example", "b.example"), server_maxconn=10),
        ServiceSettings(name="db", mode="tcp", bind=":5432", server_maxconn=10),
        ServiceSettings(name="cache", mode="tcp", bind=":6379", check=CheckSettings(send=ANY_TEXT, expect=ANY_TEXT)),
    )
    balancer.proxy = balancer.proxy.model_copy(update={"maxconn": 100, "group": "daemon", "retry": "all"})
    path.write_text(balancer.text(*kinds, replace(server, name="c", id=3, state=AdminState.MAINT)), encoding="utf-8")
    assert await check(BINARY, path, 10.0) == ()
    assert path.read_text(encoding="utf-8").endswith("\n")


async def test_haproxy_runs_what_was_desired(balancer: Balancer) -> None:
    """Read back from HAProxy, nothing differs: states, weights, ids, addresses of both families, the structure."""
    ready = Server("ready", 7, ip_address("127.0.0.1"), 9, 256, AdminState.READY)
    servers = (
        ready,
        replace(ready, name="draining", id=8, weight=0, state=AdminState.DRAIN),
        replace(ready, name="off", id=2**31 - 1, weight=0, state=AdminState.MAINT),
        replace(ready, name="v6", id=9, address=ip_address("::1"), weight=1),
    )
    balancer.start(*servers)
    running = await observe(HAProxySocket(balancer.haproxy.runtime_socket, deadline_s=5.0))
    desired = Desired(STRUCTURE, (Backend("nodes", servers),), "")
    assert compare(desired, running, None) == Nothing()


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("www.example.org", "wide"),
        ("a.b.example.org", "wide"),
        ("WWW.Example.ORG:8080", "wide"),
        ("x.api.example.org", "api"),
        ("one.api.example.org", "one"),
        ("ONE.api.example.org:80", "one"),
        ("example.org", "nodes"),
        ("badexample.org", "nodes"),
        ("www.example.org.evil", "nodes"),
        ("[2001:db8::1]:80", "nodes"),
    ],
)
async def test_names_and_wildcards_lead_to_their_services(balancer: Balancer, host: str, service: str) -> None:
    """A name that is written out goes before wildcards, a longer one before a shorter one, whatever port and case."""
    balancer.services = (
        NODES,
        ServiceSettings(name="wide", hosts=("*.example.org",)),
        ServiceSettings(name="api", hosts=("*.API.example.org",)),
        ServiceSettings(name="one", hosts=("one.api.example.org",)),
    )
    text = balancer.text()
    for each in balancer.services:
        answer = f"    http-request return status 200 content-type text/plain string {each.name}\n"
        text = text.replace(f"\nbackend {each.name}\n", f"\nbackend {each.name}\n{answer}")
    balancer.haproxy.config.write_text(text, encoding="utf-8")
    balancer.haproxy.start()
    reader, writer = await asyncio.open_connection(balancer.haproxy.address, balancer.haproxy.port)
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        answered = await asyncio.wait_for(read_answer(reader), 10)
    finally:
        writer.close()
    assert answered.body.decode() == service


async def test_what_a_server_is_told_of_the_client(balancer: Balancer, web_server: Callable[..., WebServer]) -> None:
    """Its address, the port and protocol it came by, and nothing that the client made up about the last two."""
    balancer.start(line_of(web_server(), 1))
    head = (await balancer.ask("/", "X-Forwarded-Port: 1", "X-Forwarded-Proto: https")).body.decode().lower()
    assert "x-forwarded-for: 127." in head
    assert head.count("x-forwarded-port:") == 1
    assert f"x-forwarded-port: {balancer.haproxy.port}" in head
    assert head.count("x-forwarded-proto:") == 1
    assert "x-forwarded-proto: http\r" in head


async def test_stats_page(balancer: Balancer) -> None:
    """The page is at `/` of its port."""
    balancer.start()
    page = await raw(balancer.haproxy.address, balancer.stats_port, "GET / HTTP/1.0\r\n\r\n")
    assert page.startswith("HTTP/1.1 200")
    assert "Statistics Report for HAProxy" in page


async def test_requests_are_logged_to_the_syslog_socket(
    balancer: Balancer, web_server: Callable[..., WebServer]
) -> None:
    """One line for a request, in HAProxy's HTTP format, and none for the stats page."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(balancer.syslog_socket))
        syslog.settimeout(5)
        balancer.start(line_of(web_server(), 1))
        await raw(balancer.haproxy.address, balancer.stats_port, "GET / HTTP/1.0\r\n\r\n")
        await balancer.ask("/page")
        line = line_with_request(syslog)
    assert " traffic nodes/node-1 " in line
    assert line.rstrip().endswith('"GET /page HTTP/1.1"')


async def test_without_a_syslog_socket_it_serves_all_the_same(
    balancer: Balancer, web_server: Callable[..., WebServer]
) -> None:
    """The lines are lost, no request is."""
    balancer.start(line_of(web_server(), 1))
    assert not balancer.syslog_socket.exists()
    assert (await balancer.ask("/")).status == 200


async def test_a_service_without_servers_says_so(balancer: Balancer) -> None:
    """A 503 with a page that a person can read, and word to a machine when to try again."""
    balancer.start()
    answer = await balancer.ask("/")
    assert answer.status == 503
    assert b"No server is available for this service" in answer.body
    assert answer.headers["retry-after"] == "5"


async def test_only_ready_servers_get_requests(balancer: Balancer, web_server: Callable[..., WebServer]) -> None:
    """Those that drain or are in maintenance get none, and the weights share out the rest."""
    webs = [web_server() for _ in range(4)]
    states = (AdminState.READY, AdminState.READY, AdminState.DRAIN, AdminState.MAINT)
    lines = [replace(line_of(web, n), state=state) for n, (web, state) in enumerate(zip(webs, states, strict=True), 1)]
    balancer.start(replace(lines[0], weight=30), replace(lines[1], weight=10), *lines[2:])
    served = [(await balancer.ask("/")).headers["x-backend-ip"] for _ in range(40)]
    assert [served.count(web.address) for web in webs] == [30, 10, 0, 0]


async def test_a_server_on_ipv6_is_reached(balancer: Balancer, web_server: Callable[..., WebServer]) -> None:
    """Its address is written as HAProxy wants it."""
    balancer.start(line_of(web_server("::1"), 1))
    assert (await balancer.ask("/")).headers["x-backend-ip"] == "::1"


async def test_host_names_choose_the_service(balancer: Balancer, web_server: Callable[..., WebServer]) -> None:
    """Whatever their case and port; every other name gets the first service."""
    balancer.services = (NODES, ServiceSettings(name="api", hosts=("api.example",)))
    web = web_server()
    template = compile_template(TEMPLATE.read_text(encoding="utf-8"), str(TEMPLATE))
    backends = (Backend("nodes", ()), Backend("api", (line_of(web, 1),)))
    text = render(template, STRUCTURE, balancer.proxy, balancer.services, backends)
    balancer.haproxy.config.write_text(text, encoding="utf-8")
    balancer.haproxy.start()
    assert (await status_for(balancer, "api.example")) == 200
    assert (await status_for(balancer, "API.example:8080")) == 200
    assert (await status_for(balancer, "other.example")) == 503


# --- nothing is lost --------------------------------------------------------------------------------------------


async def test_a_killed_server_costs_no_get(balancer: Balancer, web_server: Callable[..., WebServer]) -> None:
    """Kill -9 of one of three under load: what it did not answer goes to another one, and soon it is out."""
    webs = [web_server() for _ in range(3)]
    balancer.start(*(line_of(web, n) for n, web in enumerate(webs, 1)))
    async with loaded(balancer, rate=300.0) as load:
        await asyncio.sleep(1.0)
        webs[0].kill()
        await asyncio.sleep(2.0)
    assert failures(load.samples, 0.0, time.monotonic()) == ()
    assert {sample.backend for sample in load.samples[-100:]} == {web.address for web in webs[1:]}


async def test_a_check_of_a_server_that_stands_still_ends_before_the_interval_does(
    balancer: Balancer, web_server: Callable[..., WebServer]
) -> None:
    """Such a server takes connections and never answers; waiting a whole interval three times would let it go on."""
    frozen = web_server()
    freeze(frozen.process.pid)
    balancer.services = (NODES.model_copy(update={"check": CheckSettings(interval_s=5.0, timeout_s=0.1)}),)
    balancer.start(line_of(frozen, 1))
    haproxy = HAProxySocket(balancer.haproxy.runtime_socket, deadline_s=5.0)
    fields: dict[str, str] = {}
    async with asyncio.timeout(10.0):
        while fields.get("check_status") != "L7TOUT":  # the shown status has a star while the next check runs
            await asyncio.sleep(0.05)
            header, row, *_ = (await haproxy.ask("show stat nodes 4 -1")).removeprefix("# ").splitlines()
            fields = dict(zip(header.split(","), row.split(","), strict=True))
    assert 100 <= int(fields["check_duration"]) < 4000


async def test_reloads_cost_no_request(balancer: Balancer, web_server: Callable[..., WebServer]) -> None:
    """Ten in a row, half of the requests on kept connections."""
    lines = [line_of(web_server(), n) for n in (1, 2)]
    balancer.start(*lines)
    master = Master(HAProxySocket(balancer.haproxy.master_socket, 5.0), 10.0)
    file = ConfigFile(balancer.haproxy.config, balancer.haproxy.config.parent)
    applier = Applier(file, Checker(BINARY, 10.0), master, time.monotonic)
    async with loaded(balancer, rate=300.0) as load:
        for number in range(10):
            await applier.reload(balancer.text(*lines, structure=f"{number:016x}"), 99)
            await asyncio.sleep(0.2)
    assert (await master.processes()).reloads == 10
    assert len(load.samples) > 300
    assert failures(load.samples, 0.0, time.monotonic()) == ()


@pytest.mark.parametrize(("retry", "begun"), [("safe", 1), ("none", 1), ("all", 4)])
async def test_how_often_a_post_is_begun(
    balancer: Balancer, web_server: Callable[..., WebServer], retry: str, begun: int
) -> None:
    """A server that took a request and died may have acted on it: only `all` sends it again, three times."""
    webs = [web_server() for _ in range(2)]
    balancer.proxy = balancer.proxy.model_copy(update={"retry": retry, "retries": 3})
    balancer.start(*(line_of(web, n) for n, web in enumerate(webs, 1)))
    assert (await balancer.ask("/die", method="POST")).status == 502
    assert await deaths(webs) == begun


async def test_a_get_is_tried_again_elsewhere(balancer: Balancer, web_server: Callable[..., WebServer]) -> None:
    """With three retries a safe request is sent four times in all before the client hears of it."""
    webs = [web_server() for _ in range(2)]
    balancer.proxy = balancer.proxy.model_copy(update={"retries": 3})
    balancer.start(*(line_of(web, n) for n, web in enumerate(webs, 1)))
    assert (await balancer.ask("/die")).status == 502
    assert await deaths(webs) == 4


async def test_a_post_goes_past_a_server_that_cannot_be_reached(
    balancer: Balancer, web_server: Callable[..., WebServer]
) -> None:
    """That server saw nothing of it, so no retry setting is in the way."""
    alive, dead = web_server(), web_server()
    balancer.start(line_of(alive, 1), line_of(dead, 2))
    dead.kill()
    for _ in range(4):
        answer = await balancer.ask("/", method="POST")
        assert (answer.status, answer.headers["x-backend-ip"]) == (200, alive.address)


# --- helpers ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def loaded(balancer: Balancer, rate: float) -> AsyncIterator[Load]:
    """Keep requests flowing meanwhile; bounded to ten seconds."""
    load = Load(LoadPlan(balancer.haproxy.address, balancer.haproxy.port, rate=rate, longest_s=10.0))
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stop()
        await running


async def status_for(balancer: Balancer, host: str) -> int:
    """Return the status that a request for this host gets."""
    reader, writer = await asyncio.open_connection(balancer.haproxy.address, balancer.haproxy.port)
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = await asyncio.wait_for(read_answer(reader), 10)
    writer.close()
    return answer.status


async def raw(address: str, port: int, question: str) -> str:
    """Return all that is answered to `question` until the other side closes."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(question.encode())
        return (await asyncio.wait_for(reader.read(), 10)).decode()
    finally:
        writer.close()


async def deaths(webs: list[WebServer]) -> int:
    """Return how many requests for `/die` reached a server."""
    return sum([int((await get(web.address, web.port, "/deaths", 5.0)).body) for web in webs])


def line_with_request(syslog: socket.socket) -> str:
    """Return the first logged line that tells of a request; what HAProxy says of its servers comes between."""
    for _ in range(20):
        line = syslog.recv(65536).decode()
        if " HTTP/1." in line:
            return line
    raise AssertionError("no request was logged")

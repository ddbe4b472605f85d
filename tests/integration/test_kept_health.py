"""Health over a reload, with a real HAProxy: what a check has found down gets nothing until its checks pass."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
import structlog.testing

from rosterd.errors import ConfigRefused, ProxyError
from rosterd.model import AdminState, Backend, Running, RunningServer, Server
from rosterd.proxy.apply import Applied, Applier, Checker
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.reload import Master
from rosterd.proxy.server_state import NO_HEALTH
from rosterd.proxy.socket import HAProxySocket, observe
from rosterd.render import compile_template, render
from rosterd.settings import CheckSettings, ProxySettings, ServiceSettings
from tests.haproxy_process import BINARY, HAProxyProcess
from tests.loopback import free_address, free_port

TEMPLATE = Path(__file__).parents[2] / "haproxy" / "haproxy.cfg.j2"
CHECK_PATH = "/check"
CHECK_LINE = b"PING\r\n"
WEB = ServiceSettings(name="nodes", check=CheckSettings(method="GET", path=CHECK_PATH, down_interval_s=0.1))
RELOADS = 5
REQUESTS = 400
"""At most, in one flow."""

WITHIN_S = 20.0
SLOW_S = 0.3


@dataclass
class Node:
    """A web server in this process. Its check answers slowly while it is ill; every other request is counted."""

    address: str = field(default_factory=free_address)
    port: int = 0
    is_ill: bool = False
    requests: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.create_task(self.serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes, and close the connection."""
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.answer(reader, writer)
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        if CHECK_PATH.encode() in head:
            status = 503 if self.is_ill else 200
            await asyncio.sleep(SLOW_S if self.is_ill else 0)
        else:
            self.requests += 1
            status = 500 if self.is_ill else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    async def has_requests(self) -> bool:
        """Return whether a request came that is no check."""
        return self.requests > 0

    def line(self, number: int, weight: int = 100) -> Server:
        """Return the server's line in the configuration."""
        return Server(f"node-{number}", number, ip_address(self.address), self.port, weight, AdminState.READY)


@dataclass
class Replica(Node):
    """A server of lines. While it is ill it takes connections and answers nothing. Lines that are no check count."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer line by line."""
        while line := await reader.readline():
            self.requests += line != CHECK_LINE
            if not self.is_ill:
                writer.write(b"+PONG\r\n")


@dataclass
class Agent(Node):
    """What a server says of itself to `agent-check`."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002
        """Say one word."""
        writer.write(b"down\n" if self.is_ill else b"up 50%\n")
        await writer.drain()


@asynccontextmanager
async def serving(*nodes: Node) -> AsyncIterator[None]:
    """Run these servers meanwhile."""
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            node.port = node.port or free_port(node.address)
            server = await asyncio.start_server(node.accept, node.address, node.port)
            stack.callback(server.close)
        yield
    tasks = [task for node in nodes for task in node.tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # for the transports to close


class Proxy:
    """A HAProxy that runs what a template makes, and what reloads it."""

    def __init__(self, directory: Path, service: ServiceSettings = WEB) -> None:
        self.haproxy = HAProxyProcess(directory)
        address = self.haproxy.address
        self.bind = f"{address}:{self.haproxy.port}"
        self.service = service
        self.settings = ProxySettings(
            config_file=self.haproxy.config,
            http_bind=self.bind,
            stats_bind=f"{address}:{free_port(address)}",
            runtime_bind=None,
            runtime_socket=self.haproxy.runtime_socket,
            syslog_socket=None,
            check_timeout_s=20,
        )
        self.source = TEMPLATE.read_text(encoding="utf-8")
        master = Master(HAProxySocket(self.haproxy.master_socket, deadline_s=5.0), reload_deadline_s=10.0)
        self.file = ConfigFile(self.haproxy.config, directory)
        self.applier = Applier(self.file, Checker(BINARY, 20.0), master, time.monotonic)
        self._number = 0

    def text(self, *servers: Server) -> str:
        """Return a configuration with these servers, another one each time."""
        self._number += 1
        template = compile_template(self.source, "template")
        backends = (Backend(self.service.name, servers),)
        return render(template, f"{self._number:016x}", self.settings, (self.service,), backends)

    def start(self, *servers: Server) -> None:
        """Start HAProxy with these servers."""
        self.file.recover()
        self.file.write(self.text(*servers))
        self.haproxy.start()

    async def reload(self, *servers: Server) -> Applied:
        """Reload HAProxy with these servers."""
        applied = await self.applier.reload(self.text(*servers), 99)

        async def new_worker_answers() -> bool:
            return (await self.running()).pid == applied.proof.worker_pid

        await until(new_worker_answers)  # the old one may answer for a last moment
        return applied

    async def running(self) -> Running:
        """Return what HAProxy runs."""
        return await observe(HAProxySocket(self.haproxy.runtime_socket, deadline_s=5.0))

    async def server(self, number: int, service: str = "") -> RunningServer:
        """Return a server as HAProxy runs it."""
        running = await self.running()
        return running.backends[service or self.service.name][f"node-{number}"]

    async def until(self, number: int, *, up: bool) -> None:
        """Wait until HAProxy has a server up or down."""

        async def is_so() -> bool:
            return (await self.server(number)).up is up

        await until(is_so)

    @property
    def version(self) -> tuple[int, int]:
        """The version of the HAProxy that runs."""
        found = re.search(r"(?m)^Version: (\d+)\.(\d+)", self.haproxy.ask("show info"))
        assert found
        return int(found[1]), int(found[2])

    def replaced(self, old: str, new: str) -> None:
        """Edit the template."""
        assert old in self.source
        self.source = self.source.replace(old, new)

    @asynccontextmanager
    async def flow(self, question: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> AsyncIterator[list[bytes]]:
        """Keep asking meanwhile, on a connection each; the first lines of the answers."""
        answers: list[bytes] = []
        is_over = asyncio.Event()

        async def ask() -> None:
            while len(answers) < REQUESTS and not is_over.is_set():
                reader, writer = await asyncio.open_connection(self.haproxy.address, self.haproxy.port)
                writer.write(question)
                answers.append(await asyncio.wait_for(reader.readline(), 5))
                writer.close()
                await writer.wait_closed()
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            try:
                yield answers
            finally:
                is_over.set()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # noqa: ASYNC110  HAProxy and its clients have no event for it
            await asyncio.sleep(0.02)


@contextmanager
def proxy_in(directory: Path, service: ServiceSettings = WEB) -> Iterator[Proxy]:
    """A proxy that is not started yet, and ended at last."""
    made = Proxy(directory, service)
    try:
        yield made
    finally:
        made.haproxy.stop()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy for web servers."""
    with proxy_in(tmp_path) as made:
        yield made


async def test_no_request_reaches_a_server_after_a_reload_that_was_down_before(proxy: Proxy) -> None:
    """Its check takes 0.3 s to fail: without its health, the new worker sends it requests for as long."""
    ill, well = Node(is_ill=True), Node()
    async with serving(ill, well):
        lines = (ill.line(1), well.line(2))
        proxy.start(*lines)
        await proxy.until(1, up=False)
        ill.requests = 0
        async with proxy.flow() as answers:
            for _ in range(RELOADS):
                applied = await proxy.reload(*lines)
                assert applied.kept_down == 1
                await asyncio.sleep(0.4)
        assert len(answers) > 20 * RELOADS / 2
        assert set(answers) == {b"HTTP/1.1 200 X\r\n"}
        assert ill.requests == 0


async def test_no_connection_reaches_a_replica_after_a_reload_that_was_down_before(tmp_path: Path) -> None:
    """A replica that takes connections and answers nothing: its check fails by time-out."""
    check = CheckSettings(send=CHECK_LINE.decode(), expect="+PONG", timeout_s=0.5)
    service = ServiceSettings(name="cache", mode="tcp", bind=":1", check=check)
    with proxy_in(tmp_path, service) as proxy:
        proxy.service = service.model_copy(update={"bind": proxy.bind})
        ill, well = Replica(is_ill=True), Replica()
        async with serving(ill, well):
            lines = (ill.line(1), well.line(2))
            proxy.start(*lines)
            await proxy.until(1, up=False)
            ill.requests = 0
            async with proxy.flow(b"GET key\r\n") as answers:
                for _ in range(RELOADS):
                    assert (await proxy.reload(*lines)).kept_down == 1
                    await asyncio.sleep(0.4)
            assert len(answers) > 10 * RELOADS
            assert set(answers) == {b"+PONG\r\n"}
            assert ill.requests == 0


async def test_a_server_that_recovers_during_the_reload_comes_back(proxy: Proxy) -> None:
    """The server has to pass its checks, and gets requests then."""
    ill, well = Node(is_ill=True), Node()
    async with serving(ill, well):
        lines = (ill.line(1), well.line(2))
        proxy.start(*lines)
        await proxy.until(1, up=False)
        ill.is_ill = False
        assert (await proxy.reload(*lines)).kept_down in {0, 1}  # a check may have passed twice already
        await proxy.until(1, up=True)
        ill.requests = 0
        async with proxy.flow() as answers:
            await until(ill.has_requests)
        assert set(answers) == {b"HTTP/1.1 200 X\r\n"}


async def test_weight_and_drain_of_the_text_count(proxy: Proxy) -> None:
    """The state file has no say in them, whatever they were before."""
    ill, other, well = Node(is_ill=True), Node(is_ill=True), Node()
    async with serving(ill, other, well):
        proxy.start(ill.line(1), other.line(2, weight=0), well.line(3))
        await proxy.until(1, up=False)
        await proxy.until(2, up=False)
        proxy.haproxy.ask("set server nodes/node-1 state drain")
        assert (await proxy.reload(ill.line(1, weight=0), other.line(2, weight=7), well.line(3))).kept_down == 2
        first, second = await proxy.server(1), await proxy.server(2)
        assert (first.weight, first.state, first.up) == (0, AdminState.READY, False)
        assert (second.weight, second.state, second.up) == (7, AdminState.READY, False)


async def test_a_server_in_maintenance_is_not_kept_down(proxy: Proxy) -> None:
    """What its check would find is unknown, and its line says that it is disabled."""
    one, well = Node(), Node()
    async with serving(one, well):
        proxy.start(one.line(1), well.line(2))
        proxy.haproxy.ask("set server nodes/node-1 state maint")
        assert (await proxy.reload(one.line(1), well.line(2))).kept_down == 0


async def test_a_server_that_waits_for_its_first_check_waits_for_it_after_the_reload(proxy: Proxy) -> None:
    """The server was added at run time without weight; the text of the reload gives it its weight at once."""
    slow, well = Node(is_ill=True), Node()
    async with serving(slow, well):
        proxy.start(well.line(2))
        command = (
            f"add server nodes/node-1 {slow.address}:{slow.port} check inter 10s id 1 weight 0;"
            "enable server nodes/node-1;enable health nodes/node-1"
        )
        proxy.haproxy.ask(command)
        async with proxy.flow():
            assert (await proxy.reload(slow.line(1), well.line(2))).kept_down == 1
            await asyncio.sleep(2 * SLOW_S)
        assert (await proxy.server(1)).weight == 100
        assert slow.requests == 0


async def test_the_file_says_nothing_after_the_reload(proxy: Proxy) -> None:
    """A HAProxy that its supervisor starts must not take a server for down that was so an hour ago."""
    proxy.service = WEB.model_copy(update={"check": WEB.check.model_copy(update={"rise": 100})})
    ill, well = Node(is_ill=True), Node()
    async with serving(ill, well):
        lines = (ill.line(1), well.line(2))
        proxy.start(*lines)
        await proxy.until(1, up=False)
        ill.is_ill = False  # by its checks it would be up after ten seconds
        assert (await proxy.reload(*lines)).kept_down == 1
        assert not (await proxy.server(1)).up
        assert proxy.file.server_state.read_text() == NO_HEALTH
        proxy.haproxy.stop()
        proxy.haproxy.start()
        assert (await proxy.server(1)).up


async def test_the_file_says_nothing_after_a_reload_that_failed(proxy: Proxy) -> None:
    """The state file is emptied however the reload ends."""
    ill, well = Node(is_ill=True), Node()
    async with serving(ill, well):
        proxy.start(ill.line(1), well.line(2))
        await proxy.until(1, up=False)
        with socket.create_server((free_address(), 0)) as taken:
            address, port = taken.getsockname()
            proxy.replaced("frontend stats\n", f"frontend other\n    bind {address}:{port}\nfrontend stats\n")
            with pytest.raises(ProxyError):
                await proxy.reload(ill.line(1), well.line(2))
        assert proxy.file.server_state.read_text() == NO_HEALTH
        assert (await proxy.server(1)).up is False


async def test_an_edit_that_takes_the_check_away_leaves_no_server_down_for_ever(proxy: Proxy) -> None:
    """Without a check nothing would bring the server up."""
    ill, well = Node(is_ill=True), Node()
    async with serving(ill, well):
        proxy.start(ill.line(1), well.line(2))
        await proxy.until(1, up=False)
        proxy.replaced("default-server check inter", "default-server inter")
        proxy.replaced(" observe layer4 error-limit 3 on-error mark-down", "")
        assert (await proxy.reload(ill.line(1), well.line(2))).kept_down == 0
        assert (await proxy.server(1)).up


async def test_an_edit_of_the_check_is_not_undone(proxy: Proxy) -> None:
    """A check that asked at a wrong port: with the right one the server comes up."""
    node, well = Node(), Node()
    async with serving(node, well):
        proxy.replaced("default-server check inter", f"default-server check port {free_port(node.address)} inter")
        proxy.start(node.line(1), well.line(2))
        await proxy.until(1, up=False)
        await proxy.until(2, up=False)
        proxy.source = TEMPLATE.read_text(encoding="utf-8")
        assert (await proxy.reload(node.line(1), well.line(2))).kept_down == 2
        await proxy.until(1, up=True)


@pytest.mark.parametrize("state", ["up", "fully-up", "down"])
async def test_health_goes_before_the_initial_state(proxy: Proxy, state: str) -> None:
    """HAProxy 3.1 and newer have `init-state`, for servers of which nothing is known; older ones refuse the word."""
    ill, well = Node(is_ill=True), Node()
    async with serving(ill, well):
        proxy.start(ill.line(1), well.line(2))
        await proxy.until(1, up=False)
        proxy.replaced("default-server check inter", f"default-server init-state {state} check inter")
        if proxy.version < (3, 1):
            with pytest.raises(ConfigRefused, match="init-state"):
                await proxy.reload(ill.line(1), well.line(2))
            return
        ill.requests = 0
        async with proxy.flow():
            assert (await proxy.reload(ill.line(1), well.line(2))).kept_down == 1
            await asyncio.sleep(2 * SLOW_S)
        assert ill.requests == 0
        ill.is_ill = False
        await proxy.until(1, up=True)


async def test_another_address_starts_without_the_health_of_the_old_one(proxy: Proxy) -> None:
    """The name alone does not make it the same server."""
    ill, new, well = Node(is_ill=True), Node(), Node()
    async with serving(ill, new, well):
        proxy.start(ill.line(1), well.line(2))
        await proxy.until(1, up=False)
        assert (await proxy.reload(new.line(1), well.line(2))).kept_down == 0
        assert (await proxy.server(1)).up


async def test_servers_of_the_template_are_kept_down_too(proxy: Proxy) -> None:
    """A backend that is no service of ours has health as well, and so has a server that tracks another one."""
    node = Node()
    async with serving(node):
        at = f"{free_address()}:9"
        own = f"\nbackend own\n    server node-1 {at} check inter 100ms\n    server node-2 {at} track own/node-1\n"
        proxy.source += own
        proxy.start(node.line(1))

        async def is_down() -> bool:
            return not (await proxy.server(2, "own")).up

        await until(is_down)
        proxy.replaced("check inter 100ms", "check inter 10s fall 2")  # after the reload no check fails soon
        assert (await proxy.reload(node.line(1))).kept_down == 1
        assert not (await proxy.server(1, "own")).up
        assert not (await proxy.server(2, "own")).up


async def test_a_server_that_its_agent_has_down_stays_down_until_the_agent_says_up(proxy: Proxy) -> None:
    """Also while its check passes. The percentage is then one of the configured weight, which no row changes."""
    node, well = Node(), Node()
    agent = Agent(node.address, is_ill=True)
    agent.port = free_port(agent.address)
    async with serving(node, well, agent):
        # The second server has no agent: one that cannot be asked changes nothing.
        proxy.replaced("default-server check inter", f"default-server agent-check agent-port {agent.port} check inter")
        lines = (node.line(1), well.line(2))
        proxy.start(*lines)
        await proxy.until(1, up=False)
        node.requests = 0
        async with proxy.flow():
            assert (await proxy.reload(*lines)).kept_down == 1
            await asyncio.sleep(3 * SLOW_S)
        assert node.requests == 0
        agent.is_ill = False
        await proxy.until(1, up=True)
        assert "50 (initial 100)" in proxy.haproxy.ask("get weight nodes/node-1")


async def test_health_is_kept_by_way_of_a_worker_in_between(proxy: Proxy) -> None:
    """Both of the reloads keep the health."""
    ill, well = Node(is_ill=True), Node()
    async with serving(ill, well):
        lines = (ill.line(1), well.line(2))
        proxy.start(*lines)
        await proxy.until(1, up=False)
        ill.requests = 0
        async with proxy.flow() as answers:
            applied = await proxy.applier.reload_by(proxy.text(*lines), proxy.text(*lines), 99)
            await asyncio.sleep(2 * SLOW_S)
        assert applied.kept_down == 1
        assert set(answers) == {b"HTTP/1.1 200 X\r\n"}
        assert ill.requests == 0


async def test_a_template_with_state_lines_of_its_own_keeps_them(proxy: Proxy, tmp_path: Path) -> None:
    """Its author decides which state HAProxy reads; nothing is written then."""
    node = Node()
    async with serving(node):
        own = tmp_path / "own-state"
        own.write_text("1\n")
        proxy.replaced("    max-spread-checks", f"    server-state-file {own}\n    max-spread-checks")
        proxy.start(node.line(1))
        proxy.file.server_state.unlink()
        assert (await proxy.reload(node.line(1))).kept_down == 0
        assert not proxy.file.server_state.exists()
        assert proxy.text().count("server-state-file") == 1


async def test_a_state_file_that_cannot_be_written_fails_no_reload(proxy: Proxy) -> None:
    """The log has the loss, and HAProxy checks its servers as it always does."""
    node = Node()
    async with serving(node):
        proxy.start(node.line(1))
        proxy.file.server_state.unlink()
        proxy.file.server_state.mkdir()
        with structlog.testing.capture_logs() as logs:
            assert (await proxy.reload(node.line(1))).kept_down == 0
        assert logs[0]["event"] == "reload.health_lost"
        assert str(proxy.file.server_state) in logs[0]["error"]

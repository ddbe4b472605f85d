"""What rosterd relies on when it changes servers at run time: on the fake where that can be, and on a real HAProxy."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import http.client
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from rosterd.errors import ProxyError
from rosterd.model import (
    Action,
    AddServer,
    AdminState,
    Backend,
    CutSessions,
    Desired,
    EnableChecks,
    Nothing,
    RemoveServer,
    RunningServer,
    Runtime,
    Server,
    SetEndpoint,
    SetState,
    SetWeight,
)
from rosterd.observed import Observed
from rosterd.plan import Means, compare
from rosterd.proxy.actions import MAX_OPTIONS, Busy, Done, Refused, Result, is_word, lines_of
from rosterd.proxy.commands import OBSERVE_WITH_SESSIONS
from rosterd.proxy.socket import HAProxySocket, carry_out, observe
from rosterd.proxy.versions import version_of
from rosterd.render import compile_template, render
from rosterd.server_lines import ServerLines
from rosterd.settings import ProxySettings, ServiceSettings
from tests.balancer import TEMPLATE
from tests.certificate import Certificate
from tests.haproxy_fake import HAProxyFake, Mood
from tests.haproxy_process import HAProxyProcess, running_haproxy
from tests.loopback import free_address
from tests.web_server import WebServer

Subject = HAProxyFake | HAProxyProcess
WITHIN_S = 10.0


@pytest.fixture(params=["fake 2.6", "fake 3.0", "fake 3.2", "real"])
async def haproxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """A HAProxy with a backend `nodes` without servers."""
    kind, _, version = str(request.param).partition(" ")
    if kind == "real":
        with running_haproxy(tmp_path, "option httpchk HEAD /") as process:
            yield process
        return
    fake = HAProxyFake(tmp_path, version)
    fake.config.write_text(fake.text("first"), encoding="utf-8")
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[HAProxyProcess]:
    """A real HAProxy with such a backend."""
    with running_haproxy(tmp_path, "option httpchk HEAD /") as process:
        yield process


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server."""
    server = WebServer.start()
    yield server
    server.kill()


def runtime_of(haproxy: Subject) -> HAProxySocket:
    """Return its runtime socket."""
    return HAProxySocket(haproxy.runtime_socket, deadline_s=5.0)


async def told(haproxy: Subject, *actions: Action) -> list[Result]:
    """Have the HAProxy carry these out."""
    results, _ = await carry_out(runtime_of(haproxy), actions)
    return list(results)


async def server_of(haproxy: Subject, name: str = "web") -> RunningServer | None:
    """Return a server as it runs; None when there is no such one."""
    return (await observe(runtime_of(haproxy))).backends.get("nodes", {}).get(name)


def server_at(address: str, port: int, name: str = "web") -> Server:
    """Return a server there, with weight 50."""
    return Server(name, 7, ip_address(address), port, 50, AdminState.READY)


CHECK = ("check", "inter", "1s")


async def has_sessions(haproxy: Subject) -> bool:
    """Whether the server has one request under way."""
    return (await observe(runtime_of(haproxy), OBSERVE_WITH_SESSIONS)).sessions == {("nodes", "web"): 1}


async def is_removed(haproxy: Subject) -> bool:
    """Ask again to remove the server; whether it is gone."""
    (result,) = await told(haproxy, RemoveServer("nodes", "web"))
    assert result in (Busy(), Done())
    return result == Done()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so, with a deadline."""
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.01)


async def until_checked(haproxy: Subject) -> RunningServer:
    """Wait until the server's first check has spoken."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            server = await server_of(haproxy)
            if server is not None and server.checked:
                return server
            await asyncio.sleep(0.005)


async def test_a_server_from_its_addition_to_its_end(haproxy: Subject, web: WebServer) -> None:
    """It comes without weight, gets one, changes, goes into maintenance and away; each step is seen."""
    added = AddServer("nodes", server_at(web.address, web.port), CHECK)
    assert await told(haproxy, added) == [Done()]
    found = await until_checked(haproxy)
    assert (found.id, str(found.address), found.port) == (7, web.address, web.port)
    assert (found.weight, found.state, found.up) == (0, AdminState.READY, True)

    assert await told(haproxy, SetWeight("nodes", "web", 9)) == [Done()]
    changed = await server_of(haproxy)
    assert changed is not None
    assert changed.weight == 9
    gone: list[Action] = [
        SetWeight("nodes", "web", 0),
        SetState("nodes", "web", AdminState.MAINT),
        RemoveServer("nodes", "web"),
    ]
    assert await told(haproxy, *gone) == [Done(), Done(), Done()]
    assert await server_of(haproxy) is None
    assert await told(haproxy, RemoveServer("nodes", "web")) == [Done()]


async def test_what_is_refused_is_told_and_the_rest_is_done(haproxy: Subject, web: WebServer) -> None:
    """Each action has its own result, in order."""
    added = AddServer("nodes", server_at(web.address, web.port), CHECK)
    results = await told(
        haproxy,
        added,
        replace(added, server=replace(added.server, id=8)),
        SetWeight("nodes", "web", 999),
        RemoveServer("nodes", "web"),
        SetWeight("nodes", "nobody", 1),
        SetWeight("nodes", "web", 3),
    )
    assert results == [
        Done(),
        Refused("Already exists a server with the same name in backend."),
        Refused("Absolute weight can only be between 0 and 256 inclusive."),
        Refused("Only servers in maintenance mode can be deleted."),
        Refused("No such server."),
        Done(),
    ]


@pytest.mark.parametrize("mood", [Mood.CUT_SHORT, Mood.GARBLED, Mood.SILENT])
async def test_an_answer_that_is_none_is_an_error(tmp_path: Path, mood: Mood) -> None:
    """What was done is not known then, and nothing is taken for done."""
    fake = HAProxyFake(tmp_path, "2.6")
    fake.config.write_text(fake.text("first"), encoding="utf-8")
    await fake.start()
    fake.mood = mood
    with pytest.raises(ProxyError):
        await carry_out(
            HAProxySocket(fake.runtime_socket, deadline_s=0.2), [AddServer("nodes", server_at("127.0.0.1", 1), CHECK)]
        )
    await fake.stop()


# --- only on a real one -----------------------------------------------------------------------------------------


async def test_an_endpoint_changes(real: HAProxyProcess, web: WebServer) -> None:
    """Address and port in one command; the same again is fine."""
    assert await told(real, AddServer("nodes", server_at("127.0.0.1", 1), CHECK)) == [Done()]
    move = SetEndpoint("nodes", "web", ip_address(web.address), web.port)
    assert await told(real, move, move) == [Done(), Done()]
    found = await server_of(real)
    assert found is not None
    assert (str(found.address), found.port) == (web.address, web.port)


async def test_a_check_that_nobody_switched_on_is_seen(real: HAProxyProcess, web: WebServer) -> None:
    """As after an addition that was cut short; it can still be switched on, and speaks then."""
    real.ask(f"add server nodes/web {web.address}:{web.port} id 7 weight 0 check inter 1s")
    real.ask("enable server nodes/web")
    found = await server_of(real)
    assert found is not None
    assert (found.check_off, found.checked) == (True, False)
    assert await told(real, EnableChecks("nodes", "web")) == [Done()]
    assert (await until_checked(real)).check_off is False


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_an_addition_that_is_cut_short_is_made_good(real: HAProxyProcess, web: WebServer, cut: int) -> None:
    """After each of its lines: it is nobody's hand, has no weight before its check, and serves in the end."""
    server = server_at(web.address, web.port)
    line = f"    server web {web.address}:{web.port} id 7 check inter 1s\n"
    wanted = Desired("first", (Backend("nodes", (server,)),), f"backend nodes\n{line}")
    lines = lines_of(AddServer("nodes", server, CHECK))
    assert len(lines) == 4
    for one in lines[:cut]:
        real.ask(one)
    observed, found = Observed(0), None
    for _ in range(300):
        running = await observe(runtime_of(real))
        observed.see(running)
        assert observed.by_hand == {}
        found = running.backends["nodes"]["web"]
        assert found.checked or found.weight == 0 or found.state is AdminState.MAINT
        plan = compare(wanted, running, Means())
        if isinstance(plan, Nothing):
            break
        assert isinstance(plan, Runtime)
        if plan.actions:
            assert all(result == Done() for result in await told(real, *plan.actions))
        await asyncio.sleep(0.01)
    assert found is not None
    assert (found.weight, found.state, found.up) == (server.weight, AdminState.READY, True)


async def test_a_check_that_was_put_off_comes_at_once_when_the_server_is_added_anew(
    real: HAProxyProcess, web: WebServer
) -> None:
    """It came due before it was switched on, and HAProxy would look again after `inter` only."""
    real.ask(f"add server nodes/web {web.address}:{web.port} id 7 weight 0 check inter 1h")
    real.ask("enable server nodes/web")
    await asyncio.sleep(0.3)  # more than what first checks are spread over
    await told(real, EnableChecks("nodes", "web"))
    await asyncio.sleep(0.3)
    found = await server_of(real)
    assert found is not None
    assert (found.checked, found.checking, found.check_off) == (False, False, False)
    again: list[Action] = [SetState("nodes", "web", AdminState.MAINT), RemoveServer("nodes", "web")]
    assert await told(real, *again, AddServer("nodes", server_at(web.address, web.port), CHECK)) == [Done()] * 3
    assert (await until_checked(real)).up


async def test_a_server_that_answers_no_check_is_down(real: HAProxyProcess) -> None:
    """Its first check speaks as well, and HAProxy itself keeps traffic away."""
    assert await told(real, AddServer("nodes", server_at(free_address(), 1), CHECK)) == [Done()]
    assert (await until_checked(real)).up is False


async def test_a_server_is_busy_until_its_last_request_has_ended(real: HAProxyProcess, web: WebServer) -> None:
    """The server goes after its last request. Meanwhile the request is counted, and in the end it has its answer.

    HAProxy 2.8 keeps the idle connection of that request for three times `pool-purge-delay`.
    """
    options = (*CHECK, "pool-purge-delay", "500ms")
    assert await told(real, AddServer("nodes", server_at(web.address, web.port), options)) == [Done()]
    await until_checked(real)
    assert await told(real, SetWeight("nodes", "web", 50)) == [Done()]
    with long_request(real, "/wait/1") as answer:
        await eventually(lambda: has_sessions(real))
        out: list[Action] = [
            SetWeight("nodes", "web", 0),
            SetState("nodes", "web", AdminState.MAINT),
            RemoveServer("nodes", "web"),
        ]
        assert await told(real, *out) == [Done(), Done(), Busy()]
        await asyncio.to_thread(answer.join)
    await eventually(lambda: is_removed(real))
    assert await server_of(real) is None
    assert answer.status == "200"


async def test_a_cut_ends_what_runs(real: HAProxyProcess, web: WebServer) -> None:
    """The server can be removed at once afterwards."""
    assert await told(real, AddServer("nodes", server_at(web.address, web.port), CHECK)) == [Done()]
    await until_checked(real)
    await told(real, SetWeight("nodes", "web", 50))
    with long_request(real, "/wait/20"):
        await eventually(lambda: has_sessions(real))
        await told(real, SetState("nodes", "web", AdminState.MAINT), CutSessions("nodes", "web", 1))
        await eventually(lambda: is_removed(real))
    assert await server_of(real) is None


async def test_the_longest_line_that_is_sent_is_survived(real: HAProxyProcess) -> None:
    """HAProxy 2.6 dies of 64 words, master and all; with as many options as there may ever be it does not."""
    options = ("check", *("inter", "1s") * ((MAX_OPTIONS - 1) // 2))
    assert len(options) == MAX_OPTIONS
    assert await told(real, AddServer("nodes", server_at("127.0.0.1", 1), options)) == [Done()]
    assert await server_of(real) is not None


async def test_a_long_batch_has_a_reply_for_each_command(haproxy: Subject, web: WebServer) -> None:
    """HAProxy up to 3.0 resets the connection of a client that closes its half behind more than it has read."""
    assert await told(haproxy, AddServer("nodes", server_at(web.address, web.port), CHECK)) == [Done()]
    weights = [SetWeight("nodes", "web", number % 200) for number in range(4_000)]
    for _ in range(20):
        assert set(await told(haproxy, *weights)) == {Done()}


@pytest.mark.parametrize("mark", "!$%&*+>=?@^`{|}~[](),./:_-")
async def test_a_word_of_the_alphabet_is_read_as_it_is(real: HAProxyProcess, mark: str) -> None:
    """HAProxy quotes the name of a protocol that it does not know."""
    for word in (f"a{mark}b", f"{mark}ab", f"ab{mark}"):
        assert is_word(word)
        assert await told(real, AddServer("nodes", server_at("127.0.0.1", 1), ("proto", word))) == [
            Refused(f"'proto' :  unknown MUX protocol '{word}'.")
        ]


class TestSameAsInTheFile:
    """A server that is added at run time is the server that the file would have given."""

    SERVICE = ServiceSettings(name="nodes", server_maxconn=17)
    COUNTERS = frozenset(
        {"status", "lastchg", "downtime", "check_status", "check_code", "check_duration", "last_chk", "check_desc"}
        | {"chkdown", "chkfail", "hanafail", "act", "bck", "check_health", "agg_server_status", "throttle"}
        | {"agg_server_check_status", "agg_check_status", "stot", "lastsess", "qtime", "ctime", "rtime", "ttime"}
        | {"srid"}
    )
    """What tells the past, not the configuration; `srid` counts, from 3.0 on, how often a name was given anew."""

    @pytest.mark.parametrize("server_options", ["", " backup maxqueue 9 send-proxy pool-max-conn 5"])
    async def test_field_by_field(self, tmp_path: Path, web: WebServer, server_options: str) -> None:
        """All that `show servers state` and `show stat` tell of it, with the shipped template and with more options."""
        haproxy = HAProxyProcess(tmp_path)
        server = server_at(web.address, web.port)
        source = TEMPLATE.read_text(encoding="utf-8").replace(
            " id {{ server.id }}", f" id {{{{ server.id }}}}{server_options}"
        )
        text = render(
            compile_template(source, "template"),
            "0123456789abcdef",
            self.proxy(haproxy),
            [self.SERVICE],
            [Backend("nodes", (server,))],
        )
        haproxy.config.write_text(text, encoding="utf-8")
        haproxy.start()
        try:
            await until_checked(haproxy)
            from_file = self.rows(haproxy)
            version = (await observe(runtime_of(haproxy))).version
            addition = ServerLines(text, version).addition("nodes", "web")
            assert addition.obstacle == ""
            gone: list[Action] = [SetState("nodes", "web", AdminState.MAINT), RemoveServer("nodes", "web")]
            assert await told(haproxy, *gone) == [Done(), Done()]
            assert await told(haproxy, AddServer("nodes", server, addition.options)) == [Done()]
            await until_checked(haproxy)
            assert await told(haproxy, SetWeight("nodes", "web", server.weight)) == [Done()]
            await asyncio.sleep(0.05)
            added = self.rows(haproxy)
        finally:
            haproxy.stop()
        assert added == from_file
        assert len(added) > 60

    async def test_connections_are_kept(self, tmp_path: Path) -> None:
        """Requests of one client connection share one connection to the server, in both cases."""
        webs = [WebServer.start() for _ in range(2)]
        with running_haproxy(tmp_path, f"server web {webs[0].address}:{webs[0].port} id 7") as haproxy:
            text = haproxy.text("first", f"server added {webs[1].address}:{webs[1].port} id 8")
            version = (await observe(runtime_of(haproxy))).version
            options = ServerLines(text, version).addition("nodes", "added").options
            server = replace(server_at(webs[1].address, webs[1].port, "added"), id=8)
            added = await told(haproxy, AddServer("nodes", server, options), SetWeight("nodes", "added", 1))
            assert added == [Done(), Done()]
            with contextlib.closing(http.client.HTTPConnection(haproxy.address, haproxy.port, timeout=5)) as client:
                for _ in range(40):
                    client.request("GET", "/")
                    assert client.getresponse().read()
            table = [line for line in haproxy.ask("show stat -1 4 -1").removeprefix("# ").splitlines() if line]
            connects = {row["svname"]: int(row["connect"]) for row in csv.DictReader(table)}
        for web in webs:
            web.kill()
        assert connects.keys() == {"web", "added"}
        assert max(connects.values()) < 5, connects

    @pytest.mark.parametrize("sni", ["", " sni str(web.example)"])
    async def test_tls_is_spoken_as_from_the_file(self, tmp_path: Path, sni: str) -> None:
        """Checks and requests reach a server that speaks nothing but TLS.

        Since HAProxy 3.3 the Host header of a request is the name that the server must prove, `verifyhost` or not, on
        a line without `sni`. The name here is that of the server's certificate only where the line has `sni`.
        """
        certificate = Certificate.make(tmp_path, "web.example", "127.0.0.1")
        servers = [await tls_server(certificate) for _ in range(2)]
        address, port = servers[1].sockets[0].getsockname()
        lines = [
            "option httpchk HEAD /",
            "default-server check inter 1s",
            f"default-server ssl verify required ca-file {certificate.certificate} verifyhost web.example{sni}",
            "server web {}:{} id 7".format(*servers[0].sockets[0].getsockname()),
        ]
        with running_haproxy(tmp_path, *lines) as haproxy:
            await eventually(partial(is_up, haproxy, "web"))
            text = haproxy.text("first", *lines, f"server added {address}:{port} id 8")
            version = (await observe(runtime_of(haproxy))).version
            options = ServerLines(text, version).addition("nodes", "added").options
            server = replace(server_at(address, port, "added"), id=8)
            assert await told(haproxy, AddServer("nodes", server, options)) == [Done()]
            await eventually(partial(is_up, haproxy, "added"))
            from_file = await asyncio.to_thread(status_of, haproxy, "other.example")
            assert await told(haproxy, SetWeight("nodes", "added", 1), SetWeight("nodes", "web", 0)) == [Done(), Done()]
            added = await asyncio.to_thread(status_of, haproxy, "other.example")
        for each in servers:
            each.close()
        is_host_the_name = not sni and version_of(version) >= (3, 3)
        assert (from_file, added) == ((503, 503) if is_host_the_name else (204, 204))

    async def test_errors_that_observe_counts(self, tmp_path: Path) -> None:
        """One failed connection takes no server down, in both cases: `error-limit` is ten unless the line says less."""
        webs = [WebServer.start() for _ in range(2)]
        line = "id {} check inter 1s fall 100 observe layer4 on-error mark-down"
        lines = [
            f"server {name} {web.address}:{web.port} {line}" for name, web in zip(("web", "added"), webs, strict=True)
        ]
        first, second = lines[0].format(7), lines[1].format(8)
        with running_haproxy(tmp_path, "retries 0", first) as haproxy:
            version = (await observe(runtime_of(haproxy))).version
            options = ServerLines(haproxy.text("first", second), version).addition("nodes", "added").options
            server = replace(server_at(webs[1].address, webs[1].port, "added"), id=8)
            assert await told(haproxy, AddServer("nodes", server, options)) == [Done()]
            await eventually(partial(is_up, haproxy, "added"))
            assert await told(haproxy, SetWeight("nodes", "added", 1)) == [Done()]
            for web in webs:
                web.kill()
            for _ in range(4):
                with contextlib.closing(http.client.HTTPConnection(haproxy.address, haproxy.port, timeout=5)) as client:
                    await asyncio.to_thread(client.request, "GET", "/")
                    assert (await asyncio.to_thread(client.getresponse)).status == 503
            assert await is_up(haproxy, "web")
            assert await is_up(haproxy, "added")

    def proxy(self, haproxy: HAProxyProcess) -> ProxySettings:
        """Return the settings of the template's head."""
        return ProxySettings(
            runtime_socket=haproxy.runtime_socket,
            http_bind=f"{haproxy.address}:{haproxy.port}",
            stats_bind=f"{haproxy.address}:1936",
            runtime_bind=None,
            syslog_socket=None,
        )

    def rows(self, haproxy: HAProxyProcess) -> dict[str, str]:
        """Return every field of the server but its past."""
        table = [line for line in haproxy.ask("show stat -1 4 -1").removeprefix("# ").splitlines() if line]
        (stat,) = list(csv.DictReader(table))
        _, header, row = haproxy.ask("show servers state nodes").splitlines()[:3]
        state = dict(zip(header.removeprefix("# ").split(" "), row.split(" "), strict=True))
        fields = {f"stat {key}": value for key, value in stat.items() if key and key not in self.COUNTERS}
        past = {"srv_time_since_last_change", "srv_check_health", "srv_op_state"}
        return fields | {f"state {key}": value for key, value in state.items() if key not in past}


def status_of(haproxy: HAProxyProcess, host: str) -> int:
    """Return the status of the answer to a request for this host."""
    with contextlib.closing(http.client.HTTPConnection(haproxy.address, haproxy.port, timeout=5)) as client:
        client.request("GET", "/", headers={"Host": host})
        return client.getresponse().status


async def tls_server(certificate: Certificate) -> asyncio.Server:
    """Start a server that answers each request with 204, over TLS alone."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, free_address(), 0, ssl=certificate.server_context())


async def is_up(haproxy: Subject, name: str) -> bool:
    """Whether a server has passed its check."""
    found = await server_of(haproxy, name)
    return found is not None and found.checked and found.up


# --- a request that takes its time ------------------------------------------------------------------------------


class _Answer(threading.Thread):
    """Sends one request and keeps the status of its answer."""

    def __init__(self, haproxy: HAProxyProcess, path: str) -> None:
        super().__init__()
        self.status = ""
        self._client = socket.create_connection((haproxy.address, haproxy.port), timeout=30)
        self._client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    def run(self) -> None:
        with contextlib.suppress(OSError):
            words = self._client.recv(65536).decode().split(" ")
            self.status = words[1] if len(words) > 1 else ""
        self._client.close()


@contextlib.contextmanager
def long_request(haproxy: HAProxyProcess, path: str) -> Iterator[_Answer]:
    """Have a request under way."""
    answer = _Answer(haproxy, path)
    answer.start()
    started = time.monotonic()
    try:
        yield answer
    finally:
        answer.join(WITHIN_S)
        assert time.monotonic() - started < 2 * WITHIN_S

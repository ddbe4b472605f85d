"""A real balancer and real web nodes, for tests of the whole daemon.

    with Balancer(directory) as balancer:      # nothing runs yet
        balancer.start()                       # agent, daemon, and HAProxy once its file is there
        web = balancer.add_web()
        balancer.wait_served(web)

A balancer is a Serf agent, `rosterd run` and a HAProxy, each a process on an address of its own; a web node is an
agent and a small web server. Everything is waited for with a deadline that says what it waited for. Leaving the
context ends every process, and fails if the daemon met a bug or wrote a line that is no log line.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from compose.load import Load, LoadPlan, failures
from rosterd.model import Running, RunningServer
from rosterd.proxy.commands import OBSERVE, parse_observation
from tests.haproxy_process import BINARY, HAProxyProcess
from tests.island import Island
from tests.loopback import GOSSIP_PORT, RPC_PORT, free_address
from tests.serf_agent import SerfAgent
from tests.web_server import WebServer

HAPROXY_HOME = Path(__file__).parents[1] / "haproxy"
TEMPLATE = HAPROXY_HOME / "haproxy.cfg.j2"

ADMIN_PORT = 9780
STATS_PORT = 1936
"""Fixed, since the address is nobody else's."""

PORTS = (GOSSIP_PORT, RPC_PORT)
SECOND_PORTS = (7956, 7383)
"""For a second agent at one address."""

POLL_S = 0.02
WITHIN_S = 15.0
STOP_WITHIN_S = 5.0
LONGEST_COMMAND_S = 20.0
LONGEST_LOAD_S = 240.0

Json = dict[str, Any]
T = TypeVar("T")


def until(condition: Callable[[], T], what: str, within: float = WITHIN_S, *, told: Callable[[], str] = str) -> T:
    """Look until the condition's answer is true, and return that; `told` adds to what a failure says.

    Raises:
        TimeoutError: it was not within these seconds.
    """
    give_up_at = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"waited {within:g} s for {what}\n{told()}")
        time.sleep(POLL_S)
    return found


def throughout(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Look all the time that it is so; for what must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"not any more: {what}"
        time.sleep(POLL_S)


def replace(path: Path, text: str) -> None:
    """Write a file as most editors do: beside it, and then in its place."""
    beside = path.with_name(f"{path.name}~")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


# --- web nodes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WebNode:
    """An agent with the tag `role=backend`, and the web server that its tag `port` leads to."""

    agent: SerfAgent
    server: WebServer

    @property
    def name(self) -> str:
        """The Serf name, which is the server's name in HAProxy."""
        return self.agent.name

    @property
    def address(self) -> str:
        """Where both listen; the header `x-backend-ip` of each of its answers."""
        return self.agent.address

    def crash(self) -> None:
        """End both at once, without a word to anybody."""
        self.server.kill()
        self.agent.kill()

    def close(self) -> None:
        """End both, whatever their state."""
        self.agent.close()
        self.server.kill()


# --- the daemon -------------------------------------------------------------------------------------------------


@dataclass
class Daemon:
    """`rosterd run` with the settings file in `directory`; `environ` is added to the environment of each start.

    `prefix` goes before the command, such as that of an island; `program` is the command itself.
    """

    directory: Path
    admin: tuple[str, int]
    prefix: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (sys.executable, "-m", "rosterd")
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def settings_file(self) -> Path:
        """What `--settings` is given."""
        return self.directory / "rosterd.toml"

    @property
    def log(self) -> str:
        """Everything on standard error, over all its lives."""
        path = self.directory / "rosterd.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The running process."""
        assert self.process is not None
        return self.process.pid

    def spawn(self) -> None:
        """Start it and return at once."""
        with (self.directory / "rosterd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.program, "run", "--settings", str(self.settings_file)],
                env=os.environ | dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start it and wait until the admin port answers."""
        self.spawn()
        until(self.status, "the admin port to answer", told=self.tail)

    def end(self, number: signal.Signals = signal.SIGTERM, within: float = STOP_WITHIN_S) -> int:
        """Send a signal, wait for the end and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(within)

    def exit_code(self) -> int:
        """Wait for it to end by itself, and return the exit code."""
        assert self.process is not None
        return self.process.wait(WITHIN_S)

    def close(self) -> None:
        """End the process, whatever its state."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_WITHIN_S)

    def tail(self) -> str:
        """The end of the log, for the message of a failure."""
        return "\n".join(self.log.splitlines()[-30:])

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another command with the same settings file."""
        return subprocess.run(
            [*self.program, *arguments, "--settings", str(self.settings_file)],
            env=os.environ | dict(self.environ),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LONGEST_COMMAND_S,
            check=False,
        )

    # --- what it tells ------------------------------------------------------------------------------------------

    def status(self) -> Json:
        """Return `/v1/status`; an empty one while nobody answers."""
        return self.get("/v1/status")

    def member(self, name: str) -> Json:
        """Return a member's row of `/v1/members`; an empty one when there is none."""
        rows: list[Json] = self.get("/v1/members").get("members", [])
        return next((row for row in rows if row["name"] == name), {})

    def server(self, name: str, service: str = "nodes") -> Json:
        """Return a server's row of the status; an empty one when there is none."""
        services: list[Json] = self.status().get("services", [])
        rows = (row for found in services if found["name"] == service for row in found["servers"])
        return next((row for row in rows if row["name"] == name), {})

    def mark(self) -> int:
        """Where the log ends now: the `since` of what is asked later."""
        return len(self.log.splitlines())

    def events(self, event: str, since: int = 0, **fields: object) -> list[Json]:
        """Return the log lines of this event with these fields, from a mark on."""
        return [
            line
            for line in _parsed(self.log.splitlines()[since:])
            if line["event"] == event and all(line.get(key) == fields[key] for key in fields)
        ]

    def wait_event(self, event: str, since: int = 0, within: float = WITHIN_S, **fields: object) -> Json:
        """Wait for such a log line and return the first."""
        what = f"the log line {event} {fields or ''}"
        return until(lambda: self.events(event, since, **fields), what, within, told=self.tail)[0]

    def only_event(self, event: str, since: int = 0, **fields: object) -> Json:
        """Wait for such a log line, and return it: there is no second one by then."""
        self.wait_event(event, since, WITHIN_S, **fields)
        (line,) = self.events(event, since, **fields)
        return line

    def get(self, path: str) -> Json:
        """Return what the admin interface answers at a path; an empty answer while nobody does."""
        connection = http.client.HTTPConnection(*self.admin, timeout=5)
        try:
            connection.request("GET", path)
            answer: Json = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return {}
        else:
            return answer
        finally:
            connection.close()


def _parsed(lines: list[str]) -> Iterator[Json]:
    """The log lines among them; one that was cut short by a kill has the next one behind it, and is none."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            if line.startswith("{"):
                yield json.loads(line)


# --- the balancer -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What changes when a file is written, even with the same content."""

    inode: int
    modified_ns: int


class Balancer:
    """An agent, a daemon and a HAProxy on one address; files, sockets and logs are in `directory`.

    `settings` (by section, and `services`) is merged over what a test needs; `agent_settings` go to the agent. On an
    island where there is one; `encrypt_key` is that of the gossip of all agents.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any] | None = None,
        agent_settings: Mapping[str, object] | None = None,
        island: Island | None = None,
        encrypt_key: str | None = None,
    ) -> None:
        self.directory = directory
        self.encrypt_key = encrypt_key
        self.haproxy = HAProxyProcess(directory, island)
        prefix = island.prefix if island else ()
        self.network = island.network if island else "127.0.0.0/8"
        self.address = self.haproxy.address
        self.agent = SerfAgent(
            self.address,
            directory / "serf",
            tags={"role": "balancer"},
            settings=dict(agent_settings or {}),
            prefix=prefix,
            encrypt_key=encrypt_key,
        )
        self.daemon = Daemon(directory, (self.address, ADMIN_PORT), prefix)
        self.template = directory / "haproxy.cfg.j2"
        self.template.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
        self.settings = _merged(self._own_settings(), settings or {})
        self.write_settings()
        self._webs: list[WebNode] = []
        self._agents: list[SerfAgent] = []

    def _own_settings(self) -> dict[str, Any]:
        return {
            "serf": {
                "rpc_address": f"{self.address}:{RPC_PORT}",
                "seed_interval_s": 0.5,
                "exchange_interval_s": 1.0,
                "request_timeout_s": 1.0,
                "backoff_longest_s": 1.0,
            },
            "proxy": {
                "binary": BINARY,
                "config_file": str(self.haproxy.config),
                "template_file": str(self.template),
                "state_dir": str(self.directory),
                "master_socket": str(self.haproxy.master_socket),
                "runtime_socket": str(self.haproxy.runtime_socket),
                "http_bind": f"{self.address}:{self.haproxy.port}",
                "stats_bind": f"{self.address}:{STATS_PORT}",
                "runtime_bind": "",
                "syslog_socket": "",
                "errors_503_file": str(HAPROXY_HOME / "errors" / "503.http"),
                "hard_stop_after_s": 3,
                "observe_interval_s": 0.5,
            },
            "reload": {"file_quiet_s": 0.3, "file_longest_s": 1.0, "backoff_first_s": 0.3, "backoff_longest_s": 1.0},
            # A box that is busy with tests makes agents feel unwell: no cause to suspect the network here.
            "policy": {"guard_health_score": 8, "networks": [self.network]},
            "admin": {"listen": f"{self.address}:{ADMIN_PORT}"},
        }

    def write_settings(self, changes: Mapping[str, Any] | None = None) -> None:
        """Write the settings file, with these changes by section; the next call without them takes them back."""
        replace(self.daemon.settings_file, _toml(_merged(self.settings, changes or {})))

    def edit_template(self, text: str) -> None:
        """Give the template this text, as most editors do: at once."""
        replace(self.template, text)

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start agent and daemon, HAProxy from the file that the daemon made, and wait until all is well."""
        self.agent.start()
        self.daemon.start()
        self.start_haproxy()

    def start_haproxy(self) -> None:
        """Start HAProxy once there is a file, and wait until the daemon says that all is well."""
        self.until(self.haproxy.config.exists, "the configuration file")
        self.haproxy.start()
        self.wait_ready()

    def kill_haproxy(self) -> None:
        """Crash the master; its worker ends with it."""
        os.kill(self.haproxy.pid, signal.SIGKILL)
        self.haproxy.stop()
        self.until(lambda: not self._haproxy_answers(), "the worker to end")

    def _haproxy_answers(self) -> bool:
        try:
            return self.haproxy.ask("show info") != ""
        except OSError:
            return False

    def restart_daemon(self) -> None:
        """Stop the daemon in order and start it again."""
        assert self.daemon.end() == 0
        self.daemon.start()

    def add_web(self, address: str = "", name: str = "", join: str = "", **tags: str) -> WebNode:
        """Start a web node that joins this balancer, or who else is given; return when both its processes answer."""
        server = WebServer.start(address or free_address())
        try:
            return self.add_web_agent(server, name, tags, join=join)
        except BaseException:
            server.kill()
            raise

    def add_web_agent(
        self,
        server: WebServer,
        name: str = "",
        tags: Mapping[str, str] | None = None,
        ports: tuple[int, int] = PORTS,
        join: str = "",
    ) -> WebNode:
        """Start an agent that speaks for this web server, at these ports for gossip and RPC."""
        all_tags = {"role": "backend", "port": str(server.port), **(tags or {})}
        # An address may have several agents one after the other: a directory of its own for each.
        directory = Path(tempfile.mkdtemp(prefix="web-", dir=self.directory))
        agent = SerfAgent(
            server.address,
            directory,
            name=name,
            tags=all_tags,
            join=(join or self.agent.gossip,),
            ports=ports,
            encrypt_key=self.encrypt_key,
        )
        node = WebNode(agent.start(), server)
        self._webs.append(node)
        return node

    def add_agent(self, name: bytes, tags: Mapping[bytes, bytes]) -> SerfAgent:
        """Start an agent with this raw name, which may be anything, and nothing behind it."""
        directory = Path(tempfile.mkdtemp(prefix="agent-", dir=self.directory))
        agent = SerfAgent(free_address(), directory, raw_name=name, raw_tags=tags, join=(self.address,))
        self._agents.append(agent)
        return agent.start()

    def add_neighbour(self, name: str, tags: Mapping[str, str]) -> SerfAgent:
        """Start another agent at the balancer's own address, with these tags and nothing behind it."""
        directory = Path(tempfile.mkdtemp(prefix="agent-", dir=self.directory))
        agent = SerfAgent(self.address, directory, name=name, tags=tags, join=(self.agent.gossip,), ports=SECOND_PORTS)
        self._agents.append(agent)
        return agent.start()

    def remove(self, *webs: WebNode) -> None:
        """Have web nodes leave in order, and end them when they are out of HAProxy."""
        leaving = [web for web in webs if web.agent.process is not None and web.agent.process.poll() is None]
        for web in leaving:
            self.wait_joined(web)
            web.agent.interrupt()
        for web in leaving:
            self.see_off(web)
        for web in webs:
            web.close()

    def see_off(self, web: WebNode) -> None:
        """Wait until a web node that is leaving is out of HAProxy, and its agent has ended."""
        self.until(partial(self._is_gone, web), f"{web.name} to be out of HAProxy", within=30)
        web.agent.wait()  # it is out long before its leave is over; killed meanwhile, it would have failed

    def _is_gone(self, web: WebNode) -> bool:
        """Whether HAProxy has no such server; where Serf lost the word that it leaves, do as an operator would."""
        if web.name not in self.running_names():
            return True
        process = web.agent.process
        if process is not None and process.poll() is not None:
            self.agent.command("force-leave", web.name)
        return False

    def wait_joined(self, web: WebNode) -> None:
        """Wait until its agent has done joining: Serf loses a leave that comes before, and others see a failure."""
        self.until(lambda: "Join completed" in web.agent.log, f"{web.name} to have joined")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:
            self.assert_sound()

    def close(self) -> None:
        """End every process."""
        self.daemon.close()
        self.haproxy.stop()
        self.agent.close()
        for web in self._webs:
            web.close()
        for agent in self._agents:
            agent.close()

    def assert_sound(self) -> None:
        """No bug was met in any turn, and nothing but log lines and our own errors came out."""
        lines = self.daemon.log.splitlines()
        strange = [line for line in lines if not line.startswith(("{", "rosterd: "))]
        assert strange == []
        assert self.daemon.events("turn.failed") == []

    # --- what is there ------------------------------------------------------------------------------------------

    def running(self) -> Running:
        """Return what HAProxy runs."""
        return parse_observation(self.haproxy.ask(OBSERVE))

    def running_server(self, name: str, service: str = "nodes") -> RunningServer | None:
        """Return a server as HAProxy runs it; None when it does not."""
        return self.running().backends.get(service, {}).get(name)

    def running_names(self, service: str = "nodes") -> set[str]:
        """Return the names of the servers that HAProxy runs."""
        return set(self.running().backends.get(service, {}))

    def file_identity(self) -> FileIdentity:
        """Return what a write of the configuration file would change."""
        stat = self.haproxy.config.stat()
        return FileIdentity(stat.st_ino, stat.st_mtime_ns)

    def get(self, host: str = "balancer", path: str = "/") -> tuple[int, str, Mapping[str, str]]:
        """Send one request through HAProxy; status, body and headers (in lower case)."""
        connection = http.client.HTTPConnection(self.address, self.haproxy.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, answer.read().decode(), headers
        finally:
            connection.close()

    def answering(self, requests: int = 24, host: str = "balancer") -> set[str]:
        """Send some requests through HAProxy and return who answered, by address."""
        answers = (self.get(host) for _ in range(requests))
        return {headers["x-backend-ip"] for status, _, headers in answers if status == 200}

    # --- waiting ------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], T], what: str, within: float = WITHIN_S) -> T:
        """Wait for a condition; a failure shows the end of the daemon's log."""
        return until(condition, what, within, told=self.daemon.tail)

    def wait_ready(self) -> None:
        """Wait until the daemon says that all is well: it is ready, which bears an agent that is silent for a while."""
        self.until(self._is_ready, "the daemon to be ready")

    def _is_ready(self) -> bool:
        status = self.daemon.status()
        return status.get("ready") is True and bool(status["agent"]["reachable"])

    def wait_served(self, *webs: WebNode) -> None:
        """Wait until requests reach each of these, and the daemon is content."""
        for web in webs:
            if web.agent.process is not None:
                self.wait_joined(web)  # tags that are set before may get lost in gossip
        wanted = {web.address for web in webs}
        requests = 24 + 2 * len(wanted)
        self.until(lambda: wanted <= self.answering(requests), f"answers of {sorted(web.name for web in webs)}")
        self.wait_content()

    def wait_gone(self, name: str, within: float = WITHIN_S) -> None:
        """Wait until HAProxy has no such server."""
        self.until(lambda: name not in self.running_names(), f"{name} to be out of HAProxy", within)

    def wait_content(self) -> None:
        """Wait until HAProxy runs what the daemon wants, and its file says so."""
        self.until(self.is_content, "HAProxy and its file to be level")

    def is_content(self) -> bool:
        """True if HAProxy runs what the daemon wants, and its file says so."""
        status = self.daemon.status()
        return bool(status) and status["plan"]["action"] == "nothing" and bool(status["file"]["level"])

    # --- traffic ------------------------------------------------------------------------------------------------

    @contextmanager
    def traffic(self, rate: float = 100.0) -> Iterator[Load]:
        """Keep requests flowing meanwhile; at the end not one may have failed."""
        with self.load(rate) as load:
            yield load
        assert failures(load.samples, 0.0, float("inf")) == ()

    @contextmanager
    def load(self, rate: float = 100.0) -> Iterator[Load]:
        """Keep requests flowing meanwhile, whatever becomes of them."""
        load = Load(
            LoadPlan(self.address, self.haproxy.port, network=self.network, rate=rate, longest_s=LONGEST_LOAD_S)
        )
        with _in_a_thread(load):
            self.until(lambda: len(load.samples) > 10, "traffic")
            yield load


@contextmanager
def _in_a_thread(load: Load) -> Iterator[None]:
    """Run a load beside a test that blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(load.run(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(load.stop)
        thread.join()
        loop.close()


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for section, given in changes.items():
        merged[section] = {**settings.get(section, {}), **given} if isinstance(given, Mapping) else given
    return merged


def _toml(settings: Mapping[str, Any]) -> str:
    """TOML of sections and of lists of tables; those stand first, as TOML wants it."""
    flat = [f"{key} = {_value(value)}\n" for key, value in settings.items() if not isinstance(value, Mapping)]
    sections = [
        f"\n[{name}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in section.items())
        for name, section in settings.items()
        if isinstance(section, Mapping)
    ]
    return "".join([*flat, *sections])


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)

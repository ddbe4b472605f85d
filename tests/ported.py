"""A site whose HAProxy template was ported from a configuration file: its members, its clients, and what is counted.

    with Site(example, directory) as site:
        first, second = site.join(server), site.join(server)
        with site.asked(ask) as asks:
            site.leave(first)
        assert asks.failed == ()

Settings and template are those of a folder of examples/. Only the addresses differ: each test has an address of its
own and ports that need no root.
"""

from __future__ import annotations

import csv
import re
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from rosterd.proxy.commands import parse_proc
from tests.balancer import Balancer, WebNode
from tests.web_server import WebServer

EXAMPLES = Path(__file__).parents[1] / "examples"
LOWEST_PORT = 1024
ABOVE = 8000
"""What is added to a port that needs root."""

MAX_ASKS = 20_000
PAUSE_S = 0.03
GONE_WITHIN_S = 60.0
"""Serf takes 6 to 13 s to see that a member has crashed, and longer beside other work."""

SETTLE_S = 0.5
_SERVER = re.compile(r"^ +server (?P<name>\S+) (?P<address>\S+):(?P<port>\d+) (?P<options>.*)$")

Settings = dict[str, Any]


def settings_of(example: str) -> Settings:
    """Return an example's settings."""
    return tomllib.loads((EXAMPLES / example / "rosterd.toml").read_text(encoding="utf-8"))


def placed(settings: Settings, address: str) -> Settings:
    """Return the settings with all binds at this address."""
    proxy: Mapping[str, Any] = settings.get("proxy", {})
    binds = {"http_bind": _placed(proxy["http_bind"], address)} if "http_bind" in proxy else {}
    services = [
        {**service, "bind": _placed(service["bind"], address)} if "bind" in service else service
        for service in settings["services"]
    ]
    return {**settings, "proxy": {**proxy, **binds}, "services": services}


def _placed(binds: str, address: str) -> str:
    ports = [int(bind.removeprefix(":")) for bind in binds.split(",")]
    return ",".join(f"{address}:{port_here(port)}" for port in ports)


def port_here(port: int) -> int:
    """Return the port that a test uses in the place of this one."""
    return port + ABOVE if port < LOWEST_PORT else port


class RequestFailedError(Exception):
    """The request got an answer, and the answer is not the right one."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: when it was sent, and the address of the server that answered; None and the failure otherwise."""

    at: float
    server: str | None
    failure: str = ""


@dataclass
class Asks:
    """Requests sent one after the other."""

    made: list[Ask] = field(default_factory=list)

    @property
    def failed(self) -> tuple[str, ...]:
        """The failures, each with its moment."""
        return tuple(f"{ask.at:.2f} {ask.failure}" for ask in self.made if ask.server is None)

    @property
    def turns(self) -> list[str]:
        """The servers in the order of their answers, each run of answers by one server once."""
        return [server for server, _ in groupby(ask.server for ask in self.made if ask.server is not None)]

    def servers_since(self, moment: float) -> set[str]:
        """Return the servers that answered requests sent since a moment."""
        return {ask.server for ask in self.made if ask.at >= moment and ask.server is not None}

    def first_by(self, node: WebNode, since: float) -> float:
        """Return when the first request since a moment was sent that this member answered."""
        return min(ask.at for ask in self.made if ask.at >= since and ask.server == node.address)

    def failed_outside(self, spans: Sequence[tuple[float, float]]) -> list[Ask]:
        """Return the failures at moments when they have no excuse."""
        return [
            ask for ask in self.made if ask.server is None and not any(begin <= ask.at <= end for begin, end in spans)
        ]


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A server as the file and HAProxy both show it."""

    endpoint: str
    backup: bool


class Site:
    """A balancer with the settings and the template of an example. Leaving the context ends every process."""

    def __init__(self, example: str, directory: Path) -> None:
        self.balancer = Balancer(directory, {"policy": {"hold_s": 1.0}, "reload": {"least_interval_s": 0.1}})
        given = placed(settings_of(example), self.balancer.address)
        self.balancer.settings |= {
            key: {**self.balancer.settings.get(key, {}), **value} if isinstance(value, dict) else value
            for key, value in given.items()
        }
        self.balancer.write_settings()
        self.source = (EXAMPLES / example / "haproxy.cfg.j2").read_text(encoding="utf-8")
        self.balancer.edit_template(self.source)
        self._match: Mapping[str, str] = given["services"][0]["match"]
        self._mark = 0
        self._also: dict[str, WebServer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for server in self._also.values():
            server.kill()
        self.balancer.__exit__(kind, *rest)

    @property
    def service(self) -> str:
        """The name of the first service."""
        name: str = self.balancer.settings["services"][0]["name"]
        return name

    @property
    def port(self) -> int:
        """The port of the first service's own bind."""
        return int(self.balancer.settings["services"][0]["bind"].rpartition(":")[2])

    def start(self) -> None:
        """Start agent, daemon and HAProxy, and count from here."""
        self.balancer.start()
        self._mark = self.balancer.daemon.mark()

    # --- members ------------------------------------------------------------------------------------------------

    def join(self, server: WebServer, name: str = "") -> WebNode:
        """Start an agent for this server; return when HAProxy has the server and nothing is left to do."""
        node = self.balancer.add_web_agent(server, name, {**self._match})
        self.balancer.wait_joined(node)
        self.balancer.until(lambda: node.name in self._names(), f"{node.name} to be in HAProxy")
        self.settle()
        return node

    def also(self, server: WebServer) -> None:
        """Give the member at this server's address a second server, which ends with the member."""
        self._also[server.address] = server

    def leave(self, node: WebNode) -> None:
        """Have a member leave in order; return when HAProxy has it no more."""
        node.agent.interrupt()
        self._see_off(node)

    def crash(self, node: WebNode) -> None:
        """End a member's processes at once; return when HAProxy has it no more."""
        if second := self._also.get(node.address):
            second.kill()
        node.crash()
        self._see_off(node)

    def _see_off(self, node: WebNode) -> None:
        name = node.name
        self.balancer.until(lambda: name not in self._names(), f"{name} to be out of HAProxy", GONE_WITHIN_S)
        node.agent.wait()
        node.close()
        if second := self._also.get(node.address):
            second.kill()
        self.settle()

    def _names(self) -> set[str]:
        return self.balancer.running_names(self.service)

    # --- edits --------------------------------------------------------------------------------------------------

    def edit(self, old: str, new: str) -> None:
        """Replace a text of the template; return when HAProxy runs the edit."""
        mark, before = self.balancer.daemon.mark(), self.balancer.template.read_text(encoding="utf-8")
        assert before.count(old) == 1, f"{old!r} stands {before.count(old)} times in the template"
        self.balancer.edit_template(before.replace(old, new))
        self.balancer.daemon.wait_event("proxy.reloaded", mark)
        self.settle()

    def break_and_mend(self) -> None:
        """Give the template a line that HAProxy refuses; take the line back when the edit is rejected."""
        good = self.balancer.template.read_text(encoding="utf-8")
        mark = self.balancer.daemon.mark()
        self.balancer.edit_template(good.replace("defaults\n", "defaults\n    bogus keyword\n"))
        assert "bogus" in self.balancer.daemon.wait_event("edit.rejected", mark)["error"]
        self.balancer.edit_template(good)
        self.balancer.until(lambda: self.balancer.daemon.status()["blueprint"]["error"] == "", "the edit to be mended")
        self.settle()

    def set_weight(self, weight: int) -> None:
        """Give the servers of the first service another weight in the settings; return when HAProxy runs it."""
        first, *others = self.balancer.settings["services"]
        self.balancer.settings["services"] = [{**first, "weight": weight}, *others]
        self.balancer.write_settings()
        self.balancer.until(lambda: self._weights() == {weight}, "the weight in HAProxy")
        self.settle()

    def _weights(self) -> set[int]:
        return {server.weight for server in self.balancer.running().backends[self.service].values()}

    # --- requests -----------------------------------------------------------------------------------------------

    @contextmanager
    def asked(self, ask: Callable[[], str]) -> Iterator[Asks]:
        """Keep asking meanwhile, one request after the other; `ask` returns the address of the server that answered."""
        asks, stop = Asks(), threading.Event()
        thread = threading.Thread(target=_keep_asking, args=(ask, asks, stop))
        thread.start()
        try:
            self.balancer.until(lambda: len(asks.made) > 5, "requests")
            yield asks
        finally:
            stop.set()
            thread.join()

    # --- what is counted ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until daemon, file and HAProxy agree, and do so for a while."""
        while True:
            self.balancer.wait_content()
            before = self.reloads()
            time.sleep(SETTLE_S)
            if self.balancer.is_content() and self.reloads() == before:
                return

    def reloads(self) -> int:
        """Return how many reloads the master counts; the log has to count as many."""
        haproxy = self.balancer.haproxy
        return parse_proc(haproxy.ask("show proc", haproxy.master_socket)).reloads

    def reasons(self) -> list[list[str]]:
        """Return the reasons of each reload."""
        return [line["reasons"] for line in self.balancer.daemon.events("proxy.reloaded", self._mark)]

    def drift(self) -> list[str]:
        """Return each difference between what is wanted, the file, and what HAProxy runs."""
        found = []
        if not self.balancer.is_content():
            found.append(f"the status: {self.balancer.daemon.status()['plan']}")
        plan = self.balancer.daemon.command("plan")
        if plan.returncode != 0:
            found.append(f"rosterd plan: {plan.stdout}{plan.stderr}")
        rendered = self.balancer.daemon.command("render").stdout
        text = self.balancer.haproxy.config.read_text(encoding="utf-8")
        if rendered != text:
            found.append("the file differs from rosterd render")
        if (of_file := _lines_of(text)) != (of_haproxy := self._running_lines()):
            found.append(f"the file has {of_file}, HAProxy runs {of_haproxy}")
        return found

    def _running_lines(self) -> dict[str, ServerLine]:
        table = self.balancer.haproxy.ask("show stat -1 4 -1").removeprefix("# ").strip().splitlines()
        return {row["svname"]: ServerLine(row["addr"], row["bck"] == "1") for row in csv.DictReader(table)}


def _lines_of(text: str) -> dict[str, ServerLine]:
    found = filter(None, map(_SERVER.match, text.splitlines()))
    return {
        line["name"]: ServerLine(f"{line['address']}:{line['port']}", "backup" in line["options"].split())
        for line in found
    }


def _keep_asking(ask: Callable[[], str], asks: Asks, stop: threading.Event) -> None:
    while not stop.is_set() and len(asks.made) < MAX_ASKS:
        at = time.monotonic()
        try:
            made = Ask(at, ask())
        except (OSError, RequestFailedError) as error:
            made = Ask(at, None, repr(error))
        asks.made.append(made)
        time.sleep(PAUSE_S)

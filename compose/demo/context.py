"""What the steps work with: a local cluster, the load on it, and what HAProxy and rosterd say of themselves."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compose import http
from compose.haproxy_view import HAProxyUnreadableError, read_master, read_servers
from compose.load import Load, LoadPlan
from compose.waiting import ask_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.cluster import LocalCluster, Node
    from compose.haproxy_view import Master, ServerView
    from compose.load import Sample

ASK_TIMEOUT_S = 2.0


@dataclass
class Context:
    """Everything that a step may use.

    `note` tells the user what happened; `servers` is HAProxy's newest list, kept for the display.
    """

    cluster: LocalCluster
    balancer: Node
    web: list[Node]
    note: Callable[[str], None]
    load: Load = field(init=False)
    servers: tuple[ServerView, ...] = field(init=False, default=())
    _load_started: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.load = Load(LoadPlan(self.balancer.address, self.cluster.ports.http))

    @property
    def samples(self) -> list[Sample]:
        """Every request so far."""
        return self.load.samples

    def now(self) -> float:
        """The clock of the samples."""
        return asyncio.get_running_loop().time()

    # --- the load -----------------------------------------------------------------------------------------------

    async def run_load(self) -> None:
        """Run the load from `start_load` to `stop_load`; returns when the last answers are in."""
        await self._load_started.wait()
        await self.load.run()

    def start_load(self) -> None:
        """Let `run_load` send requests from now on."""
        self._load_started.set()

    def stop_load(self) -> None:
        """Let `run_load` send no more, also if the load was never started."""
        self.load.stop()
        self._load_started.set()

    # --- ask ----------------------------------------------------------------------------------------------------

    async def fetch(self) -> http.Answer | None:
        """One request of our own, outside the load; None while nobody answers."""
        try:
            return await http.get(self.balancer.address, self.cluster.ports.http, "/", ASK_TIMEOUT_S)
        except (OSError, asyncio.IncompleteReadError, http.GarbledAnswerError):
            return None

    async def status(self) -> dict[str, Any]:
        """What rosterd says of itself; empty while it does not answer."""
        try:
            answer = await http.get(self.balancer.address, self.cluster.ports.admin, "/v1/status", ASK_TIMEOUT_S)
            status = json.loads(answer.body)
        except (OSError, asyncio.IncompleteReadError, http.GarbledAnswerError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    async def server_of(self, node: Node) -> ServerView | None:
        """HAProxy's server line for a node, None when it has none."""
        await self.read_servers()
        return next((server for server in self.servers if server.address == node.address), None)

    async def read_servers(self) -> None:
        """Renew `servers`; the last list stays while a reload is under way."""
        try:
            self.servers = await read_servers(self.balancer.runtime_socket)
        except HAProxyUnreadableError:
            return

    async def master(self) -> Master:
        """HAProxy's master process: its reloads and its worker."""
        return await read_master(self.balancer.master_socket)

    # --- wait ---------------------------------------------------------------------------------------------------

    async def until_seen(self, seen: Callable[[], float | None], deadline_s: float, what: str) -> float:
        """Wait for a time to be found in the samples, and return it."""

        async def found() -> bool:
            return seen() is not None

        await ask_until(found, deadline_s, what)
        time = seen()
        assert time is not None  # noqa: S101  samples are only added
        return time

    # --- edit ---------------------------------------------------------------------------------------------------

    def write_template(self, text: str) -> None:
        """Replace the balancer's template as editors do: a new file under the old name."""
        candidate = self.balancer.template.with_suffix(".edit")
        candidate.write_text(text, encoding="utf-8")
        candidate.replace(self.balancer.template)

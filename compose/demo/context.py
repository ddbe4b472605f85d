"""What the steps work with: a stage, the load on it, and what HAProxy and rosterd say of themselves."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compose import http
from compose.haproxy_view import HAProxyUnreadableError, read_servers
from compose.load import Load, LoadPlan
from compose.waiting import ask_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.demo.stage import Site, Spot, Stage
    from compose.haproxy_view import Master, ServerView
    from compose.load import Sample

ASK_TIMEOUT_S = 2.0
RATE = 100.0
LOAD_MARGIN_S = 60.0


@dataclass
class Context:
    """Everything that a step may use.

    `web` are the web nodes that should serve, `known` also those that did before; `note` tells the user what happened;
    `servers` is HAProxy's newest list, kept for the display.
    """

    stage: Stage
    note: Callable[[str], None]
    web: list[Spot] = field(init=False, default_factory=list)
    known: list[Spot] = field(init=False, default_factory=list)
    load: Load = field(init=False)
    servers: tuple[ServerView, ...] = field(init=False, default=())
    _load_started: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        # Longer than all steps: a load that ends before them would leave steps without a request.
        longest_s = self.stage.deadline_s + LOAD_MARGIN_S
        self.load = Load(LoadPlan(*self.site.traffic, rate=RATE, longest_s=longest_s, most=round(longest_s * RATE)))

    @property
    def site(self) -> Site:
        """Where the balancer's doors are."""
        return self.stage.site

    @property
    def samples(self) -> list[Sample]:
        """Every request so far."""
        return self.load.samples

    def now(self) -> float:
        """The clock of the samples."""
        return asyncio.get_running_loop().time()

    def welcome(self, spots: Sequence[Spot]) -> None:
        """Count these among those that should serve."""
        self.web += spots
        self.known += spots

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
            return await http.get(*self.site.traffic, "/", ASK_TIMEOUT_S)
        except (OSError, asyncio.IncompleteReadError, http.GarbledAnswerError):
            return None

    async def status(self) -> dict[str, Any]:
        """What rosterd says of itself; empty while it does not answer."""
        return await status_of(self.site.admin)

    async def server_of(self, spot: Spot) -> ServerView | None:
        """HAProxy's server line for a node, None when it has none."""
        await self.read_servers()
        return next((server for server in self.servers if server.address == spot.address), None)

    async def read_servers(self) -> None:
        """Renew `servers`; the last list stays while a reload is under way."""
        try:
            self.servers = await read_servers(self.site.runtime)
        except HAProxyUnreadableError:
            return

    async def master(self) -> Master:
        """HAProxy's master process: its reloads and its worker."""
        return await self.stage.master()

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
        candidate = self.site.template.with_suffix(".edit")
        candidate.write_text(text, encoding="utf-8")
        candidate.replace(self.site.template)


async def status_of(admin: tuple[str, int]) -> dict[str, Any]:
    """What the rosterd at an admin port says of itself; empty while it does not answer."""
    try:
        answer = await http.get(*admin, "/v1/status", ASK_TIMEOUT_S)
        status = json.loads(answer.body)
    except (OSError, asyncio.IncompleteReadError, http.GarbledAnswerError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}

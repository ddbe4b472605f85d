"""What the daemon tells of itself: one frozen value a moment.

Pure. The controller makes a `Report`, the admin interface and the commands show it; nobody else looks inside the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rosterd.damping import Penalties
from rosterd.generation import Generation
from rosterd.model import Action, Address, Running, ServerKey
from rosterd.planner import Planned
from rosterd.policy import Decision
from rosterd.roster import Table
from rosterd.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class LastReload:
    """The last reload that was tried. `error` is empty when it was proven; times are monotonic seconds."""

    at: float
    reasons: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything worth knowing at `now`.

    `agent_since` and `proxy_since` say since when the other side has (or has not) been answering; `agent_error` and
    `proxy_error` are empty while it does. `penalties` and their half-life are what is left of members' departures.
    `desired`, `on_disk` and `runs` are the three generations, None while they are not known; `running` is what HAProxy
    runs with its health, None while it does not answer. `stale_limit_s` is for how long the agent may be silent before
    that makes the balancer not ready. `encrypted` says whether gossip is, None while that is not known, and
    `names_networks` whether `policy.networks` bounds where members may serve. `blueprint_error` says why the newest
    edit is not in force.
    """

    version: str
    pid: int
    now: float
    started_at: float
    complete: bool
    table: Table
    decision: Decision | None
    planned: Planned
    template_servers: frozenset[ServerKey]
    refused: Mapping[Action, str]
    desired: Generation | None
    on_disk: Generation | None
    running: Running | None
    runs: Generation | None
    health_score: int
    own_address: Address | None
    encrypted: bool | None
    names_networks: bool
    agent_since: float
    agent_error: str
    proxy_since: float
    proxy_error: str
    blueprint_error: str
    action_error: str
    file_lags: bool
    departed: Mapping[tuple[str, str], float]
    penalties: Penalties
    flap_half_life_s: float
    services: tuple[ServiceSettings, ...]
    stale_limit_s: float
    reloads: int
    reloads_failed: int
    last_reload: LastReload | None

    @property
    def stale_s(self) -> float:
        """How old the knowledge of the members is; 0 while the agent answers."""
        return self.now - self.agent_since if self.agent_error else 0.0

    @property
    def admits_anyone(self) -> bool:
        """Whether everything that reaches the gossip port can become a member and serve from any address."""
        return self.encrypted is False and not self.names_networks

    @property
    def is_stale(self) -> bool:
        """Whether the agent has been silent for longer than it may."""
        return bool(self.agent_error) and self.stale_s >= self.stale_limit_s

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Why the balancer is not ready; empty when it is.

        An agent that is silent for a moment is no reason: all serve on, and to take balancers out of service for that
        would make two outages of one.
        """
        agent_counts = self.is_stale or not self.complete
        reasons = (
            "" if self.complete else "no complete state has been applied yet",
            self.agent_error if agent_counts else "",
            self.proxy_error,
        )
        return tuple(reason for reason in reasons if reason)

    @property
    def ready(self) -> bool:
        """Whether a first complete state is in force, HAProxy answers, and the agent has not been silent for long."""
        return not self.not_ready

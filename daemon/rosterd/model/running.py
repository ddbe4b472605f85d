"""What HAProxy runs, as it tells itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from rosterd.model.member import Address, AdminState
from rosterd.model.server import ServerKey


class AgentCheck(Enum):
    """Whether a server's own agent (`agent-check`) sets its weight and state."""

    NONE = "none"
    ON = "on"
    OFF = "off"
    """The line has `agent-check`, and it is switched off."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """One server as HAProxy runs it. Source: `show servers state`.

    `weight` is what the operator or the file set (user weight); `up` whether health checks let traffic in, `checked`
    whether they have spoken yet, or there is none to wait for, `checking` whether one is under way. `check_off` says
    that it has a check that is not switched on: by an addition that was cut short, or by hand.

    While the agent of a server is on, `weight` and `state` are those of its line: what the agent makes of them is the
    agent's business. `out_by_agent` is the state into which the agent put it, ready for none. `initial_weight` is the
    weight of the line, of which the agent names a percentage; it never changes on a worker. It is 0 without an agent.
    """

    name: str
    id: int
    address: Address | None
    port: int
    weight: int
    state: AdminState
    up: bool
    checked: bool
    checking: bool = False
    check_off: bool = False
    agent: AgentCheck = AgentCheck.NONE
    initial_weight: int = 0
    out_by_agent: AdminState = AdminState.READY


@dataclass(frozen=True, slots=True)
class Running:
    """What HAProxy really serves. Source: `show info`, `show servers state` and `show stat` on the runtime socket.

    `structure` is the digest that the running configuration carries in its description, empty when it has none.
    `pid` is the worker's. `sessions` is how many requests are under way to a (service, server); empty when that was
    not asked.
    """

    version: str
    pid: int
    structure: str
    backends: Mapping[str, Mapping[str, RunningServer]]
    sessions: Mapping[ServerKey, int]

    def without(self, keys: Collection[ServerKey]) -> Running:
        """The same without these servers."""
        if not keys:
            return self
        backends = {
            service: {name: server for name, server in servers.items() if (service, name) not in keys}
            for service, servers in self.backends.items()
        }
        return replace(self, backends=backends)

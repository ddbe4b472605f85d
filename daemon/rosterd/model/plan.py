"""What is to be done: the actions, the reasons to reload, and the plan that is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from rosterd.model.member import Address, AdminState
from rosterd.model.server import Server
from rosterd.model.text import LineChange


class ReasonKind(Enum):
    """Why HAProxy must reload; a bounded set, so that it can label a metric."""

    STRUCTURE = "structure"
    TEXT = "text"
    SERVER_ADDED = "server_added"
    SERVER_REMOVED = "server_removed"
    SERVER_CHANGED = "server_changed"
    COMMAND_REFUSED = "command_refused"


@dataclass(frozen=True, slots=True)
class Reason:
    """One difference that only a new worker removes; `detail` names the service, server and fields."""

    kind: ReasonKind
    detail: str


@dataclass(frozen=True, slots=True)
class AddServer:
    """Add a server with the options of its line, checked but without traffic: its weight comes with its first check."""

    service: str
    server: Server
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """The server's."""
        return self.server.name


@dataclass(frozen=True, slots=True)
class EnableChecks:
    """Switch a server's health check on."""

    service: str
    name: str


@dataclass(frozen=True, slots=True)
class EnableAgent:
    """Have a server's own agent set its weight and state."""

    service: str
    name: str


@dataclass(frozen=True, slots=True)
class DisableAgent:
    """Have a server's weight and state stay as they are set."""

    service: str
    name: str


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Give a server this weight, 0 to 256; 0 lets nothing new in and lets finish what runs."""

    service: str
    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class SetEndpoint:
    """Send a server's traffic and checks to another address and port."""

    service: str
    name: str
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class SetState:
    """Put a server into this administrative state."""

    service: str
    name: str
    state: AdminState


@dataclass(frozen=True, slots=True)
class CutSessions:
    """End what still runs on a server whose time to finish is over: so many requests, when they were counted."""

    service: str
    name: str
    sessions: int


@dataclass(frozen=True, slots=True)
class RemoveServer:
    """Remove a server that is in maintenance."""

    service: str
    name: str


ServerChange: TypeAlias = (
    EnableChecks | EnableAgent | DisableAgent | SetWeight | SetEndpoint | SetState | CutSessions | RemoveServer
)
"""What can be done to a server that is there."""

Action: TypeAlias = AddServer | ServerChange
"""One thing that HAProxy is told on its runtime socket."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What must happen in HAProxy before the next action on a server."""

    service: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """HAProxy runs what is desired."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Actions, in order, that take HAProxy a step towards what is desired, and what the next step waits for."""

    actions: tuple[Action, ...]
    waits: tuple[Wait, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """Only a new worker can run what is desired; never without reasons.

    The actions need not wait for it, and what the next step of those waits for is looked for meanwhile. `lines` are
    those that the new text has and the one that HAProxy runs has not, and the other way round, as far as they are
    known.
    """

    reasons: tuple[Reason, ...]
    actions: tuple[Action, ...] = ()
    waits: tuple[Wait, ...] = ()
    lines: tuple[LineChange, ...] = ()


Plan: TypeAlias = Nothing | Runtime | Reload

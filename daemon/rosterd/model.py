"""The vocabulary: what every other module speaks of. Imports nothing of ours.

Rules: values only, frozen, hashable where that is cheap; no I/O, no clock, no defaults that hide a decision.
Text that came from the network is raw `bytes` in `MemberRecord` and nowhere else; `parse.py` makes a `Member` of it.
Times are seconds of one monotonic clock, as `float`; durations are seconds too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address


# --- 1: what Serf says ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """One member as the agent's `members` reply gives it: raw, untrusted, possibly not UTF-8.

    Source: Serf RPC `members`. `address` is 4 or 16 bytes, `port` the gossip port (not the service's).
    """

    name: bytes
    address: bytes
    port: int
    tags: Mapping[bytes, bytes]
    status: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The agent's whole member table at one moment, with how well the agent itself feels.

    `health_score` is 0 (healthy) to 7 (as sick as it gets), `agent` the name of its own member. Source: `members` and
    `stats` over RPC.
    """

    records: tuple[MemberRecord, ...]
    health_score: int
    agent: bytes = b""


# --- 2: the member table ----------------------------------------------------------------------------------------


class Status(Enum):
    """What is known of a member. The first four are Serf's words, the last is ours."""

    ALIVE = "alive"
    LEAVING = "leaving"
    LEFT = "left"
    FAILED = "failed"
    UNSEEN = "unseen"
    """HAProxy serves it, or it was alive a moment ago, but the agent does not list it. An agent that has just
    restarted knows only itself, so this is no reason to remove a server: it is held as a failed one is."""


class AdminState(Enum):
    """What an operator asks for, with the tag `state` or by hand on HAProxy; also how a server is configured."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@dataclass(frozen=True, slots=True)
class Member:
    """A member whose every field was checked.

    `node` is the name that people use, `role` chooses the service; `port` and `weight` are None where the member
    leaves them to the service.
    """

    name: str
    node: str
    address: Address
    role: str | None
    port: int | None
    weight: int | None
    state: AdminState
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A member that does not parse: `name` is printable, `reason` says which field and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the member table.

    `since` is when `status` was first seen. `subject` is what was made of `record`; both are None for an inherited
    server, of which only the name is known. `unfit_since` is since when it does not parse, None while it does.
    """

    name: str
    status: Status
    since: float
    record: MemberRecord | None
    subject: Member | Quarantined | None
    unfit_since: float | None = None


class Transition(Enum):
    """What happened to a member between two tables: Serf's events, `leaving`, and our own words.

    `returned` is alive again, `lost` is no longer listed without having left, `quarantined` does not parse.
    """

    JOINED = "joined"
    RETURNED = "returned"
    LEAVING = "leaving"
    LEFT = "left"
    FAILED = "failed"
    LOST = "lost"
    UPDATED = "updated"
    REAPED = "reaped"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two member tables; `detail` is for people (`weight 100 to 10`), may be empty."""

    transition: Transition
    name: str
    node: str
    detail: str


# --- 3, 5: what should be served --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """One server line. `name` and `id` are unique in their service and survive restarts.

    `weight` is 0 to 256; `id` is 1 to 2^31-1. A server that the tag `state` takes out has weight 0; one that is out
    with its weight was taken out by hand on HAProxy, and that is how the two are told apart everywhere.
    """

    name: str
    id: int
    address: Address
    port: int
    weight: int
    state: AdminState

    @property
    def endpoint(self) -> tuple[Address, int]:
        """Where it listens."""
        return self.address, self.port

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody took it out by hand on HAProxy."""
        return self.state is not AdminState.READY and self.weight > 0


@dataclass(frozen=True, slots=True)
class Backend:
    """The servers of one service, ordered by name."""

    service: str
    servers: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class Desired:
    """What HAProxy should serve.

    `structure` is a digest of everything that is not a server (template, settings): two equal digests differ in
    their servers at most. `text` is the configuration that says all of this, each server with all its options.
    """

    structure: str
    backends: tuple[Backend, ...]
    text: str


# --- 6: what HAProxy runs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunningServer:
    """One server as HAProxy runs it. Source: `show servers state`.

    `weight` is what the operator or the file set (user weight); `up` whether health checks let traffic in, `checked`
    whether they have spoken yet, or there is none to wait for, `checking` whether one is under way. `check_off` says
    that it has a check that is not switched on: by an addition that was cut short, or by hand.
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
    sessions: Mapping[tuple[str, str], int]


# --- the plan ---------------------------------------------------------------------------------------------------


class ReasonKind(Enum):
    """Why HAProxy must reload; a bounded set, so that it can label a metric."""

    STRUCTURE = "structure"
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


ServerChange: TypeAlias = EnableChecks | SetWeight | SetEndpoint | SetState | CutSessions | RemoveServer
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

    The actions need not wait for it, and what the next step of those waits for is looked for meanwhile.
    """

    reasons: tuple[Reason, ...]
    actions: tuple[Action, ...] = ()
    waits: tuple[Wait, ...] = ()


Plan: TypeAlias = Nothing | Runtime | Reload

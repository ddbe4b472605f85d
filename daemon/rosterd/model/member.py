"""Members: what Serf says of them, and what the member table makes of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address


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
    `stats` over RPC. `encrypted` says whether gossip is, None where the agent does not say.
    """

    records: tuple[MemberRecord, ...]
    health_score: int
    agent: bytes = b""
    encrypted: bool | None = None


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

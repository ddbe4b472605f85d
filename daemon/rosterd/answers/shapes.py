"""The shapes of the answers: every field by its name, kind and meaning.

Programs rely on these names: one may come, none changes or goes within `/v1`. Durations are in seconds and their names
end in `_s`; an age counts from the moment of the answer. The description of the API (`/v1/openapi.json`) is made from
here by `python -m tests.generated_docs`, and what is made of a report is checked against it by mypy.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict  # pydantic, which reads these, takes no other before Python 3.12


class Side(TypedDict):
    """One side of the daemon: whether it answers."""

    reachable: bool
    """Whether it answers."""
    since_s: float
    """Since when that is so."""
    error: str
    """Why it does not answer; empty while it does."""


class Agent(Side):
    """The local Serf agent."""

    stale_s: float
    """How old the knowledge of the members is; 0 while the agent answers."""
    stale: bool
    """Whether that is longer than `policy.stale_limit_s`: then the balancer is not ready."""
    health_score: int
    """How the agent feels, from 0 (well) to 7."""
    address: str | None
    """Where the agent's own member is; null while it is not known."""
    encrypted: bool | None
    """Whether gossip is encrypted; null while the agent has not said so."""
    admits_anyone: bool
    """Whether gossip is not encrypted and `policy.networks` is empty: what reaches the gossip port can serve."""


class Proxy(Side):
    """HAProxy. What is not known while it does not answer is null."""

    version: str | None
    """HAProxy's version."""
    pid: int | None
    """The process that serves."""
    structure: str | None
    """The digest of settings and template that it runs; empty when it does not run a text of ours."""
    servers_digest: str | None
    """The digest of the servers that it runs, the same on any two balancers that serve the same."""


class Traffic(TypedDict):
    """What HAProxy counts, asked when somebody asks us; null where it is not known."""

    sessions: int | None
    """Requests under way."""
    queue: int | None
    """Requests that wait for a place."""
    rate_per_s: int | None
    """New ones in the last second."""
    errors: int | None
    """Connections and answers that failed since the worker started, also where another server was tried."""


class Server(Traffic):
    """One server that should be."""

    name: str
    """Its name: the member's Serf name."""
    id: int
    """HAProxy's id of it, the same over restarts."""
    address: str
    """Where it listens."""
    port: int
    """Where it listens."""
    weight: int
    """From 0 to 256; 0 for one that its tag takes out."""
    state: Literal["ready", "drain", "maint"]
    """As its tag or somebody's hand wants it."""
    up: bool | None
    """Whether its check passes, as HAProxy sees it; null while that is not known."""
    held: str
    """Why it stays although its member is not alive; empty when it is."""
    by_hand: bool
    """Whether somebody took it out on HAProxy itself."""
    out_by_agent: Literal["drain", "maint"] | None
    """The state into which its own agent (`agent-check`) put it; null for none."""
    check: str | None
    """What the last check said, such as L7OK; empty where there is none."""
    since_s: int | None
    """How long it has been up or down."""


class Leaving(TypedDict):
    """One server that is on its way out."""

    name: str
    """Its name."""
    since_s: float
    """Since when it gets no new requests."""
    sessions: int | None
    """Requests that it still has; null until they were counted."""


class TemplateServer(Traffic):
    """A server in a service's section that is the template's own: HAProxy's checks watch it, and it never leaves."""

    name: str
    """Its name."""
    address: str | None
    """Where it listens; null for a unix socket, or a name that did not resolve."""
    port: int
    """Where it listens."""
    weight: int
    """From 0 to 256."""
    state: Literal["ready", "drain", "maint"]
    """As HAProxy has it."""
    up: bool
    """Whether its check passes, as HAProxy sees it."""
    check: str | None
    """What the last check said, such as L7OK; empty where there is none."""


class Refused(TypedDict):
    """What the running worker did not take on its runtime socket."""

    commands: list[str]
    """The commands, a line each."""
    error: str
    """What it answered."""


class Service(Traffic):
    """One service of the settings."""

    name: str
    """Its name: that of the backend."""
    servers: list[Server]
    """Who should serve, ordered by name."""
    leaving: list[Leaving]
    """Who is on the way out."""
    template_servers: list[TemplateServer]
    """Servers of the template's own, as HAProxy runs them; none while it is not seen."""


class Reading(TypedDict):
    """How the traffic figures were had."""

    age_s: float | None
    """How old they are; null when there are none."""
    error: str
    """Why there are none; empty when there are."""


class Displaced(TypedDict):
    """A server that is not served since another one has its address and port."""

    service: str
    """The service."""
    server: str
    """Its name."""
    by: str
    """Who has the place."""


class Barred(TypedDict):
    """A server that is not served because of where it is."""

    service: str
    """The service."""
    server: str
    """Its name."""
    reason: str
    """Why it may not be there."""


class Damped(TypedDict):
    """A server that waits outside since its member comes and goes over and over."""

    service: str
    """The service."""
    server: str
    """Its name."""
    for_s: float
    """How long it will still wait, if it stays."""


class Quarantined(TypedDict):
    """A member that does not parse."""

    name: str
    """Its name, printable."""
    reason: str
    """Which field, and why."""


class Reason(TypedDict):
    """Why HAProxy must be reloaded."""

    kind: str
    """One of few words."""
    detail: str
    """What it is about."""


# `for` is a word of Python.
Wait = TypedDict("Wait", {"service": str, "server": str, "for": str})
Wait.__doc__ = "What must happen before the next action on a server."


class Line(TypedDict):
    """A line of the configuration that differs between the text that HAProxy runs and the one that it should run."""

    change: Literal["added", "removed"]
    """Whether the new text has it, or the running one."""
    section: str
    """The section that it stands in, such as `backend shop`."""
    line: str
    """The line; `server a, b … backup` stands for the server lines of a and b."""


class Plan(TypedDict):
    """What is to be done."""

    action: Literal["nothing", "runtime", "reload", "unknown"]
    """`unknown` while HAProxy has not been seen."""
    reasons: list[Reason]
    """Why a reload is due."""
    commands: list[str]
    """What HAProxy is to be told on its runtime socket."""
    waits: list[Wait]
    """What the next step waits for."""
    lines: list[Line]
    """Lines of the text that differ, at most 100."""
    lines_total: int
    """How many differ."""
    left: list[Reason]
    """Differences that the plan does not remove: text with `reload.on_text = "warn"`, servers that the text leaves out,
    and what a reload with this very text has left as it was."""


class DryRun(Plan):
    """What the files as they are now would change."""

    refused: str
    """Why HAProxy refuses the text, by `haproxy -c`; empty when it does not, or when no reload is due."""
    diff: list[str]
    """A unified diff of the text that HAProxy runs and the new one; empty while the former is not known."""


class File(TypedDict):
    """The file that HAProxy starts from."""

    level: bool
    """Whether it says what should be; else it follows in a moment."""


class Generation(TypedDict):
    """What is served, at one of three places."""

    structure: str
    """The digest of settings and template."""
    servers_digest: str
    """The digest of the servers."""
    age_s: float
    """Since when it is so."""


class Generations(TypedDict):
    """What should be, what HAProxy would start from, and what it runs: the same digests where all is level."""

    desired: Generation | None
    """Null before the first decision."""
    file: Generation | None
    """Null while it is not known what the file says."""
    running: Generation | None
    """Null while HAProxy has not been seen."""


class Blueprint(TypedDict):
    """Settings and template."""

    structure: str
    """The digest of what is wanted; empty before the first decision."""
    error: str
    """Why the newest edit is not in force; empty when it is."""


class LastReload(TypedDict):
    """The last reload that was tried."""

    age_s: float
    """How long ago."""
    reasons: list[str]
    """Why."""
    error: str
    """Why it failed; empty when it was proven."""


class Status(TypedDict):
    """Everything worth knowing."""

    version: str
    """Of rosterd."""
    pid: int
    """Of rosterd."""
    uptime_s: float
    """How long it has been running."""
    ready: bool
    """Whether a complete state is in force and fresh enough, and HAProxy answers."""
    agent: Agent
    """The local Serf agent."""
    proxy: Proxy
    """HAProxy."""
    services: list[Service]
    """In the order of the settings; none before the first decision."""
    traffic: Reading
    """How the traffic figures were had."""
    guard: str
    """Why no failed member is removed; empty while the guard is not engaged."""
    guard_overridden: str
    """Why the guard would be engaged, had an operator not overridden it; else empty."""
    displaced: list[Displaced]
    """Servers without a place."""
    barred: list[Barred]
    """Servers that may not be where they are."""
    damped: list[Damped]
    """Servers that wait outside."""
    quarantined: list[Quarantined]
    """Members that do not parse."""
    plan: Plan
    """What is to be done now."""
    refused: list[Refused]
    """What the running worker refused: for that it is reloaded."""
    file: File
    """The file that HAProxy starts from."""
    generations: Generations
    """What is served: desired, in the file, running."""
    blueprint: Blueprint
    """Settings and template."""
    action_error: str
    """Why what is in force cannot be brought about just now; empty when it can."""
    reloads: int
    """Reloads that were proven."""
    reloads_failed: int
    """Reloads that failed or had no effect."""
    last_reload: LastReload | None
    """The last one that was tried; null before the first."""


class Member(TypedDict):
    """One row of the member table."""

    name: str
    """Its Serf name, printable."""
    node: str
    """What people call it: the tag `node`, else its name."""
    address: str | None
    """Where it is; null for one that is not known in full: quarantined, or inherited from HAProxy."""
    role: str | None
    """The tag `role`."""
    status: Literal["alive", "leaving", "left", "failed", "unseen"]
    """What Serf says of it; `unseen` is not listed, though it is served."""
    since_s: float
    """Since when."""
    departures: float
    """How many departures are not forgotten yet, by the half-life of the settings."""
    quarantined: str
    """Why it does not parse; empty when it does."""
    tags: dict[str, str]
    """All its tags; none for one that does not parse."""


class Members(TypedDict):
    """The member table."""

    members: list[Member]
    """Ordered by name."""


class Alive(TypedDict):
    """The daemon answers."""

    alive: Literal[True]
    """Always."""


class Ready(TypedDict):
    """Whether the balancer is ready."""

    ready: bool
    """Whether a complete state is in force and fresh enough, and HAProxy answers."""
    reasons: list[str]
    """Why not; empty when it is."""


class NodeState(TypedDict):
    """How one node took the state that it was told."""

    node: str
    """What people call it: the tag `node`, else its name."""
    name: str
    """Its Serf name."""
    done: bool
    """Whether the member table shows the state."""
    after_s: float | None
    """How long that took; null where it was so before, or is not so."""
    problem: str
    """Why it is not so; empty when it is."""


class States(TypedDict):
    """What `rosterd drain`, `maint` and `ready` print as JSON."""

    state: Literal["ready", "drain", "maint"]
    """What they were told."""
    nodes: list[NodeState]
    """In the order in which they were given."""

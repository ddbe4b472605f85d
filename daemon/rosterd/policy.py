"""Who may serve: from members and services to the servers that should be configured.

Pure. Serf says who exists, HAProxy's health checks say who is healthy; gossip alone never removes a server that still
answers. What becomes of a member, by its status:

    alive          served as its tags say
    alive, but it no longer parses
                   keeps the line it had, for `quarantine_hold_s`; without one it is not served
    alive, but it comes and goes over and over
                   waits outside for a while (damping.py says who), unless nobody else would serve
    leaving, left  not served: the node said so itself
    failed, unseen held: keeps the line it had, for `hold_s`; then for as long as its health check passes, at most
                   `longest_hold_s`; not at all once an alive member claims its address and port

Isolation guard: while the local agent is unwell or does not answer, or more than half of a service's servers (and at
least two) are held, the likelier truth is that this balancer is cut off. While that lasts no held server is removed,
unless an operator knows better.

What somebody did by hand on HAProxy (drain, maintenance) stays until it is taken back there, or the member leaves.

Nobody serves from outside `networks`, from this machine's loopback unless they say so, or at a port of the balancer's
own: whoever reaches the gossip port could otherwise have requests sent wherever this machine can connect to.

One address and port is served once in a service: an alive member before a held one, who has it before who asks for it,
who takes traffic before who does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from rosterd.model import Address, AdminState, Backend, Entry, Member, Quarantined, Running, Server, Status
from rosterd.roster import Table
from rosterd.settings import PolicySettings, ServiceSettings

LARGEST_ID = 2**31 - 1
"""HAProxy keeps a server's id in a signed 32-bit integer."""

Lines = Mapping[str, Mapping[str, Server]]
"""Server lines by service and server name."""


@dataclass(frozen=True, slots=True)
class View:
    """What policy looks at besides the table.

    `served` are the lines of the last decision (at start: what HAProxy runs), `answering` whether the health check of
    a (service, server) passes, absent where that is not known, `health_score` the local agent's, 0 to 7,
    `agent_answers` whether it can be asked just now, `by_hand` the state into which somebody put a (service, server) on
    HAProxy, `waiting` until when a member that flaps is to stay outside, `own` where the balancer itself listens,
    and `guard_overridden` whether an operator has said that the guard is wrong this time.
    """

    served: Lines
    answering: Mapping[tuple[str, str], bool]
    health_score: int
    agent_answers: bool = True
    by_hand: Mapping[tuple[str, str], AdminState] = field(default_factory=dict)
    waiting: Mapping[str, float] = field(default_factory=dict)
    own: frozenset[tuple[Address, int]] = frozenset()
    guard_overridden: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """A server that stays although its member is not alive."""

    service: str
    name: str
    since: float
    why: str


@dataclass(frozen=True, slots=True)
class Displaced:
    """A server that is not served because `by` has its address and port."""

    service: str
    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Barred:
    """A server that is not served because of where it is."""

    service: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Damped:
    """A server that is not served until a time, because its member comes and goes over and over."""

    service: str
    name: str
    until: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Who serves, and everything that an operator should know about why.

    `guard` says why removals are frozen, empty when they are not; `guard_overridden` why they would be, had nobody
    overridden that. `review_at` is when time alone may change the
    decision; None when it cannot.
    """

    backends: tuple[Backend, ...]
    held: tuple[Held, ...]
    displaced: tuple[Displaced, ...]
    damped: tuple[Damped, ...]
    barred: tuple[Barred, ...]
    quarantined: tuple[Quarantined, ...]
    guard: str
    guard_overridden: str
    review_at: float | None

    @property
    def lines(self) -> Lines:
        """The decided server lines, as the next decision's `View.served`."""
        return {backend.service: {server.name: server for server in backend.servers} for backend in self.backends}


def decide(
    table: Table, services: Iterable[ServiceSettings], view: View, limits: PolicySettings, now: float
) -> Decision:
    """Decide for every service."""
    services = tuple(services)
    reason = _guard(table, view, limits)
    guard, overridden = ("", reason) if view.guard_overridden else (reason, "")
    backends: list[Backend] = []
    held: list[Held] = []
    displaced: list[Displaced] = []
    damped: list[Damped] = []
    barred: list[Barred] = []
    for service in services:
        served = view.served.get(service.name, {})
        keep = _Hold(service.name, view, limits, now, guarded=bool(guard))
        fit, unfit = _by_place(service.name, _wanted(table, service, served, keep), view, limits)
        barred += unfit
        wanted, outside = _admitted(service.name, fit, served, view)
        damped += [Damped(service.name, name, view.waiting[name]) for name in outside]
        winners, losers = _one_per_endpoint(service.name, wanted, served)
        numbered = _with_ids(winners, served)
        backends.append(Backend(service.name, tuple(_as_set_by_hand(service.name, numbered, view.by_hand))))
        names = {server.name for server in winners}
        held += [hold for _, hold in wanted if hold is not None and hold.name in names]
        displaced += losers
    here = (table.entries[name] for name in sorted(table.entries) if table.entries[name].status is not Status.LEFT)
    quarantined = [entry.subject for entry in here if isinstance(entry.subject, Quarantined)]
    return Decision(
        tuple(backends),
        tuple(held),
        tuple(displaced),
        tuple(damped),
        tuple(barred),
        tuple(quarantined),
        guard,
        overridden,
        _review_at(held, damped, limits, now),
    )


def inherited_lines(running: Running, services: Iterable[ServiceSettings]) -> Lines:
    """The server lines that HAProxy runs already, as the first decision's `View.served`."""
    return {
        service.name: {
            server.name: Server(server.name, server.id, server.address, server.port, server.weight, server.state)
            for server in running.backends.get(service.name, {}).values()
            if server.address is not None
        }
        for service in services
    }


# --- one member -------------------------------------------------------------------------------------------------

_Candidate = tuple[Server, Held | None]


@dataclass(frozen=True, slots=True)
class _Hold:
    """The rule for servers whose member is not alive, for one service at one moment."""

    service: str
    view: View
    limits: PolicySettings
    now: float
    guarded: bool

    def keeps_line(self, entry: Entry) -> bool:
        """Whether an alive member that does not parse keeps the line it had."""
        return entry.unfit_since is None or self.now < entry.unfit_since + self.limits.quarantine_hold_s

    def keeps(self, entry: Entry) -> bool:
        if self.guarded or self.now < entry.since + self.limits.hold_s:
            return True
        # Unknown health counts as answering: HAProxy is down or hangs just now, which proves nothing.
        return self.now < entry.since + self.limits.longest_hold_s and self.view.answering.get(
            (self.service, entry.name), True
        )


def _wanted(table: Table, service: ServiceSettings, served: Mapping[str, Server], hold: _Hold) -> Iterator[_Candidate]:
    for name in sorted(table.entries):
        if (found := _candidate(table.entries[name], service, served.get(name), hold)) is not None:
            yield found


def _candidate(entry: Entry, service: ServiceSettings, line: Server | None, hold: _Hold) -> _Candidate | None:
    match entry.status, entry.subject:
        case Status.ALIVE, Member() as member:
            return (_line(member, service), None) if service.matches(member.tags) else None
        case Status.ALIVE, Quarantined() if line is not None and hold.keeps_line(entry):
            return line, Held(service.name, entry.name, _unfit_since(entry), "quarantined")
        case ((Status.FAILED | Status.UNSEEN), _) if line is not None and hold.keeps(entry):
            return line, Held(service.name, entry.name, entry.since, entry.status.value)
        case _:
            return None


def _unfit_since(entry: Entry) -> float:
    return entry.since if entry.unfit_since is None else entry.unfit_since


def _line(member: Member, service: ServiceSettings) -> Server:
    return Server(
        name=member.name,
        id=0,  # given by _with_ids, once it is known who serves
        address=member.address,
        port=service.port if member.port is None else member.port,
        weight=_weight(member, service),
        state=member.state,
    )


def _weight(member: Member, service: ServiceSettings) -> int:
    """What the tags say; none for a server that the tag `state` takes out."""
    if member.state is not AdminState.READY:
        return 0
    return service.weight if member.weight is None else member.weight


# --- all members of a service -----------------------------------------------------------------------------------


def _by_place(
    service: str, wanted: Iterable[_Candidate], view: View, limits: PolicySettings
) -> tuple[list[_Candidate], list[Barred]]:
    """Those who are where servers may be, and those who are not."""
    fit: list[_Candidate] = []
    unfit: list[Barred] = []
    for candidate in wanted:
        server, _ = candidate
        if reason := _bar(server, view, limits):
            unfit.append(Barred(service, server.name, reason))
        else:
            fit.append(candidate)
    return fit, unfit


def _bar(server: Server, view: View, limits: PolicySettings) -> str:
    """Why nobody may serve from where this server is; empty when it may."""
    address = server.address
    if server.endpoint in view.own:
        return f"{address} port {server.port} is the balancer's own"
    if not limits.networks:
        return f"address {address} is loopback, which policy.networks does not name" if address.is_loopback else ""
    if any(address in network for network in limits.networks):
        return ""
    return f"address {address} is in none of policy.networks"


def _admitted(
    service: str, wanted: list[_Candidate], served: Mapping[str, Server], view: View
) -> tuple[list[_Candidate], list[str]]:
    """Who comes in, and the names of those who have to wait. Better somebody who flaps than nobody."""
    outside = {server.name for server, _ in wanted if server.name in view.waiting and server.name not in served}
    inside = [candidate for candidate in wanted if candidate[0].name not in outside]
    keys = [(service, server.name) for server, _ in inside if server.weight > 0]
    if not any(view.answering.get(key, True) and key not in view.by_hand for key in keys):
        return wanted, []
    return inside, sorted(outside)


def _one_per_endpoint(
    service: str, wanted: list[_Candidate], served: Mapping[str, Server]
) -> tuple[list[Server], list[Displaced]]:
    def rank(candidate: _Candidate) -> tuple[bool, bool, bool, str]:
        server, hold = candidate
        line = served.get(server.name)
        holds_it = line is not None and line.endpoint == server.endpoint
        # Who takes no traffic has no use for a place that somebody alive would use.
        return hold is not None, server.weight == 0 and not holds_it, not holds_it, server.name

    owners: dict[tuple[Address, int], str] = {}
    winners: list[Server] = []
    losers: list[Displaced] = []
    for server, _ in sorted(wanted, key=rank):
        owner = owners.setdefault(server.endpoint, server.name)
        if owner == server.name:
            winners.append(server)
        else:
            losers.append(Displaced(service, server.name, owner))
    return sorted(winners, key=lambda server: server.name), losers


def _with_ids(servers: list[Server], served: Mapping[str, Server]) -> tuple[Server, ...]:
    """Give each server the id that it has, or a new one that depends on its name and on collisions only."""
    taken = {served[server.name].id for server in servers if server.name in served}
    numbered: list[Server] = []
    for server in servers:
        line = served.get(server.name)
        number = _free_id(server.name, taken) if line is None else line.id
        taken.add(number)
        numbered.append(replace(server, id=number))
    return tuple(numbered)


def _as_set_by_hand(
    service: str, servers: Iterable[Server], by_hand: Mapping[tuple[str, str], AdminState]
) -> Iterator[Server]:
    """The servers, out where somebody took them out by hand; what the tags take out is out already."""
    for server in servers:
        if server.weight == 0:
            yield server
        else:
            yield replace(server, state=by_hand.get((service, server.name), AdminState.READY))


def _free_id(name: str, taken: set[int]) -> int:
    number = int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % LARGEST_ID + 1
    while number in taken:
        number = number % LARGEST_ID + 1
    return number


# --- the guard --------------------------------------------------------------------------------------------------


def _guard(table: Table, view: View, limits: PolicySettings) -> str:
    if view.health_score >= limits.guard_health_score:
        return f"the local agent's health score is {view.health_score}"
    if not view.agent_answers and any(
        _is_away(table.entries.get(name)) for names in view.served.values() for name in names
    ):
        return "the local agent does not answer"
    for service, lines in view.served.items():
        away = sum(1 for name in lines if _is_away(table.entries.get(name)))
        if away >= 2 and away > limits.guard_share * len(lines):
            return f"{away} of {len(lines)} servers of {service} are failed or unseen"
    return ""


def _is_away(entry: Entry | None) -> bool:
    return entry is not None and entry.status in (Status.FAILED, Status.UNSEEN)


def _review_at(held: list[Held], damped: list[Damped], limits: PolicySettings, now: float) -> float | None:
    """The next moment at which time ends a hold or a wait; in between health decides, and is read on its own timer."""
    spans = {"quarantined": (limits.quarantine_hold_s,)}
    usual = (limits.hold_s, limits.longest_hold_s)
    ends = [hold.since + span for hold in held for span in spans.get(hold.why, usual)]
    return min((end for end in (*ends, *(each.until for each in damped)) if end > now), default=None)

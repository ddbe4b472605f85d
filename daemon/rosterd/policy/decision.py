"""The decision: the parts put together, for every service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rosterd.model import AdminState, Backend, Quarantined, Server, Status
from rosterd.policy.admission import Damped, admitted
from rosterd.policy.candidate import candidates
from rosterd.policy.endpoint import Displaced, one_per_endpoint
from rosterd.policy.guard import isolation
from rosterd.policy.hold import Held, Holding, ends_of
from rosterd.policy.ids import with_ids
from rosterd.policy.minimum import Minimum
from rosterd.policy.place import Barred, by_place
from rosterd.policy.tenure import Lines
from rosterd.policy.view import View
from rosterd.roster import Table
from rosterd.settings import PolicySettings, ServiceSettings


@dataclass(frozen=True, slots=True)
class Decision:
    """Who serves, and everything that an operator should know about why.

    `guard` says why removals are frozen, empty when they are not; `guard_overridden` why they would be, had nobody
    overridden that. `review_at` is when time alone may change the decision; None when it cannot.
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
    reason = isolation(table, view, limits)
    guard, overridden = ("", reason) if view.guard_overridden else (reason, "")
    backends: list[Backend] = []
    held: list[Held] = []
    displaced: list[Displaced] = []
    damped: list[Damped] = []
    barred: list[Barred] = []
    for service in services:
        name, served = service.name, view.served.get(service.name, {})
        holding = Holding(name, view, limits, now, guarded=bool(guard))
        fit, unfit = by_place(name, candidates(table, service, served, holding), view, limits)
        spares = [each for each in fit if each.is_spare]
        inside, outside = admitted(name, [each for each in fit if not each.is_spare], served, view)
        rivals, losers = one_per_endpoint(name, [*inside, *spares], served, view.tenures)
        winners = Minimum(name, service.least_servers, view).kept_by(rivals)
        reserved = frozenset(number for number in view.template_servers.get(name, {}).values() if number is not None)
        numbered = with_ids((winner.server for winner in winners), served, reserved)
        backends.append(Backend(name, tuple(_as_set_by_hand(name, numbered, view.by_hand))))
        held += [winner.hold for winner in winners if winner.hold is not None]
        displaced += losers
        damped += outside
        barred += unfit
    ends = (*ends_of(held, limits), *(each.until for each in damped))
    return Decision(
        tuple(backends),
        tuple(held),
        tuple(displaced),
        tuple(damped),
        tuple(barred),
        _quarantined(table),
        guard,
        overridden,
        min((end for end in ends if end > now), default=None),
    )


def _as_set_by_hand(
    service: str, servers: Iterable[Server], by_hand: Mapping[tuple[str, str], AdminState]
) -> Iterator[Server]:
    """The servers, out where somebody took them out by hand; what the tags take out is out already."""
    for server in servers:
        state = by_hand.get((service, server.name), AdminState.READY) if server.weight else server.state
        yield server if server.state is state else replace(server, state=state)


def _quarantined(table: Table) -> tuple[Quarantined, ...]:
    here = (table.entries[name] for name in sorted(table.entries) if table.entries[name].status is not Status.LEFT)
    return tuple(entry.subject for entry in here if isinstance(entry.subject, Quarantined))

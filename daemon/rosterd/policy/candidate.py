"""Candidates: who may serve in a service, with which line: as its tags say, or on hold with the line it had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rosterd.model import AdminState, Entry, Member, Quarantined, Server, Status
from rosterd.policy.hold import Held, Holding
from rosterd.roster import Table
from rosterd.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that may be served, and the hold that keeps it; None for that of an alive member."""

    server: Server
    hold: Held | None = None

    @property
    def why(self) -> str:
        """Why it is held; empty for an alive member's server."""
        return self.hold.why if self.hold else ""

    @property
    def is_spare(self) -> bool:
        """Whether it serves only where too few others would; `minimum.py` says whether it does."""
        return self.hold is not None and self.hold.is_spare


def candidates(
    table: Table, service: ServiceSettings, served: Mapping[str, Server], holding: Holding
) -> Iterator[Candidate]:
    """Who of the table may serve, ordered by name; `served` are the lines that there are."""
    for name in sorted(table.entries):
        if (found := _candidate(table.entries[name], service, served.get(name), holding)) is not None:
            yield found


def _candidate(entry: Entry, service: ServiceSettings, line: Server | None, holding: Holding) -> Candidate | None:
    match entry.status, entry.subject:
        case Status.ALIVE, Member() as member if service.matches(member.tags):
            return Candidate(_line(member, service, line))
        case _ if line is None:
            return None  # there is nothing to hold: most who have left
        case Status.ALIVE, Quarantined():
            hold = holding.of_unfit(entry)
        case ((Status.FAILED | Status.UNSEEN), _):
            hold = holding.of_away(entry)
        case _:
            hold = holding.of_gone(entry)
    return Candidate(line, hold)


def _line(member: Member, service: ServiceSettings, line: Server | None) -> Server:
    return Server(
        name=member.name,
        id=line.id if line else 0,  # a new one gets its own from ids.py, once it is known who serves
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

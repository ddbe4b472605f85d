"""Places: where servers may be. Whoever reaches the gossip port chooses an address freely."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rosterd.model import Server
from rosterd.policy.candidate import Candidate
from rosterd.policy.view import View
from rosterd.settings import PolicySettings


@dataclass(frozen=True, slots=True)
class Barred:
    """A server that is not served because of where it is."""

    service: str
    name: str
    reason: str


def by_place(
    service: str, wanted: Iterable[Candidate], view: View, limits: PolicySettings
) -> tuple[list[Candidate], list[Barred]]:
    """Those who are where servers may be, and those who are not."""
    fit: list[Candidate] = []
    unfit: list[Barred] = []
    for candidate in wanted:
        if reason := _bar(candidate.server, view, limits):
            unfit.append(Barred(service, candidate.server.name, reason))
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

"""Places: where servers may be, and by which names. The gossip port lets a node choose both freely."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rosterd.model import Server
from rosterd.policy.candidate import Candidate
from rosterd.policy.view import View
from rosterd.reached import reached
from rosterd.settings import PolicySettings


@dataclass(frozen=True, slots=True)
class Barred:
    """A server that is not served because of where it is, or because of its name."""

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
        if reason := _bar(service, candidate.server, view, limits):
            unfit.append(Barred(service, candidate.server.name, reason))
        else:
            fit.append(candidate)
    return fit, unfit


def _bar(service: str, server: Server, view: View, limits: PolicySettings) -> str:
    """Why this server may not be served under its name or from where it is; empty when it may."""
    if server.name in view.template_servers.get(service, {}):
        return "the template has a server of its own by this name: rename one of the two"
    address, target = server.address, reached(server.address)
    shown = f"{address}" if target == address else f"{address}, which leads to {target},"
    if (target, server.port) in view.own:
        return f"{shown} port {server.port} is the balancer's own"
    if target in view.own.addresses and not target.is_loopback and server.port not in limits.own_ports:
        return f"{shown} is this machine's own address: policy.own_ports does not name port {server.port}"
    if not limits.networks:
        return f"address {shown} is loopback, which policy.networks does not name" if target.is_loopback else ""
    if any(address in network for network in limits.networks):
        return ""
    return f"address {address} is in none of policy.networks"

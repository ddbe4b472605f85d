"""What policy looks at besides the member table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from rosterd.model import Address, AdminState, Running, Server
from rosterd.policy.tenure import Lines, Tenures
from rosterd.settings import Endpoint, ServiceSettings

TemplateServers = Mapping[str, Mapping[str, int | None]]
"""Servers that are the template's own, by service and name, with the id that their line gives."""

EVERY_ADDRESS = (IPv4Address("0.0.0.0"), IPv6Address("::"))  # noqa: S104  what a bind says that names no address


@dataclass(frozen=True, slots=True)
class Own:
    """Where the balancer itself listens: at its `binds`, and where these say every address, at all of `addresses`."""

    addresses: frozenset[Address] = frozenset()
    binds: frozenset[Endpoint] = frozenset()

    def __contains__(self, endpoint: Endpoint) -> bool:
        address, port = endpoint
        is_everywhere = any((every, port) in self.binds for every in EVERY_ADDRESS)
        return endpoint in self.binds or (is_everywhere and address in self.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What policy looks at besides the table.

    `served` are the lines of the last decision (at start: what HAProxy runs), `answering` whether the health check of
    a (service, server) passes, absent where that is not known or has not spoken yet, `health_score` the local agent's,
    0 to 7, `agent_answers` whether it can be asked just now, `by_hand` the state into which somebody put a
    (service, server) on HAProxy, `waiting` until when a member that flaps is to stay outside, `own` where the balancer
    itself listens, `template_servers` the servers that the template has of its own, and `guard_overridden` whether an
    operator has said that the guard is wrong this time. `tenures` say which members served where before; they follow
    from decisions that were made, so that they alone are no reason for another one.
    """

    served: Lines
    answering: Mapping[tuple[str, str], bool]
    health_score: int
    agent_answers: bool = True
    by_hand: Mapping[tuple[str, str], AdminState] = field(default_factory=dict)
    waiting: Mapping[str, float] = field(default_factory=dict)
    own: Own = Own()
    template_servers: TemplateServers = field(default_factory=dict)
    guard_overridden: bool = False
    tenures: Tenures = field(default_factory=dict, compare=False)


def inherited_lines(running: Running, services: Iterable[ServiceSettings], template_servers: TemplateServers) -> Lines:
    """The members' server lines that HAProxy runs already, as the first decision's `View.served`."""
    return {
        service.name: {
            server.name: Server(server.name, server.id, server.address, server.port, server.weight, server.state)
            for server in running.backends.get(service.name, {}).values()
            if server.address is not None and server.name not in template_servers.get(service.name, {})
        }
        for service in services
    }


def answers_in(running: Running) -> Mapping[tuple[str, str], bool]:
    """Whether the health check of each (service, server) passes, as `View.answering`.

    A server that HAProxy takes to be up before its check has spoken is not known to answer.
    """
    return {
        (service, server.name): server.up
        for service, servers in running.backends.items()
        for server in servers.values()
        if server.checked or not server.up
    }

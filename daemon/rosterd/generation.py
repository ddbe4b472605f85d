"""The three generations of what is served: desired, in the file, running; and how they are compared.

Pure. A generation says which servers there are, with weight and state, by which structure, and since when; nothing of
their health or their ids: where two digests are equal, on one balancer or on two, the same requests go to the same
servers. Our own drain is weight 0, in HAProxy and out of it, so it is no state of its own here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from rosterd.model import Address, AdminState, Desired, Running, RunningServer, Server

_Row = tuple[str, str, Address | None, int, int, AdminState]


@dataclass(frozen=True)
class Generation:
    """What is served at one of the three places, and since when; `rows` are ordered."""

    structure: str
    rows: tuple[_Row, ...]
    since: float

    @cached_property
    def servers_digest(self) -> str:
        """The same on any two balancers that serve the same; made when somebody asks, and then kept."""
        rows = [(service, name, str(address), *rest, state.value) for service, name, address, *rest, state in self.rows]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def of_desired(desired: Desired, now: float, last: Generation | None) -> Generation:
    """What should be; `last` again where that says the same."""
    rows = (_row(backend.service, server) for backend in desired.backends for server in backend.servers)
    return _generation(desired.structure, rows, now, last)


def of_running(running: Running, now: float, last: Generation | None) -> Generation:
    """What HAProxy runs; `last` again where that says the same."""
    rows = (_row(service, server) for service, servers in running.backends.items() for server in servers.values())
    return _generation(running.structure, rows, now, last)


def _generation(structure: str, rows: Iterable[_Row], now: float, last: Generation | None) -> Generation:
    found = tuple(sorted(rows, key=_name))
    if last is not None and (last.structure, last.rows) == (structure, found):
        return last
    return Generation(structure, found, now)


def _name(row: _Row) -> tuple[str, str]:
    return row[0], row[1]


def _row(service: str, server: Server | RunningServer) -> _Row:
    state = server.state
    if state is AdminState.DRAIN and server.weight == 0:
        state = AdminState.READY
    return service, server.name, server.address, server.port, server.weight, state

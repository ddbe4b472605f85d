"""The three generations of what is served: desired, in the file, running; and how they are compared.

Pure. A digest says which servers there are, with weight and state, and nothing of their health or their ids: where two
digests are equal, on one balancer or on two, the same requests go to the same servers. Our own drain is weight 0, in
HAProxy and out of it, so it is no state of its own here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from rosterd.model import AdminState, Desired, Running, RunningServer, Server

_Row = tuple[str, str, str, int, int, str]


def digest_of_desired(desired: Desired) -> str:
    """The digest of servers that should be."""
    return _digest(_row(backend.service, server) for backend in desired.backends for server in backend.servers)


def digest_of_running(running: Running) -> str:
    """The digest of servers that HAProxy runs."""
    return _digest(
        _row(service, server) for service, servers in running.backends.items() for server in servers.values()
    )


def is_same(one: Running, other: Running) -> bool:
    """Whether both run the same servers by the same structure; cheaper than two digests."""
    if one.structure != other.structure or one.backends.keys() != other.backends.keys():
        return False
    for service, servers in one.backends.items():
        others = other.backends[service]
        if servers.keys() != others.keys():
            return False
        if any(_said(server) != _said(others[name]) for name, server in servers.items()):
            return False
    return True


def _said(server: RunningServer) -> tuple[object, ...]:
    return server.address, server.port, server.weight, server.state


def _row(service: str, server: Server | RunningServer) -> _Row:
    state = server.state
    if state is AdminState.DRAIN and server.weight == 0:
        state = AdminState.READY
    return service, server.name, str(server.address), server.port, server.weight, state.value


def _digest(rows: Iterable[_Row]) -> str:
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()[:16]

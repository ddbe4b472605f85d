"""Desired against running: what must be done, as a value.

Pure. `compare` returns `Nothing`, `Runtime(commands)` or `Reload(reasons)`; acting is somebody else's job, so that
`rosterd plan` can print it. Rules:

- Only differences count, each with a reason that names the service, the server and the fields.
- Health is not configuration: a server that HAProxy sees down is as desired as one that is up.
- The reload is the only way to act so far; every difference is a reason for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rosterd.model import (
    AdminState,
    Backend,
    Desired,
    Nothing,
    Plan,
    Reason,
    ReasonKind,
    Reload,
    Running,
    RunningServer,
    Server,
)


def compare(desired: Desired, running: Running) -> Plan:
    """What takes HAProxy from what it runs to what is desired."""
    reasons = tuple(_reasons(desired, running))
    return Reload(reasons) if reasons else Nothing()


def _reasons(desired: Desired, running: Running) -> Iterator[Reason]:
    if desired.structure != running.structure:
        was = running.structure or "unknown"
        yield Reason(ReasonKind.STRUCTURE, f"template or settings: {was} to {desired.structure}")
    for backend in desired.backends:
        # HAProxy leaves a backend without servers out of `show servers state`.
        yield from _server_reasons(backend, running.backends.get(backend.service, {}))


def _server_reasons(backend: Backend, running: Mapping[str, RunningServer]) -> Iterator[Reason]:
    wanted = {server.name for server in backend.servers}
    for server in backend.servers:
        found = running.get(server.name)
        label = f"{backend.service}/{server.name}"
        if found is None:
            yield Reason(ReasonKind.SERVER_ADDED, f"{label} at {server.address} port {server.port}")
        elif changed := _changed(server, found):
            yield Reason(ReasonKind.SERVER_CHANGED, f"{label}: {', '.join(changed)}")
    for name in sorted(running.keys() - wanted):
        yield Reason(ReasonKind.SERVER_REMOVED, f"{backend.service}/{name}")


def _changed(server: Server, running: RunningServer) -> list[str]:
    state = running.state
    pairs: list[tuple[str, object, object]] = [
        ("id", running.id, server.id),
        ("address", running.address, server.address),
        ("port", running.port, server.port),
    ]
    if server.state is not AdminState.DRAIN:
        pairs.append(("weight", running.weight, server.weight))
    elif state is AdminState.READY and running.weight == 0:
        # That is how a draining server stands in the file.
        state = AdminState.DRAIN
    pairs.append(("state", state.value, server.state.value))
    return [f"{field} {old} to {new}" for field, old, new in pairs if old != new]

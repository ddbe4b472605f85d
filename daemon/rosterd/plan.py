"""Desired against running: what must be done, as a value.

Pure. `compare` returns `Nothing`, `Runtime(actions, waits)` or `Reload(reasons, actions)`; acting is somebody else's
job, so that `rosterd plan` can print it. Rules:

- Only differences count. Health is no difference: a server that HAProxy sees down is as desired as one that is up.
- A plan is one step. What it waits for (a first check, the end of running requests) is looked up again, and the next
  plan goes on from what HAProxy shows then; nothing is remembered of how far a server has come.
- A server comes in without weight and gets it when its health check has spoken. It goes out without weight first, then
  into maintenance, then away: when nothing runs on it any more, or its time is over.
- A server whose first check HAProxy has put off is added anew: that is how to have one at once.
- Whoever is to go out keeps the traffic while nobody else would have it and somebody is about to come in: until the
  first checks have spoken. Who stays for want of somebody that answers is policy's to say.
- While the agent of a server is on (`agent-check`), weight and state are the agent's. It is switched off before the
  server is taken out, since it would undo that, and on again with the server's weight.
- Structure, and what this HAProxy cannot be told at run time, are reasons to reload. What it can be told does not wait
  for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from rosterd.model import (
    Action,
    AddServer,
    AdminState,
    AgentCheck,
    Backend,
    CutSessions,
    Desired,
    DisableAgent,
    EnableAgent,
    EnableChecks,
    Nothing,
    Plan,
    Reason,
    ReasonKind,
    Reload,
    RemoveServer,
    Running,
    RunningServer,
    Runtime,
    Server,
    ServerKey,
    SetEndpoint,
    SetState,
    SetWeight,
    Wait,
)
from rosterd.server_lines import ServerLines

FIRST_CHECK = "its first check"
REPLACEMENT = "another server to take its traffic"

NAMES_SHOWN = 3
"""How many servers a reason names."""


@dataclass(frozen=True, slots=True)
class Means:
    """What may be used to remove a difference, and what is known besides.

    `departed` says since when a (service, server) that is not desired gets no new requests, `unchecked` since when the
    first check of one has been awaited and has not begun, `refused` what HAProxy's running worker answered to an action
    that it did not take. A first check should have begun within `check_s`. Times are monotonic seconds. To `closed`
    services no server is added at run time: the options of servers that stay there change with it, and in between two
    could serve where the text has one. In `awaited` services the coming reload brings servers of the template's own.
    """

    now: float = 0.0
    drain_s: float = 0.0
    departed: Mapping[ServerKey, float] = field(default_factory=dict)
    unchecked: Mapping[ServerKey, float] = field(default_factory=dict)
    refused: Mapping[Action, str] = field(default_factory=dict)
    check_s: float = math.inf
    closed: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()


def compare(desired: Desired, running: Running, means: Means | None, text: tuple[Reason, ...] | None = None) -> Plan:
    """What takes HAProxy from what it runs towards what is desired; without means, by reloads alone.

    `text` are the reasons to reload that the text gives beside its servers; without them two digests are compared.
    The template's own servers are no difference: they are part of the text.
    """
    found = structure_reasons(desired, running) if text is None else text
    own = desired.contents.template_servers if desired.contents else {}
    running = running.without(own)
    if means is None:
        reasons = (*found, *_all_reasons(desired, running))
        return Reload(reasons) if reasons else Nothing()
    step = _Step(desired, running, means, found)
    step.take()
    if step.reasons:
        return Reload(tuple(step.reasons), tuple(step.actions), tuple(step.waits))
    if step.actions or step.waits:
        return Runtime(tuple(step.actions), tuple(step.waits))
    return Nothing()


def is_settled(plan: Plan) -> bool:
    """Whether HAProxy runs what is desired, though somebody may still be on the way out."""
    if isinstance(plan, Runtime):
        return not plan.actions and all(wait.what not in (FIRST_CHECK, REPLACEMENT) for wait in plan.waits)
    return isinstance(plan, Nothing)


def acts(plan: Plan | None) -> bool:
    """Whether it has anything be done, now or as soon as a reload may be."""
    return isinstance(plan, Reload) or (isinstance(plan, Runtime) and bool(plan.actions))


def most_additions(servers: int) -> int:
    """So many servers may be added at run time to a backend of so many; more are faster by a reload.

    Measured: about 700 in an empty backend, 350 beside 1,000 servers, 75 beside 10,000.
    """
    return int(700 / (1 + servers / 1000))


def state_in_haproxy(server: Server) -> AdminState:
    """The state that HAProxy shows: a drain that the tag asks for is weight 0 and no state of HAProxy's."""
    if server.state is AdminState.DRAIN and not server.is_by_hand:
        return AdminState.READY
    return server.state


def without_drains_by_hand(desired: Desired) -> Desired:
    """What a new worker can be expected to run: no file says "drain", so a drain by hand is weight 0 there at first."""
    backends = tuple(replace(backend, servers=tuple(map(_as_in_file, backend.servers))) for backend in desired.backends)
    return replace(desired, backends=backends)


def _as_in_file(server: Server) -> Server:
    return replace(server, weight=0) if server.state is AdminState.DRAIN else server


# --- by reloads alone -------------------------------------------------------------------------------------------


def _all_reasons(desired: Desired, running: Running) -> Iterator[Reason]:
    for backend in desired.backends:
        # HAProxy leaves a backend without servers out of `show servers state`.
        yield from _server_reasons(backend, running.backends.get(backend.service, {}))


def structure_reasons(desired: Desired, running: Running) -> tuple[Reason, ...]:
    """Why HAProxy has to be reloaded whatever its servers are; none when it runs this template with these settings."""
    if desired.structure == running.structure:
        return ()
    was = running.structure or "unknown"
    return (Reason(ReasonKind.STRUCTURE, f"template or settings: {was} to {desired.structure}"),)


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
    pairs: tuple[tuple[str, object, object], ...] = (
        ("id", running.id, server.id),
        ("address", running.address, server.address),
        ("port", running.port, server.port),
        ("weight", running.weight, server.weight),
        ("state", running.state.value, state_in_haproxy(server).value),
    )
    return [f"{label} {old} to {new}" for label, old, new in pairs if old != new]


# --- at run time ------------------------------------------------------------------------------------------------


class _Step:
    """One step of one plan, being made."""

    def __init__(self, desired: Desired, running: Running, means: Means, reasons: tuple[Reason, ...]) -> None:
        self.actions: list[Action] = []
        self.waits: list[Wait] = []
        self.reasons = list(reasons)
        self._is_other_text = bool(reasons)
        self._desired = desired
        self._running = running
        self._means = means

    def take(self) -> None:
        if not self._running.structure:
            # Not made by us: what its backends are is not known, and a name may be the same by chance.
            return
        for backend in self._desired.backends:
            found = self._running.backends.get(backend.service, {})
            if not found and self._is_other_text:
                continue  # it may not even be there yet
            self._add_new(backend, found)
            stay = _stay(backend, found, is_awaited=backend.service in self._means.awaited)
            wanted = {server.name: server for server in backend.servers}
            for name in sorted(found):
                if name in stay:
                    self.waits.append(Wait(backend.service, name, REPLACEMENT))
                elif name in wanted:
                    self._level(backend.service, wanted[name], found[name])
                else:
                    self._see_off(backend.service, found[name])

    @cached_property
    def _lines(self) -> ServerLines:
        return ServerLines(self._desired.text, self._running.version)

    # --- who comes, and who stays -------------------------------------------------------------------------------

    def _add_new(self, backend: Backend, found: Mapping[str, RunningServer]) -> None:
        new = [server for server in backend.servers if server.name not in found]
        if new and backend.service in self._means.closed:
            names = ", ".join(server.name for server in new[:NAMES_SHOWN])
            detail = f"{backend.service}: {names} with the other options that servers beside it get"
            self.reasons.append(Reason(ReasonKind.SERVER_ADDED, detail))
            return
        if len(new) > most_additions(len(found)):
            detail = f"{backend.service}: {len(new)} servers to add, a reload is faster"
            self.reasons.append(Reason(ReasonKind.SERVER_ADDED, detail))
            return
        for server in new:
            self._add(backend.service, server)

    def _add(self, service: str, server: Server) -> None:
        addition = self._lines.addition(service, server.name)
        if addition.obstacle:
            detail = f"{service}/{server.name} at {server.address} port {server.port}: {addition.obstacle}"
            self.reasons.append(Reason(ReasonKind.SERVER_ADDED, detail))
        elif self._act(AddServer(service, server, addition.options)):
            state = state_in_haproxy(server)
            if state is not AdminState.READY:
                self._act(SetState(service, server.name, state))
            if server.weight > 0:
                self.waits.append(Wait(service, server.name, FIRST_CHECK))

    def _level(self, service: str, server: Server, found: RunningServer) -> None:
        name = server.name
        if server.id != found.id:
            detail = f"{service}/{name}: id {found.id} to {server.id}"
            self.reasons.append(Reason(ReasonKind.SERVER_CHANGED, detail))
        if server.endpoint != (found.address, found.port):
            self._act(SetEndpoint(service, name, server.address, server.port))
        weight = found.weight
        state = state_in_haproxy(server)
        if _is_of_another_line(server, found):
            detail = f"{service}/{name}: weight {found.initial_weight} to {server.weight}, on a line with agent-check"
            self.reasons.append(Reason(ReasonKind.SERVER_CHANGED, detail))
            if found.agent is AgentCheck.ON:  # it makes its own of every weight
                return
        is_out = not _takes_traffic(server) and (weight, found.state) != (server.weight, state)
        if found.agent is AgentCheck.ON and is_out:
            self._silence_agent(service, found)
            weight = 0
        if found.check_off and not found.checked and weight > 0:  # added, and the rest of that was cut off
            self._act(SetWeight(service, name, 0))
            weight = 0
        if found.state is not state:
            self._act(SetState(service, name, state))
        if found.check_off:
            self._act(EnableChecks(service, name))
        if weight != server.weight:
            self._level_weight(service, server, found, weight)

    def _level_weight(self, service: str, server: Server, found: RunningServer, weight: int) -> None:
        name = server.name
        if weight == 0 and _takes_traffic(server) and not found.checked:
            self.waits.append(Wait(service, name, FIRST_CHECK))
            if self._is_put_off((service, name)):
                self._act(SetState(service, name, AdminState.MAINT))
                self._act(RemoveServer(service, name))
            return
        self._act(SetWeight(service, name, server.weight))
        if found.agent is AgentCheck.OFF and weight == 0 and not _is_of_another_line(server, found):
            self._act(EnableAgent(service, name))

    def _silence_agent(self, service: str, found: RunningServer) -> None:
        """Take a server from its agent, which would undo what is set, and end the state that the agent gave it."""
        self._act(DisableAgent(service, found.name))
        self._act(SetWeight(service, found.name, 0))
        if found.out_by_agent is not AdminState.READY:
            self._act(SetState(service, found.name, AdminState.READY))

    def _is_put_off(self, key: ServerKey) -> bool:
        """Whether the first check came due before it was switched on: HAProxy forgot it then for a whole `inter`."""
        since = self._means.unchecked.get(key)
        return since is not None and self._means.now >= since + self._means.check_s

    # --- who goes -----------------------------------------------------------------------------------------------

    def _see_off(self, service: str, server: RunningServer) -> None:
        """The next step of a server on its way out."""
        name = server.name
        sessions = self._running.sessions.get((service, name))
        is_late = self._means.now >= self._means.departed.get((service, name), self._means.now) + self._means.drain_s
        if server.agent is AgentCheck.ON:
            self._silence_agent(service, server)
            self.waits.append(Wait(service, name, "running requests"))
        elif server.weight > 0 and server.state is AdminState.READY:
            self._act(SetWeight(service, name, 0))
            self.waits.append(Wait(service, name, "running requests"))
        elif sessions is None:
            self.waits.append(Wait(service, name, "running requests"))
        elif sessions > 0 and not is_late:
            self.waits.append(Wait(service, name, f"{sessions} running requests"))
        else:
            if server.state is not AdminState.MAINT:
                if server.weight > 0:  # or it would look like maintenance by hand
                    self._act(SetWeight(service, name, 0))
                self._act(SetState(service, name, AdminState.MAINT))
            if sessions > 0:
                self._act(CutSessions(service, name, sessions))
            self._act(RemoveServer(service, name))

    def _act(self, action: Action) -> bool:
        """Take up an action; False when this worker has refused it before, which is a reason to reload."""
        refusal = self._means.refused.get(action)
        if refusal is None:
            self.actions.append(action)
            return True
        detail = f"{action.service}/{action.name}: HAProxy refused: {refusal}"
        self.reasons.append(Reason(ReasonKind.COMMAND_REFUSED, detail))
        return False


def _stay(backend: Backend, found: Mapping[str, RunningServer], *, is_awaited: bool) -> frozenset[str]:
    """The servers that have to stay for a while although they are to go out.

    They serve just now, without them none would, and another one is about to: by a first check, or because a reload
    brings a server of the template's own.
    """
    serving = frozenset(name for name, server in found.items() if _serves(server))
    wanted = {server.name for server in backend.servers if _takes_traffic(server)}
    is_about_to = any(name not in found or not _is_in(found[name]) for name in wanted)
    return serving if (is_about_to or is_awaited) and not serving & wanted else frozenset()


def _takes_traffic(server: Server) -> bool:
    return server.weight > 0 and server.state is AdminState.READY


def _is_of_another_line(server: Server, found: RunningServer) -> bool:
    """True if the agent of a server would name a percentage of another weight than the one that is desired."""
    return found.agent is not AgentCheck.NONE and server.weight not in (0, found.initial_weight)


def _is_in(found: RunningServer) -> bool:
    """Whether HAProxy sends it requests when it is up."""
    return found.weight > 0 and found.state is AdminState.READY


def _serves(found: RunningServer) -> bool:
    return _is_in(found) and found.up

"""What is known of the two sides, Serf and HAProxy, and since when.

Pure state: the controller owns the only one and tells it what it has seen. Nothing here is ever emptied because a side
went quiet: the last good knowledge stays, with its age.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rosterd.damping import Limits, Penalties, note, waiting
from rosterd.generation import Generation, of_running
from rosterd.model import (
    Address,
    AdminState,
    Backend,
    Change,
    Desired,
    Member,
    Plan,
    Reload,
    RemoveServer,
    Running,
    RunningServer,
    Runtime,
    ServerKey,
    Snapshot,
    Status,
)
from rosterd.parse import shown_name
from rosterd.policy import answers_in
from rosterd.roster import EMPTY, Table, advance, inherit


@dataclass(slots=True)
class Side:
    """Whether the agent or HAProxy answers: `error` is empty while it does, `since` is when that began."""

    since: float
    error: str = "not reached yet"

    def answers(self, now: float) -> None:
        """It does."""
        if self.error:
            self.since, self.error = now, ""

    def fails(self, now: float, error: str) -> bool:
        """It does not; True when that, or why, is news."""
        is_news = self.error != error
        if not self.error:
            self.since = now
        self.error = error
        return is_news


def _others(found: Mapping[str, RunningServer], backend: Backend) -> Iterator[RunningServer]:
    wanted = {server.name for server in backend.servers}
    return (server for name, server in found.items() if name not in wanted)


def _is_by_hand(server: RunningServer) -> bool:
    """Our own drain is weight 0, and our own maintenance has weight 0 too.

    A server that HAProxy has just added is in maintenance with its weight until the next command, its check still off.
    """
    if server.state is AdminState.MAINT:
        return server.weight > 0 and not (server.check_off and not server.checked)
    return server.state is AdminState.DRAIN


def _awaits_check(server: RunningServer) -> bool:
    """Whether its first check should come, and has not begun."""
    return server.weight == 0 and server.state is AdminState.READY and not (server.checked or server.checking)


class Observed:
    """The agent's newest reply, the member table made of all replies, and what HAProxy runs."""

    def __init__(self, now: float) -> None:
        """Know nothing yet."""
        self.agent = Side(now)
        self.proxy = Side(now)
        self.snapshot: Snapshot | None = None
        self.table = EMPTY
        self.is_stale = False
        """Whether the agent has been silent for longer than it may."""
        self.machine: frozenset[Address] = frozenset()
        """The addresses of this machine, as far as they are known."""
        self.running: Running | None = None
        self.template_servers: frozenset[ServerKey] = frozenset()
        """The servers that are the template's own: they are no member's, and none of them comes or goes here."""
        self.generation: Generation | None = None
        """What HAProxy was last seen to run, whatever its checks say, and since when; None before the first look."""
        self.seen_by_hand: Mapping[tuple[str, str], AdminState] = {}
        self.by_hand: Mapping[tuple[str, str], AdminState] = {}
        self.departed: Mapping[tuple[str, str], float] = {}
        self.unchecked: Mapping[tuple[str, str], float] = {}
        self.penalties: Penalties = {}
        self._restoring: Mapping[tuple[str, str], AdminState] = {}
        self._added_anew: frozenset[tuple[str, str]] = frozenset()
        self._answers: Mapping[tuple[str, str], bool] = {}
        self._pid = 0
        self._taken: Snapshot | None = None

    @property
    def is_whole(self) -> bool:
        """Whether both sides have been seen."""
        return self.snapshot is not None and self.running is not None

    @property
    def own_address(self) -> Address | None:
        """Where the local agent's own member is; None while that is not known."""
        name = shown_name(self.snapshot.agent) if self.snapshot else ""
        entry = self.table.entries.get(name)
        return entry.subject.address if entry and isinstance(entry.subject, Member) else None

    @property
    def own_addresses(self) -> frozenset[Address]:
        """Where this machine is: by its kernel, and by the agent, which may be behind a translation of addresses."""
        return self.machine if self.own_address is None else self.machine | {self.own_address}

    @property
    def health_score(self) -> int:
        """How well the local agent feels, 0 to 7; 0 before its first reply."""
        return self.snapshot.health_score if self.snapshot else 0

    @property
    def answering(self) -> Mapping[tuple[str, str], bool]:
        """Whether the health check of a (service, server) passes, absent where that is not known.

        While HAProxy is not seen, who answered still counts; who did not may do so by now.
        """
        if self.running is not None:
            return self._answers
        return {key: True for key, answers in self._answers.items() if answers}

    def note_generation(self, running: Running, now: float) -> None:
        """Note since when HAProxy runs what it does."""
        self.generation = of_running(running.without(self.template_servers), now, self.generation)

    def stale_at(self, limit_s: float) -> float | None:
        """When the agent will have been silent for too long; None while it answers, and once it has been."""
        return self.agent.since + limit_s if self.agent.error and not self.is_stale else None

    def note_age(self, limit_s: float, now: float) -> bool:
        """Note whether what is known of the members is too old; True when that is news."""
        before, self.is_stale = self.is_stale, bool(self.agent.error) and now >= self.agent.since + limit_s
        return before is not self.is_stale

    def see(self, running: Running) -> None:
        """Take what HAProxy runs.

        What was set by hand on the worker before is still wanted of a new one, until it is seen there or the server is
        not desired any more: a reload or a crash of HAProxy takes nothing back, be the server in its file or not.
        """
        here = {
            (service, server.name): server
            for service, servers in running.without(self.template_servers).backends.items()
            for server in servers.values()
        }
        found = {key: server.state for key, server in here.items() if _is_by_hand(server)}
        waiting = self.by_hand if running.pid != self._pid else self._restoring
        self._restoring = {key: state for key, state in waiting.items() if key not in found}
        if running.pid != self._pid:
            self._added_anew = frozenset()
        self.seen_by_hand = found
        self.by_hand = {**self._restoring, **found}
        self._pid = running.pid
        self._answers = answers_in(running)
        self.running = running

    def note_passages(self, desired: Desired, now: float) -> None:
        """Note since when each server is on its way in or out.

        Out is one that is not desired and gets no new requests; while HAProxy still sends it some, its time to finish
        has not begun. In is one whose first check has not even begun; not if it was added anew for that before. Who is
        neither any more is forgotten, and so is what was set by hand on a server that nobody wants.
        """
        running = self.running.without(self.template_servers).backends if self.running else {}
        leaving = {
            (backend.service, server.name): server.weight > 0 and server.state is AdminState.READY
            for backend in desired.backends
            for server in _others(running.get(backend.service, {}), backend)
        }
        self.departed = {key: now if serves else self.departed.get(key, now) for key, serves in leaving.items()}
        self.unchecked = {
            (service, server.name): self.unchecked.get((service, server.name), now)
            for service, servers in running.items()
            for server in servers.values()
            if _awaits_check(server) and (service, server.name) not in self._added_anew
        }
        wanted = {(backend.service, server.name) for backend in desired.backends for server in backend.servers}
        self._added_anew &= wanted
        self._restoring = {key: state for key, state in self._restoring.items() if key in wanted}
        self.by_hand = {**self._restoring, **self.seen_by_hand}

    def note_plan(self, plan: Plan | None) -> None:
        """Note who is about to be removed and added anew for a check that was put off: that is tried once."""
        actions = plan.actions if isinstance(plan, Runtime | Reload) else ()
        removed = {(action.service, action.name) for action in actions if isinstance(action, RemoveServer)}
        self._added_anew |= removed & self.unchecked.keys()

    def forget_passages(self) -> None:
        """Know of nobody on the way, and of nothing to be restored: where only reloads are used, nothing is."""
        self.departed = self.unchecked = {}
        self._restoring = {}
        self.by_hand = self.seen_by_hand

    def inherit(self, names: Iterable[str], now: float) -> None:
        """Add servers that HAProxy already runs and of which the agent has said nothing."""
        inherited = inherit(names, now)
        self.table = Table({**inherited.entries, **self.table.entries})

    def waiting(self, limits: Limits, now: float) -> Mapping[str, float]:
        """Who of the alive members flaps and is to wait, and until when."""
        return waiting(self.penalties, self.table, limits, now)

    def take_snapshot(self, now: float, limits: Limits, *, served: Container[str]) -> tuple[Change, ...]:
        """Bring the table level with the agent's newest reply; what changed.

        A reply that was taken before changes nothing, but who is `unseen` and not `served` any more is forgotten.
        """
        if self.snapshot is None or (self.snapshot is self._taken and not self._forgets(served)):
            return ()
        self._taken = self.snapshot
        before = self.table
        self.table, changes = advance(before, self.snapshot.records, now, served=served)
        self.penalties = note(self.penalties, before, self.table, served, limits, now)
        return changes

    def _forgets(self, served: Container[str]) -> bool:
        return any(entry.status is Status.UNSEEN and name not in served for name, entry in self.table.entries.items())

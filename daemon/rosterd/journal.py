"""One structured log line for each thing that happened to a member or a server, and one rich line for each change.

The pure modules return facts; here they become lines and numbers, under the present trace: everything between a wake-up
and the moment in which all is level again has one, whose id each line carries. What only the parts around HAProxy and
the agent see (a socket that broke, a file that cannot be written) they say themselves. Names are literals, listed in
docs/log-events.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import structlog

from rosterd.metrics import Metrics
from rosterd.model import Action, AdminState, Change, LineChange, Plan, Reload, Runtime, Transition, Wait
from rosterd.observed import Side
from rosterd.plan import acts
from rosterd.planner import Planned
from rosterd.policy import Damped, Decision, Held
from rosterd.proxy.actions import lines_of
from rosterd.proxy.apply import Applied
from rosterd.trace import SHOWN, Trace, Word

log = structlog.get_logger(__name__)

_EVENTS = {
    Transition.JOINED: "member.joined",
    Transition.RETURNED: "member.returned",
    Transition.LEAVING: "member.leaving_seen",
    Transition.LEFT: "member.left",
    Transition.FAILED: "member.failed",
    Transition.LOST: "member.lost",
    Transition.UPDATED: "member.updated",
    Transition.REAPED: "member.reaped",
    Transition.QUARANTINED: "member.quarantined",
}

_LOUD = frozenset({Transition.FAILED, Transition.LOST, Transition.QUARANTINED})


class Journal:
    """Tells of one controller: each fact as a line, and where it counts as a number, under the present trace."""

    def __init__(self, traces: Iterator[Trace], metrics: Metrics, clock: Callable[[], float]) -> None:
        """Wire it up; `traces` are fresh ones without end, `clock` is monotonic seconds."""
        self.metrics = metrics
        self._traces = traces
        self._trace = next(traces)
        self._clock = clock

    # --- the trace ------------------------------------------------------------------------------------------------

    def wake(self, word: Word) -> None:
        """Something happened that the next turn should look at."""
        self._trace.add_word(word, self._clock())
        self.metrics.woken(word)

    def turn(self) -> None:
        """A turn begins: what it logs belongs to the trace that has begun, if one has."""
        structlog.contextvars.clear_contextvars()
        if self._trace.has_begun:
            structlog.contextvars.bind_contextvars(trace=self._trace.id)

    def begin(self, word: Word) -> None:
        """The turn found something by itself: unless a trace has begun, one begins."""
        self._trace.add_word(word, self._clock())
        structlog.contextvars.bind_contextvars(trace=self._trace.id)

    def settle(self) -> None:
        """All is level: what comes next is another trace."""
        if self._trace.has_begun:
            self._trace = next(self._traces)

    def part(self) -> Trace:
        """The present trace goes its own way: what wakes us from here on belongs to the next one."""
        trace, self._trace = self._trace, next(self._traces)
        return trace

    def take_back(self, trace: Trace) -> None:
        """What that trace was about has come to nothing, and is still to be done, with what has woken us meanwhile."""
        trace.absorb(self._trace)
        self._trace = trace

    # --- what happens ---------------------------------------------------------------------------------------------

    def members_changed(self, changes: tuple[Change, ...]) -> None:
        """Say what happened to the members between two tables."""
        if changes:
            self.begin("look")  # what woke us may have come in the middle of the turn, which had no trace until then
        self._trace.add_changes(changes)
        self.metrics.changed(changes)
        tell_changes(changes)

    def taken_by_hand(
        self, before: Mapping[tuple[str, str], AdminState], after: Mapping[tuple[str, str], AdminState]
    ) -> None:
        """Say what somebody did to servers on HAProxy itself, and that it stays."""
        if before.keys() != after.keys():
            self.begin("look")
        tell_by_hand(before, after)

    def planned(self, plan: Plan | None) -> None:
        """Note what is to be done, and when that was known."""
        if acts(plan):
            self.begin("look")
        self._trace.note_plan(self._clock())
        self.metrics.planned(plan)

    def servers_changed(self, done: Sequence[Action], waits: Sequence[Wait], pid: int) -> None:
        """Say what HAProxy was told on its runtime socket, why, and what the next step waits for."""
        now = self._clock()
        seconds = self._trace.seconds_to_applied(now)
        self.metrics.acted(done, seconds)
        log.info(
            "servers.changed",
            woken_by=list(self._trace.woken_by),
            members=list(self._trace.members),
            commands=[line for action in done[:SHOWN] for line in lines_of(action)],
            actions_total=len(done),
            waits=[f"{wait.service}/{wait.name}: {wait.what}" for wait in waits[:SHOWN]],
            pid=pid,
            wake_to_plan_s=round(self._trace.seconds_to_plan(now), 4),
            wake_to_applied_s=round(seconds, 4),
        )

    def reloaded(self, trace: Trace, plan: Reload, applied: Applied) -> None:
        """Say what woke us, what differed, what was done about it, and how long each step took."""
        now = self._clock()
        seconds = trace.seconds_to_applied(now)
        self.metrics.reloaded(plan.reasons, seconds)
        log.info(
            "proxy.reloaded",
            woken_by=list(trace.woken_by),
            members=list(trace.members),
            reasons=[reason.detail for reason in plan.reasons[:SHOWN]],
            reasons_total=len(plan.reasons),
            lines_added=_lines_of_text(plan.lines, added=True),
            lines_removed=_lines_of_text(plan.lines, added=False),
            lines_total=len(plan.lines),
            pid=applied.proof.worker_pid,
            old_workers=applied.proof.old_workers,
            warnings=list(applied.warnings),
            kept_down=applied.kept_down,
            check_s=round(applied.check_s, 4),
            install_s=round(applied.install_s, 4),
            reload_s=round(applied.reload_s, 4),
            wake_to_plan_s=round(trace.seconds_to_plan(now), 4),
            wake_to_applied_s=round(seconds, 4),
        )


def tell_left(before: Planned, after: Planned) -> None:
    """Say which differences are not removed, once for each; and that there are none any more."""
    is_the_same = after.left == before.left and (after.lines == before.lines or not after.left)
    if after.plan is None or is_the_same:
        return
    if after.left:
        log.warning(
            "text.not_applied",
            reasons=[reason.detail for reason in after.left[:SHOWN]],
            lines_added=_lines_of_text(after.lines, added=True),
            lines_removed=_lines_of_text(after.lines, added=False),
            effect="HAProxy runs without it until the next reload, edit or change of servers",
        )
    else:
        log.info("text.applied", reasons=[reason.detail for reason in before.left[:SHOWN]])


def _lines_of_text(lines: Sequence[LineChange], *, added: bool) -> list[str]:
    """The lines that came, or those that are gone, each with its section, as far as a log line has room."""
    return [
        line.line if line.section == line.line else f"{line.section}: {line.line}"  # a heading is its own section
        for line in lines
        if line.is_added is added
    ][:SHOWN]


def tell_drift(plan: Plan) -> None:
    """Say what in HAProxy has changed without us; the plan puts it right."""
    actions = plan.actions if isinstance(plan, Reload | Runtime) else ()
    reasons = plan.reasons if isinstance(plan, Reload) else ()
    log.warning(
        "proxy.drifted",
        commands=[line for action in actions[:SHOWN] for line in lines_of(action)],
        reasons=[reason.detail for reason in reasons[:SHOWN]],
        effect="it is put right",
    )


def tell_by_hand(before: Mapping[tuple[str, str], AdminState], after: Mapping[tuple[str, str], AdminState]) -> None:
    """Say what somebody did to servers on HAProxy itself, and that it stays."""
    for service, server in sorted(after.keys() - before.keys()):
        state = after[service, server].value
        log.warning("server.taken_out", service=service, server=server, state=state, effect="it stays as it was set")
    for service, server in sorted(before.keys() - after.keys()):
        log.info("server.given_back", service=service, server=server, was=before[service, server].value)


def tell_age(agent: Side, now: float) -> None:
    """Say that what is known of the members has become too old, or that it is no more."""
    if agent.error:
        stale_s = round(now - agent.since, 3)
        log.warning("members.went_stale", stale_s=stale_s, error=agent.error, effect="all serve on; not ready")
    else:
        log.info("members.refreshed")


def tell_changes(changes: Iterable[Change]) -> None:
    """Say what happened to the members between two tables."""
    for change in changes:
        write = log.warning if change.transition in _LOUD else log.info
        write(_EVENTS[change.transition], member=change.name, node=change.node, detail=change.detail)


def tell_decision(old: Decision | None, new: Decision) -> None:
    """Say what is held, displaced or guarded now and was not before, and the other way round."""
    _tell_guard(old, new)
    before, after = _by_server(old.held if old else ()), _by_server(new.held)
    for key in sorted(after):
        if key not in before or before[key].why != after[key].why:
            log.warning("server.held", service=key[0], server=key[1], why=after[key].why)
    for key in sorted(before.keys() - after.keys()):
        log.info("server.released", service=key[0], server=key[1], was=before[key].why)
    known = set(old.barred) if old else set()
    for out in new.barred:
        if out not in known:
            log.warning("server.barred", service=out.service, server=out.name, reason=out.reason)
    _tell_damped(old.damped if old else (), new.damped)
    displaced = set(old.displaced) if old else set()
    for lost in new.displaced:
        if lost not in displaced:
            log.warning("server.displaced", service=lost.service, server=lost.name, by=lost.by)


def _tell_damped(before: Sequence[Damped], after: Sequence[Damped]) -> None:
    were, are = ({(each.service, each.name) for each in some} for some in (before, after))
    for service, server in sorted(are - were):
        log.warning("server.damped", service=service, server=server, effect="it comes in once it has stayed")
    for service, server in sorted(were - are):
        log.info("server.admitted", service=service, server=server)


def _tell_guard(old: Decision | None, new: Decision) -> None:
    before, overridden = (old.guard, old.guard_overridden) if old else ("", "")
    if new.guard_overridden and not overridden:
        log.warning("guard.overridden", reason=new.guard_overridden, effect="held servers go when their time is over")
    elif new.guard and not before:
        log.warning("guard.engaged", reason=new.guard, effect="no failed member is removed")
    elif (before or overridden) and not (new.guard or new.guard_overridden):
        log.info("guard.released", was=before or overridden)


def _by_server(held: Iterable[Held]) -> dict[tuple[str, str], Held]:
    return {(hold.service, hold.name): hold for hold in held}

"""The loop: the only owner of mutable state.

Every turn looks at what is (the agent's last reply, what HAProxy runs, the file on disk), decides what should be, and
acts on the difference. Rules:

- Level, not edge: a wake-up carries no data, only a word for the log. What was missed is found by looking again.
- Nothing is decided before there is something to decide with: a daemon that starts beside a running HAProxy inherits
  its servers first, and a file that is there is left alone until then.
- What HAProxy does not run yet is not called good: a blueprint (settings and template) has to prove itself. Before
  HAProxy was ever there, `haproxy -c` is the proof.
- The one `except Exception` of the project is here: it logs, forgets what it believed of HAProxy, and looks again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from rosterd import __version__
from rosterd.actuator import Actuator, Postponed
from rosterd.blueprint import Blueprint, is_of_blueprint
from rosterd.decider import Decider
from rosterd.edits import Edits
from rosterd.errors import ProxyError, ReloadFailed, SerfError, TemplateError
from rosterd.journal import Journal, tell_age, tell_left
from rosterd.model import (
    Action,
    Address,
    Desired,
    Nothing,
    Plan,
    Reload,
    Runtime,
    Snapshot,
    Wait,
)
from rosterd.notify import Notifier
from rosterd.observed import Observed
from rosterd.observer import Observer
from rosterd.outcome import Outcome
from rosterd.plan import is_settled
from rosterd.plan_inputs import PlanInputs
from rosterd.planner import Planned
from rosterd.policy import Decision
from rosterd.proxy.socket import HAProxySocket
from rosterd.render import Template
from rosterd.report import Report
from rosterd.runtime import RuntimeHand
from rosterd.settling import FileChange
from rosterd.trace import Word

log = structlog.get_logger(__name__)

BEGIN_WITHIN_S = 5.0
"""How long a starting daemon that has seen one side waits for the other, HAProxy (whose servers it should inherit) or
the agent's first reply, while there is a file that HAProxy can start from."""

TURN_ANSWERS = 20
"""So many answers of HAProxy a turn may wait for, at most."""

AFTER_BUG_S = 1.0
"""How long the loop rests after an exception that nobody foresaw."""


class Controller:
    """Keeps HAProxy in step with the cluster. Also the `SerfListener` of the client."""

    def __init__(
        self,
        *,
        edits: Edits,
        runtime: HAProxySocket,
        actuator: Actuator,
        notifier: Notifier,
        journal: Journal,
        clock: Callable[[], float],
    ) -> None:
        """Wire it up; `clock` is monotonic seconds."""
        self._edits = edits
        self._drafts = drafts = edits.drafts
        self._hand = RuntimeHand(runtime, journal.metrics)
        self._actuator = actuator
        self._notifier = notifier
        self._journal = journal
        self._clock = clock
        now = clock()
        self._started_at = now
        self._observed = Observed(now)
        self._observer = Observer(
            observed=self._observed,
            runtime=runtime,
            processes=actuator.processes,
            by_master=actuator.observe_by_master,
            news=partial(journal.begin, "look"),
            clock=clock,
        )
        self._planner = PlanInputs(
            observed=self._observed, observer=self._observer, hand=self._hand, drafts=drafts, actuator=actuator
        )
        self._decider = Decider(observed=self._observed, drafts=drafts)
        self._begin_at: float | None = None
        self._kept: Template | None = None
        self._planned = Planned(None)
        self._turn_since: float | None = None
        self._complete = False
        self._rereads = False
        self._wake = asyncio.Event()

    # --- what others call -----------------------------------------------------------------------------------------

    def snapshot_read(self, snapshot: Snapshot) -> None:
        """Take the agent's newest reply."""
        if self._observed.snapshot != snapshot:
            self._observed.snapshot = snapshot
            self.wake("agent")

    def agent_reached(self) -> None:
        """Note that the agent answers."""
        now = self._clock()
        log.info("agent.reached", after_s=round(now - self._observed.agent.since, 3))
        self._observed.agent.answers(now)
        self._journal.metrics.agent_reached()
        self.wake("agent")

    def agent_lost(self, error: SerfError) -> None:
        """Note that the agent does not answer; what it said last stays in force."""
        if self._observed.agent.fails(self._clock(), str(error)):
            log.warning("agent.lost", error=str(error), effect="the last known members stay in force")

    def addresses_read(self, addresses: frozenset[Address]) -> None:
        """Take the addresses of this machine: a member at one of them may claim a port of the balancer's own."""
        self._observed.machine = addresses
        self.wake("machine")

    def file_changed(self, path: Path, change: FileChange) -> None:
        """Note what happened to a file of the settings or the template; it is read once it is whole."""
        self._edits.note(path, change, self._clock())
        self.wake("file")

    def look_at_files(self) -> None:
        """Read settings and template again, once they have stood still for a moment."""
        self._edits.look_again(self._clock())
        self.wake("file")

    def reread(self) -> None:
        """Read settings and template again, also those that were rejected: what they need may be there now."""
        self._rereads = True  # called from a signal: the turn does the rest
        self.wake("file")

    def override_guard(self) -> None:
        """Let held servers go by their own rules although the guard is engaged, until that is over."""
        self._decider.override_guard()
        self.wake("operator")

    def wake(self, word: Word) -> None:
        """Have another turn; `word` says why, for the log."""
        self._journal.wake(word)
        self._wake.set()

    def latest_snapshot(self) -> Snapshot | None:
        """The agent's newest reply; None before the first."""
        return self._observed.snapshot

    def turns(self) -> bool:
        """Whether the loop goes on: it rests, or a turn has not yet taken longer than all its deadlines together."""
        if self._turn_since is None:
            return True
        proxy = self._drafts.newest.settings.proxy
        longest = proxy.check_timeout_s + proxy.reload_timeout_s + TURN_ANSWERS * proxy.answer_timeout_s
        return self._clock() < self._turn_since + longest

    def report(self) -> Report:
        """Tell everything worth knowing."""
        observed, decider, actuator = self._observed, self._decider, self._actuator
        return Report(
            version=__version__,
            pid=os.getpid(),
            now=self._clock(),
            started_at=self._started_at,
            complete=self._complete,
            table=observed.table,
            decision=decider.decision,
            planned=self._planned,
            template_servers=observed.template_servers,
            refused=self._hand.refused_by(observed.running.pid) if observed.running else {},
            desired=decider.generation,
            on_disk=actuator.generation,
            running=observed.running,
            runs=observed.generation,
            health_score=observed.health_score,
            own_address=observed.own_address,
            encrypted=observed.snapshot.encrypted if observed.snapshot else None,
            names_networks=bool(self._drafts.good_or_only.settings.policy.networks),
            agent_since=observed.agent.since,
            agent_error=observed.agent.error,
            proxy_since=observed.proxy.since,
            proxy_error=observed.proxy.error,
            blueprint_error=self._drafts.error,
            action_error=actuator.error,
            file_lags=actuator.file_lags,
            departed=observed.departed,
            penalties=observed.penalties,
            flap_half_life_s=self._drafts.good_or_only.settings.policy.flap_half_life_s,
            services=self._drafts.good_or_only.settings.services,
            stale_limit_s=self._drafts.good_or_only.settings.policy.stale_limit_s,
            reloads=actuator.reloads,
            reloads_failed=actuator.reloads_failed,
            last_reload=actuator.last_reload,
        )

    # --- the loop -------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Turn until `stop` is set; the turn that is under way then is finished."""
        stopped = asyncio.create_task(stop.wait(), name="stop")
        stopped.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._turn_since = self._clock()
                try:
                    await self._turn()
                except Exception:
                    # The one guard: a bug must not end the daemon, and looking again may heal what it met.
                    log.exception("turn.failed", effect="what HAProxy runs is looked up again")
                    self._journal.metrics.turn_failed()
                    self._observed.running = None
                    self._actuator.hold_off()
                    await asyncio.wait({stopped}, timeout=AFTER_BUG_S)
                self._edits.note_verdict(self._clock())
                self._notifier.status(self._in_a_line())
                self._turn_since = None
                await self._sleep()
            self._notifier.stopping()
            await self._leave_level()
        finally:
            stopped.cancel()

    def _in_a_line(self) -> str:
        """How things are, for the service manager."""
        servers = sum(len(lines) for lines in self._decider.served.values())
        problems = {
            "Serf": self._observed.agent.error,
            "HAProxy": self._observed.proxy.error,
            "edit": self._drafts.error,
            "apply": self._actuator.error,
        }
        told = "; ".join(f"{side}: {error.splitlines()[0]}" for side, error in problems.items() if error)
        return f"{servers} servers{'; ' if told else ''}{told}"

    async def _leave_level(self) -> None:
        """Write what the file still lacks: who stops the daemon may stop HAProxy next, and start it from there."""
        outcome = self._decider.outcome
        if outcome is None or not self._actuator.file_lags:
            return
        if (proven := self._decider.proven(outcome, self._clock())) is not None:
            await self._actuator.follow_at_last(proven)

    async def _sleep(self) -> None:
        """Rest until somebody wakes the loop, or a time comes that something waits for."""
        if self._wake.is_set():
            await asyncio.sleep(0)  # the others have their turn, too
            return
        timer = asyncio.get_running_loop().call_later(self._seconds_to_next(), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _seconds_to_next(self) -> float:
        now, decision = self._clock(), self._decider.decision
        review_at = decision.review_at if decision else None
        stale_at = self._observed.stale_at(self._drafts.good_or_only.settings.policy.stale_limit_s)
        later = (time for time in (review_at, self._drafts.retry_at, stale_at) if time is not None and time > now)
        owners = (self._observer, self._actuator, self._edits)
        due = (owner.due_at for owner in owners if owner.due_at is not None)
        return max(0.0, min((*due, *later)) - now)

    async def _turn(self) -> None:
        self._wake.clear()
        self._journal.turn()
        if self._clock() >= self._observer.due_at:
            self._edits.notice(self._clock())
            await self._look()
        self._take_edits()
        now = self._clock()
        if self._observed.note_age(self._drafts.good_or_only.settings.policy.stale_limit_s, now):
            tell_age(self._observed.agent, now)
        if not self._may_decide(now):
            self._actuator.rest()
            return
        self._take_snapshot(now)
        # A draft is tried on a HAProxy that runs; one that is to start gets what is known to work.
        blueprint = self._drafts.in_force(now) if self._observed.running else self._drafts.good_or_only
        try:
            outcome = self._decider.decide(blueprint, now)
        except TemplateError as error:
            if self._drafts.is_on_trial(blueprint):
                self.wake("rejection")  # the good one goes on at once; without one we try again later
            self._actuator.cannot_render(blueprint, error)
            self._actuator.rest()
            return
        proven = self._decider.proven(outcome, now)
        if proven is not None:
            self._decider.commit(proven.decision)
        before, self._planned = self._planned, self._planner.plan(outcome, proven, now)
        plan = self._planned.plan
        self._journal.planned(plan)
        tell_left(before, self._planned)
        self._planner.tell_drift(plan, outcome)
        await self._act(outcome, proven)

    def _take_edits(self) -> None:
        """Read what was edited, or what the operator asks to be read again."""
        if self._rereads:
            self._rereads = False
            if self._complete:
                self._notifier.reloading()
            self._edits.read_anyway(self._clock())
            self._actuator.take_draft()
        if self._edits.take(self._clock()):
            self._journal.begin("file")
            self._actuator.take_draft()
        if self._complete and not self._edits.are_under_way:
            self._notifier.ready()

    # --- look -----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Read what HAProxy runs."""
        before = self._decider.by_hand
        running = await self._observer.look(self._drafts.newest.settings.proxy.observe_interval_s)
        found = running or self._observer.relayed
        if found is None:
            return
        self._journal.taken_by_hand(before, self._decider.by_hand)
        if self._observer.was_away:
            self._actuator.start_over()
        self._decider.inherit(found, self._clock())

    def _take_snapshot(self, now: float) -> None:
        limits = self._drafts.good_or_only.settings.policy
        changes = self._observed.take_snapshot(now, limits, served=self._decider.served_names)
        self._journal.members_changed(changes)

    # --- decide ---------------------------------------------------------------------------------------------------

    def _may_decide(self, now: float) -> bool:
        """Whether enough is known to begin: both sides, or a reason to go on without one of them."""
        observed = self._observed
        if self._decider.decision is not None or observed.is_whole or not self._actuator.has_file:
            return True
        if self._decider.has_inherited and observed.snapshot is not None:
            return True  # its servers are known by its master's word
        if observed.snapshot is None and observed.running is None:
            return False  # nothing is known that could be better than the file
        if self._begin_at is None:
            self._begin_at = now + BEGIN_WITHIN_S
        return now >= self._begin_at

    # --- act ------------------------------------------------------------------------------------------------------

    async def _act(self, outcome: Outcome, proven: Outcome | None) -> None:
        """Carry out the plan for `outcome`; `proven` is what should be by what is known to be good."""
        blueprint = outcome.blueprint
        match self._planned.plan:
            case Reload() as plan:
                at_once = self._planner.goes_back or (not self._complete and self._observed.snapshot is not None)
                (self._actuator.want_at_once if at_once else self._actuator.want)(outcome.desired)
                if proven is not None:
                    step = plan if proven is outcome else self._planner.meanwhile(proven, self._clock())
                    await self._go_on_meanwhile(proven, step)
                if self._actuator.is_due:
                    await self._reload(outcome, plan)
            case Runtime(actions, waits) as plan:
                self._actuator.rest()
                await self._change(actions, waits, outcome.desired)
                if is_settled(plan):
                    self._be_content(blueprint, outcome.decision)
                if proven is outcome:
                    await self._actuator.follow_in_time(outcome)
            case Nothing():
                self._be_content(blueprint, outcome.decision)
                await self._actuator.follow_in_time(outcome)
                self._confirm(outcome)
            case None:
                self._actuator.rest()
                if self._decider.has_inherited or any(outcome.decision.lines.values()) or not self._actuator.has_file:
                    await self._actuator.follow(outcome)

    def _confirm(self, outcome: Outcome) -> None:
        """Keep the text as the last good one, unless HAProxy runs without some of its lines."""
        if not self._planned.lines:
            self._actuator.confirm(outcome.text)

    async def _go_on_meanwhile(self, proven: Outcome, step: Plan) -> None:
        """Do what need not wait for the reload, by what is proven: of a draft nothing is done before it is."""
        running = self._observed.running
        if running is None:
            return
        if isinstance(step, Runtime | Reload) and (step.actions or step.waits):
            await self._change(step.actions, step.waits, proven.desired)
        if self._drafts.good is not None and is_of_blueprint(proven.desired.structure, running.structure):
            await self._actuator.follow_in_time(proven)

    async def _change(self, actions: tuple[Action, ...], waits: tuple[Wait, ...], desired: Desired) -> None:
        """Have the running worker change servers, and look what came of it."""
        running = self._observed.running
        if running is None or not actions:
            self._observer.look_soon()
            return
        try:
            done, after = await self._hand.carry_out(actions, running, self._observer.question)
        except ProxyError as error:
            self._observed.running = None
            self._observer.look_at_once()
            instead = "HAProxy is reloaded instead" if self._hand.is_lame else "what HAProxy runs is looked up again"
            log.error("change.failed", error=str(error), effect=instead)
            return
        before = self._decider.by_hand
        self._observer.see(after)
        self._journal.taken_by_hand(before, self._decider.by_hand)
        if done:
            self._planner.note_actions(done, desired)
            self._journal.servers_changed(done, waits, running.pid)
            self._observer.hurry()
            self._wake.set()  # for the next step
        else:
            self._observer.look_soon()

    async def _reload(self, outcome: Outcome, plan: Reload) -> None:
        blueprint = outcome.blueprint
        trace = self._journal.part()
        self._planner.expect_new_worker()
        aside = outcome.aside() if self._observer.has_lost_socket else None
        applied = await self._actuator.reload(outcome, plan, aside)
        if applied is Postponed.POSTPONED:
            self._journal.take_back(trace)
            return
        if applied is None:
            self._journal.take_back(trace)
            self._hand.try_again()
            self._observer.look_at_once()
            self.wake("failure")
            return
        self._hand.recover()
        await self._observer.look_for(applied.proof.worker_pid, 2 * blueprint.settings.proxy.answer_timeout_s)
        self._planner.note_reload(outcome, applied.proof.worker_pid)
        if difference := self._planner.difference_left(outcome):
            # A worker that runs something else than the file was to say will do so after the next reload as well.
            self._planner.goes_back = self._drafts.is_on_trial(blueprint)
            self._actuator.had_no_effect(blueprint, plan, ReloadFailed(f"HAProxy reloaded, but {difference}"))
        else:
            self._planner.goes_back = False
            self._actuator.took_effect(outcome, plan)
            self._journal.reloaded(trace, plan, applied)
            self._prove(blueprint, outcome.decision)
        self.wake("reload")

    def _be_content(self, blueprint: Blueprint, decision: Decision) -> None:
        """HAProxy runs what is desired, but for who still leaves: call it good, and forget what led there."""
        self._actuator.rest()
        self._journal.settle()
        if self._planned.futile:
            return  # a reload with this text has not made HAProxy run it, so nothing is proven
        self._prove(blueprint, decision)
        if not self._complete and self._observed.is_whole:
            self._complete = True
            self._notifier.ready()
            servers = sum(len(lines) for lines in self._decider.served.values())
            log.info("state.completed", servers=servers, after_s=round(self._clock() - self._started_at, 3))

    def _prove(self, blueprint: Blueprint, decision: Decision) -> None:
        """HAProxy is seen to run what the blueprint makes."""
        if blueprint != self._drafts.good:
            self._drafts.prove(blueprint)
            self._decider.commit(decision)
        if blueprint.template != self._kept:
            self._kept = blueprint.template
            self._edits.keep_good(blueprint.template)

"""What a plan is made from, gathered from turn to turn for `planner.next_plan`.

It knows what a plan has to know of the past: which servers are on the way in or out since when, which text HAProxy was
made from, what a reload has left as it was. Rules:

- It acts on nothing and asks HAProxy nothing: `Observed` is what was seen last. The texts on disk are read once for
  each worker that was not made by a reload of this daemon.
- What HAProxy has gone away from without the daemon is drift: it is logged, and put right like any other difference.
"""

from __future__ import annotations

from rosterd.actuator import Actuator
from rosterd.blueprint import Drafts
from rosterd.journal import tell_drift
from rosterd.model import Action, Desired, Nothing, Plan, Reason
from rosterd.observed import Observed
from rosterd.observer import Observer
from rosterd.outcome import Outcome
from rosterd.plan import Means
from rosterd.planner import Planned, Situation, differences_left, is_trial_by_reload, next_plan
from rosterd.running_text import RunningText, template_servers_of, text_of, text_on_disk
from rosterd.runtime import RuntimeHand

EFFECTS_TOLD = 3
"""How many differences that a reload left an error names."""


class PlanInputs:
    """Gathers what plans are made from, for one HAProxy."""

    def __init__(
        self, *, observed: Observed, observer: Observer, hand: RuntimeHand, drafts: Drafts, actuator: Actuator
    ) -> None:
        """Wire it up."""
        self.goes_back = False
        """Whether HAProxy runs a draft that has proven to be no good, and has to be given the last good one again."""
        self._observed = observed
        self._observer = observer
        self._hand = hand
        self._drafts = drafts
        self._actuator = actuator
        self._level: Desired | None = None
        self._text = RunningText()
        self._left: tuple[str, frozenset[Reason]] = ("", frozenset())

    @property
    def text(self) -> RunningText:
        """What is known of the text that HAProxy runs."""
        return self._text

    def plan(self, outcome: Outcome, proven: Outcome | None, now: float) -> Planned:
        """What must be done.

        `proven` is what should be by what is known to be good: `outcome` itself, unless that is a draft's.
        """
        self._know_text(outcome)
        on_trial = proven is not outcome and not self.goes_back
        if not is_trial_by_reload(self._situation(outcome, now, on_trial=on_trial)):
            self._note_passages(outcome, now)
        planned = next_plan(self._situation(outcome, now, on_trial=on_trial))
        self._observed.note_plan(planned.plan)
        return planned

    def tell_drift(self, plan: Plan | None, outcome: Outcome) -> None:
        """Log that HAProxy has gone away from what it ran already, with nothing else wanted than then."""
        if isinstance(plan, Nothing):
            self._level = outcome.desired
        elif plan is not None:
            if self._level == outcome.desired:
                tell_drift(plan)
            self._level = None

    def meanwhile(self, proven: Outcome, now: float) -> Plan:
        """What the good blueprint asks for while a draft waits for its reload."""
        if self._observed.running is None:
            return Nothing()
        self._note_passages(proven, now)
        plan = next_plan(self._situation(proven, now, on_trial=False)).plan or Nothing()
        self._observed.note_plan(plan)
        return plan

    def expect_new_worker(self) -> None:
        """HAProxy is about to be reloaded: a new worker differs for a moment, by what no file can say, and no drift."""
        self._level = None

    def note_actions(self, done: tuple[Action, ...], desired: Desired) -> None:
        """Note what was done to servers: those that came have the options that the desired text gives them."""
        self._text = self._text.after(done, desired)

    def note_reload(self, outcome: Outcome, pid: int) -> None:
        """Note that a worker was made from this text."""
        self._text = text_of(outcome.desired, pid)

    def difference_left(self, outcome: Outcome) -> str:
        """What HAProxy does not run although it was reloaded for it, in words; empty when it does."""
        running = self._observed.running
        if running is None:
            return "it does not answer on its runtime socket"
        left = differences_left(outcome.desired, running)
        self._left = outcome.text, frozenset(left)
        return "it still differs: " + "; ".join(reason.detail for reason in left[:EFFECTS_TOLD]) if left else ""

    def _situation(self, outcome: Outcome, now: float, *, on_trial: bool) -> Situation:
        running, observed = self._observed.running, self._observed
        text, left = self._left
        seen = Means(
            now,
            departed=observed.departed,
            unchecked=observed.unchecked,
            refused=self._hand.refused_by(running.pid) if running else {},
        )
        return Situation(
            desired=outcome.desired,
            running=running,
            settings=outcome.blueprint.settings,
            text=self._text,
            seen=seen,
            by_reload=self._hand.is_lame,
            on_trial=on_trial,
            reload_anyway=self._reason_anyway(),
            left=left if text == outcome.text else frozenset(),
        )

    def _reason_anyway(self) -> str:
        """Why HAProxy has to be reloaded whatever it runs; empty where nothing is."""
        if self.goes_back:
            return "back to the last good settings and template"
        if self._observed.running is None and self._observer.is_deaf:
            # It listens elsewhere, or its worker hangs: a worker made from the file answers where we ask.
            gone = "there is nothing at proxy.runtime_socket: it is made anew"
            silent = "it does not answer on proxy.runtime_socket"
            return f"HAProxy runs, but {gone if self._observer.has_lost_socket else silent}"
        return ""

    def _know_text(self, outcome: Outcome) -> None:
        """Find what a worker was made from that this daemon has not made, or not in this life."""
        running = self._observed.running
        if running is None or running.pid == self._text.pid:
            return
        # A daemon that has just started finds a file that may be newer than what HAProxy runs, and the last good one.
        # HAProxy that was started anew meanwhile has read the file.
        texts = [self._actuator.text_on_disk(), self._actuator.good_text()]
        if self._text.pid == 0:
            texts.reverse()
        own = template_servers_of(outcome.desired, running, self._drafts.newest, self._drafts.good_or_only)
        self._text = text_on_disk(texts, running, own)

    def _note_passages(self, outcome: Outcome, now: float) -> None:
        if outcome.blueprint.settings.proxy.apply == "reload":
            self._observed.forget_passages()
        elif self._observed.running is not None:
            self._observed.note_passages(outcome.desired, now)

"""What is to be done now: the plan, from what should be and what is seen.

Between the pure `plan.compare` and the loop: it notes what a plan has to know of the past (who is on the way in or out
since when, what was refused), and adds the reasons to reload that no difference of servers shows. Rules:

- It acts on nothing and asks HAProxy nothing: `Observed` is what was seen last. The file on disk is read where only its
  text can tell a difference.
- What HAProxy has gone away from without us is drift: it is told, and put right like any other difference.
"""

from __future__ import annotations

from rosterd import journal
from rosterd.actuator import Actuator
from rosterd.blueprint import Blueprint, Drafts
from rosterd.model import Desired, Nothing, Plan, Reason, ReasonKind, Reload
from rosterd.observed import Observed
from rosterd.observer import Observer
from rosterd.outcome import Outcome
from rosterd.plan import Means, compare, is_settled, without_drains_by_hand
from rosterd.runtime import RuntimeHand
from rosterd.server_lines import differ_beside_servers, lacks_servers

CHECK_LATE_S = 0.05
"""How much later than `check_spread_s` a first check may begin before it counts as put off."""

EFFECTS_TOLD = 3
"""How many differences that a reload left an error names."""


class Planner:
    """Plans the next step of one HAProxy."""

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

    def plan(self, blueprint: Blueprint, outcome: Outcome, now: float) -> Plan | None:
        """What must be done; None while it is not known what HAProxy runs."""
        self._note_passages(blueprint, outcome, now)
        plan = self._next(blueprint, outcome, now)
        self._observed.note_plan(plan)
        self._tell_drift(plan, outcome)
        return plan

    def meanwhile(self, outcome: Outcome, now: float) -> Plan:
        """What the good blueprint asks for while a draft waits for its reload: nothing of a draft is done before."""
        running = self._observed.running
        good = outcome.blueprint
        if running is None:
            return Nothing()
        self._note_passages(good, outcome, now)
        plan = compare(outcome.desired, running, self._means(good, running.pid, now))
        self._observed.note_plan(plan)
        return plan

    def expect_new_worker(self) -> None:
        """HAProxy is about to be reloaded: a new worker differs for a moment, by what no file can say, and no drift."""
        self._level = None

    def difference_left(self, outcome: Outcome) -> str:
        """What HAProxy does not run although it was reloaded for it, in words; empty when it does."""
        running = self._observed.running
        if running is None:
            return "it does not answer on its runtime socket"
        left = compare(without_drains_by_hand(outcome.desired), running, None)
        if isinstance(left, Reload):
            return "it still differs: " + "; ".join(reason.detail for reason in left.reasons[:EFFECTS_TOLD])
        return ""

    def _note_passages(self, blueprint: Blueprint, outcome: Outcome, now: float) -> None:
        if blueprint.settings.proxy.apply == "reload":
            self._observed.forget_passages()
        elif self._observed.running is not None:
            self._observed.note_passages(outcome.desired, now)

    def _next(self, blueprint: Blueprint, outcome: Outcome, now: float) -> Plan | None:
        if self.goes_back:
            return Reload((Reason(ReasonKind.STRUCTURE, "back to the last good settings and template"),))
        running = self._observed.running
        if running is None:
            # It listens elsewhere, or its worker hangs: a worker made from the file answers where we ask.
            detail = "HAProxy runs, but does not answer on proxy.runtime_socket"
            return Reload((Reason(ReasonKind.STRUCTURE, detail),)) if self._observer.is_deaf else None
        plan = compare(outcome.desired, running, self._means(blueprint, running.pid, now))
        if is_settled(plan) and blueprint != self._drafts.good and self._has_other_text(outcome):
            # The digest sees sample servers only; the text of a new template may differ with the real ones. That the
            # file lags behind changes of servers is nothing to reload for.
            return Reload((Reason(ReasonKind.STRUCTURE, "template or settings: another text for the same servers"),))
        return plan

    def _has_other_text(self, outcome: Outcome) -> bool:
        if not self._actuator.has_file:
            return False
        on_disk = self._actuator.text_on_disk()
        if on_disk is None or differ_beside_servers(on_disk, outcome.text):
            return True
        backends = outcome.desired.backends
        return lacks_servers(
            outcome.text, ((each.service, server.name) for each in backends for server in each.servers)
        )

    def _means(self, blueprint: Blueprint, pid: int, now: float) -> Means | None:
        proxy = blueprint.settings.proxy
        if proxy.apply == "reload" or self._hand.is_lame:
            return None
        return Means(
            now,
            drain_s=proxy.drain_timeout_s,
            departed=self._observed.departed,
            unchecked=self._observed.unchecked,
            refused=self._hand.refused_by(pid),
            check_s=proxy.check_spread_s + CHECK_LATE_S,
        )

    def _tell_drift(self, plan: Plan | None, outcome: Outcome) -> None:
        """Say that HAProxy has gone away from what it ran already, with nothing else wanted than then."""
        if isinstance(plan, Nothing):
            self._level = outcome.desired
        elif plan is not None:
            if self._level == outcome.desired:
                journal.tell_drift(plan)
            self._level = None

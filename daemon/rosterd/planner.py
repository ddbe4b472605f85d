"""What is to be done now: the plan, from what should be and what is seen.

Between the pure `plan.compare` and the loop: it notes what a plan has to know of the past (who is on the way in or out
since when, what was refused), and adds the reasons to reload that no difference of servers shows. Rules:

- It acts on nothing and asks HAProxy nothing: `Observed` is what was seen last. The file on disk is read where only its
  text can tell a difference.
- What HAProxy has gone away from without us is drift: it is told, and put right like any other difference.
"""

from __future__ import annotations

from rosterd.actuator import Actuator
from rosterd.blueprint import Drafts
from rosterd.journal import tell_drift
from rosterd.model import Desired, Nothing, Plan, Reason, ReasonKind, Reload, Running
from rosterd.observed import Observed
from rosterd.observer import Observer
from rosterd.outcome import Outcome
from rosterd.plan import Means, compare, is_settled, structure_reasons, without_drains_by_hand
from rosterd.runtime import RuntimeHand
from rosterd.server_lines import differ_beside_servers, lacks_servers

CHECK_LATE_S = 0.05
"""How much later than `check_spread_s` a first check may begin before it counts as put off."""

EFFECTS_TOLD = 3
"""How many differences that a reload left an error names."""

OTHER_TEXT = Reason(ReasonKind.STRUCTURE, "template or settings: another text for the same servers")


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

    def plan(self, outcome: Outcome, proven: Outcome | None, now: float) -> Plan | None:
        """What must be done; None while it is not known what HAProxy runs.

        `proven` is what should be by what is known to be good: `outcome` itself, unless that is a draft's. A draft that
        needs a new worker has nothing done for it before: its plan is a reload without actions.
        """
        if reasons := self._reasons_of_draft(outcome, proven):
            plan: Plan | None = Reload(reasons)
        else:
            self._note_passages(outcome, now)
            plan = self._next(outcome, now)
            if proven is not outcome and isinstance(plan, Reload):
                plan = Reload(plan.reasons)
            self._observed.note_plan(plan)
        return plan

    def tell_drift(self, plan: Plan | None, outcome: Outcome) -> None:
        """Say that HAProxy has gone away from what it ran already, with nothing else wanted than then."""
        if isinstance(plan, Nothing):
            self._level = outcome.desired
        elif plan is not None:
            if self._level == outcome.desired:
                tell_drift(plan)
            self._level = None

    def meanwhile(self, proven: Outcome, now: float) -> Plan:
        """What the good blueprint asks for while a draft waits for its reload."""
        running = self._observed.running
        if running is None:
            return Nothing()
        self._note_passages(proven, now)
        plan = self._compare(proven, running, now)
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

    def _reasons_of_draft(self, outcome: Outcome, proven: Outcome | None) -> tuple[Reason, ...]:
        """Why a draft needs a new worker; nothing for what is no draft, or what servers alone can bring about."""
        running = self._observed.running
        if running is None or proven is outcome or self.goes_back:
            return ()
        if reasons := structure_reasons(outcome.desired, running):
            return reasons
        # The digest sees sample servers only; the text of a new template may differ with the real ones.
        if proven is None or proven.desired.structure != outcome.desired.structure:
            return ()  # HAProxy runs the draft already
        is_other = differ_beside_servers(proven.text, outcome.text) or _lacks_servers(outcome)
        return (OTHER_TEXT,) if is_other else ()

    def _note_passages(self, outcome: Outcome, now: float) -> None:
        if outcome.blueprint.settings.proxy.apply == "reload":
            self._observed.forget_passages()
        elif self._observed.running is not None:
            self._observed.note_passages(outcome.desired, now)

    def _next(self, outcome: Outcome, now: float) -> Plan | None:
        if self.goes_back:
            return Reload((Reason(ReasonKind.STRUCTURE, "back to the last good settings and template"),))
        running = self._observed.running
        if running is None:
            # It listens elsewhere, or its worker hangs: a worker made from the file answers where we ask.
            gone = "there is nothing at proxy.runtime_socket: it is made anew"
            silent = "it does not answer on proxy.runtime_socket"
            detail = f"HAProxy runs, but {gone if self._observer.has_lost_socket else silent}"
            return Reload((Reason(ReasonKind.STRUCTURE, detail),)) if self._observer.is_deaf else None
        plan = self._compare(outcome, running, now)
        if is_settled(plan) and outcome.blueprint != self._drafts.good and self._has_other_text(outcome):
            return Reload((OTHER_TEXT,))
        return plan

    def _has_other_text(self, outcome: Outcome) -> bool:
        """Whether HAProxy may run another text than this, as far as a file tells that may lag behind in its servers."""
        if not self._actuator.has_file:
            return False
        on_disk = self._actuator.text_on_disk()
        return on_disk is None or differ_beside_servers(on_disk, outcome.text) or _lacks_servers(outcome)

    def _compare(self, outcome: Outcome, running: Running, now: float) -> Plan:
        proxy = outcome.blueprint.settings.proxy
        if proxy.apply == "reload":
            return compare(outcome.desired, running, None)
        if self._hand.is_lame:
            # What no file can say would be a reason to reload for ever.
            return compare(without_drains_by_hand(outcome.desired), running, None)
        means = Means(
            now,
            drain_s=proxy.drain_timeout_s,
            departed=self._observed.departed,
            unchecked=self._observed.unchecked,
            refused=self._hand.refused_by(running.pid),
            check_s=proxy.check_spread_s + CHECK_LATE_S,
        )
        return compare(outcome.desired, running, means)


def _lacks_servers(outcome: Outcome) -> bool:
    """Whether the text leaves out servers that it should have."""
    wanted = ((each.service, server.name) for each in outcome.desired.backends for server in each.servers)
    return lacks_servers(outcome.text, wanted)

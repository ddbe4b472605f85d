"""What should be, at one moment: the decision, what HAProxy should run, and the text that says so.

Pure. An outcome knows what it was made from, so that the loop can keep it while nothing of that has changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rosterd.blueprint import Blueprint
from rosterd.model import Desired
from rosterd.policy import Decision, Lines, View, decide
from rosterd.render import render
from rosterd.roster import Table


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided and rendered, and from what."""

    table: Table
    blueprint: Blueprint
    view: View
    decision: Decision
    desired: Desired

    @property
    def text(self) -> str:
        """The configuration that says all of it."""
        return self.desired.text

    def aside(self) -> str:
        """The same configuration, but that HAProxy's runtime socket is beside its place."""
        settings, template = self.blueprint.settings, self.blueprint.template
        path = settings.proxy.runtime_socket
        proxy = settings.proxy.model_copy(update={"runtime_socket": path.with_name(f"{path.name}.aside")})
        return render(template, self.desired.structure, proxy, settings.services, self.decision.backends)

    @classmethod
    def of(cls, table: Table, blueprint: Blueprint, view: View, now: float, last: Outcome | None = None) -> Outcome:
        """Decide and render; TemplateError when the template cannot be rendered with these servers.

        The text of the last outcome is taken where it says the same.
        """
        settings = blueprint.settings
        decision = decide(table, settings.services, view, settings.policy, now)
        if last is not None and last.blueprint == blueprint and last.decision.backends == decision.backends:
            return cls(table, blueprint, view, decision, last.desired)
        return cls(table, blueprint, view, decision, blueprint.desired(decision.backends))

    def is_still_right(self, table: Table, blueprint: Blueprint, view: View, now: float) -> bool:
        """Whether deciding again would come to the same."""
        review_at = self.decision.review_at
        if review_at is not None and review_at <= now:
            return False
        if view.served != self.view.served and not self._makes_no_difference(view.served):
            return False
        if not self._hears_the_same(view):
            return False
        kept = replace(self.view, served=view.served, answering=view.answering)
        return (self.table, self.blueprint, kept) == (table, blueprint, view)

    def _hears_the_same(self, view: View) -> bool:
        """Whether nobody answers, or has ceased to, whose health decides; that of most is HAProxy's business."""
        held = self.decision.held
        if view.waiting or any(hold.is_spare for hold in held):
            return view.answering == self.view.answering
        keys = [(hold.service, hold.name) for hold in held]
        return all(view.answering.get(key) == self.view.answering.get(key) for key in keys)

    def _makes_no_difference(self, served: Lines) -> bool:
        """Whether it changes nothing that these are served now.

        Who decides again with what was just decided comes to the same, but where somebody is held: who is away weighs
        more then, among the fewer who are left.
        """
        return not self.decision.held and not self.decision.guard and served == self.decision.lines

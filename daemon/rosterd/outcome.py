"""What should be, at one moment: the decision, what HAProxy should run, and the text that says so.

Pure. An outcome knows what it was made from, so that the loop can keep it while nothing of that has changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from rosterd.blueprint import Blueprint
from rosterd.model import Desired
from rosterd.policy import Decision, View, decide
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

    @classmethod
    def of(cls, table: Table, blueprint: Blueprint, view: View, now: float) -> Outcome:
        """Decide and render; TemplateError when the template cannot be rendered with these servers."""
        settings = blueprint.settings
        decision = decide(table, settings.services, view, settings.policy, now)
        text = render(blueprint.template, blueprint.structure, settings.proxy, settings.services, decision.backends)
        return cls(table, blueprint, view, decision, Desired(blueprint.structure, decision.backends, text))

    def is_still_right(self, table: Table, blueprint: Blueprint, view: View, now: float) -> bool:
        """Whether deciding again would come to the same."""
        review_at = self.decision.review_at
        if review_at is not None and review_at <= now:
            return False
        return (self.table, self.blueprint, self.view) == (table, blueprint, view)

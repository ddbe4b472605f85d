"""How nodes took the state that they were told: as an answer, and in words for who did not follow."""

from __future__ import annotations

from collections.abc import Iterable

from rosterd.answers import shapes
from rosterd.model import AdminState
from rosterd.serf.state_change import NotShown, Outcome, Shown


def states_answer(outcomes: Iterable[Outcome], state: AdminState) -> shapes.States:
    """How it ended with each node."""
    return {"state": state.value, "nodes": [_node(outcome) for outcome in outcomes]}


def _node(outcome: Outcome) -> shapes.NodeState:
    return {
        "node": outcome.node.node,
        "name": outcome.node.name,
        "done": not isinstance(outcome, NotShown),
        "after_s": round(outcome.after_s, 3) if isinstance(outcome, Shown) else None,
        "problem": outcome.why if isinstance(outcome, NotShown) else "",
    }


def refusals(outcomes: Iterable[Outcome], state: AdminState) -> list[str]:
    """A line for each node that did not follow, with what does the same on the node itself."""
    return [
        f"{outcome.why}; on the node itself: {by_hand(state)}" for outcome in outcomes if isinstance(outcome, NotShown)
    ]


def by_hand(state: AdminState) -> str:
    """The command that does the same, on the node itself."""
    change = "-delete state" if state is AdminState.READY else f"-set state={state.value}"
    return f"serf tags {change}"

"""A plan as an answer."""

from __future__ import annotations

from collections.abc import Iterable

from rosterd.answers import shapes
from rosterd.model import Action, Nothing, Plan, Reload, Runtime, Wait
from rosterd.proxy.actions import lines_of


def plan_answer(plan: Plan | None) -> shapes.Plan:
    """What is to be done; None while HAProxy has not been seen."""
    match plan:
        case None:
            return {"action": "unknown", "reasons": [], "commands": [], "waits": []}
        case Nothing():
            return {"action": "nothing", "reasons": [], "commands": [], "waits": []}
        case Runtime(actions, waits):
            return {"action": "runtime", "reasons": [], "commands": _commands(actions), "waits": _waits(waits)}
        case Reload(reasons, actions, waits):
            why: list[shapes.Reason] = [{"kind": each.kind.value, "detail": each.detail} for each in reasons]
            return {"action": "reload", "reasons": why, "commands": _commands(actions), "waits": _waits(waits)}


def _commands(actions: Iterable[Action]) -> list[str]:
    return [line for action in actions for line in lines_of(action)]


def _waits(waits: Iterable[Wait]) -> list[shapes.Wait]:
    return [{"service": wait.service, "server": wait.name, "for": wait.what} for wait in waits]

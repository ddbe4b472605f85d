"""A plan as an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from rosterd.answers import shapes
from rosterd.model import Action, LineChange, Nothing, Plan, Reason, Reload, Runtime, Wait
from rosterd.planner import Planned
from rosterd.proxy.actions import lines_of

MAX_LINES = 100
"""How many lines of the text an answer names."""

_ACTIONS: Mapping[type[Plan | None], Literal["nothing", "runtime", "reload", "unknown"]] = {
    Nothing: "nothing",
    Runtime: "runtime",
    Reload: "reload",
    type(None): "unknown",
}


def plan_answer(planned: Planned) -> shapes.Plan:
    """What is to be done; `unknown` while HAProxy has not been seen."""
    plan = planned.plan
    actions, waits = (plan.actions, plan.waits) if isinstance(plan, Runtime | Reload) else ((), ())
    return {
        "action": _ACTIONS[type(plan)],
        "reasons": [_reason(each) for each in plan.reasons] if isinstance(plan, Reload) else [],
        "commands": _commands(actions),
        "waits": _waits(waits),
        "lines": [_line(line) for line in planned.lines[:MAX_LINES]],
        "lines_total": len(planned.lines),
        "left": [_reason(reason) for reason in planned.left],
    }


def dry_run_answer(planned: Planned, refused: str, diff: Iterable[str]) -> shapes.DryRun:
    """What the files as they are now would change; `refused` is what `haproxy -c` says against it."""
    return {**plan_answer(planned), "refused": refused, "diff": list(diff)}


def refused_answer(refused: Mapping[Action, str]) -> list[shapes.Refused]:
    """What the running worker refused, by the commands."""
    return [{"commands": list(lines_of(action)), "error": error} for action, error in refused.items()]


def _reason(reason: Reason) -> shapes.Reason:
    return {"kind": reason.kind.value, "detail": reason.detail}


def _line(line: LineChange) -> shapes.Line:
    return {"change": "added" if line.is_added else "removed", "section": line.section, "line": line.line}


def _commands(actions: Iterable[Action]) -> list[str]:
    return [line for action in actions for line in lines_of(action)]


def _waits(waits: Iterable[Wait]) -> list[shapes.Wait]:
    return [{"service": wait.service, "server": wait.name, "for": wait.what} for wait in waits]

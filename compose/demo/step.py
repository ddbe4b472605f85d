"""A step of the demo, and how it is run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from compose.cluster import ClusterError
from compose.disk import explained
from compose.haproxy_view import HAProxyUnreadableError
from compose.waiting import WaitedInVainError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from compose.demo.context import Context

Action: TypeAlias = "Callable[[Context], Awaitable[float]]"


class StepFailedError(Exception):
    """What the step looked at is not as it must be."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens.

    `name` is for the table and the report, `detail` says more of it, `effect` says what the seconds measure, `settle_s`
    is how long the load goes on before the next step. More than `most_reloads` of HAProxy are a problem: only what no
    running HAProxy can be told needs one.
    """

    name: str
    detail: str
    effect: str
    action: Action
    settle_s: float
    most_reloads: int = 0


async def run_step(step: Step, context: Context) -> tuple[float | None, str]:
    """Run a step: the seconds until traffic followed, and the problem, empty when there was none."""
    try:
        seconds = await step.action(context)
    except (WaitedInVainError, StepFailedError, ClusterError, HAProxyUnreadableError) as problem:
        return None, str(problem)
    except OSError as error:
        return None, explained(error, context.site.template.parent) or str(error)
    await asyncio.sleep(step.settle_s)
    return seconds, ""

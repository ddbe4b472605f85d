"""The result of each step, as a table for people and as JSON for machines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from compose.load import failures, tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.load import Sample


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step. `seconds` until traffic followed, None when it did not; `problem` is empty when the step held.

    `began` and `ended` are times of the load's clock: the requests sent between them are the step's. `reloads` is 0
    where HAProxy's count could not be read, which is a problem of its own.
    """

    name: str
    seconds: float | None
    problem: str
    began: float
    ended: float
    reloads: int
    requests: int = 0
    failed: int = 0
    slowest_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the step held: its check, and every request."""
        return not self.problem


def with_requests(result: StepResult, samples: Sequence[Sample]) -> StepResult:
    """The result with the requests sent during the step counted; a failed request is a problem, and no request too."""
    found = tally(samples, result.began, result.ended)
    problem = result.problem
    if found.failed and not problem:
        problem = "requests failed: " + ", ".join(failures(samples, result.began, result.ended))
    if not found.requests and not problem:
        problem = "no request was sent during this step, so nothing is known of the traffic"
    return replace(result, problem=problem, requests=found.requests, failed=found.failed, slowest_s=found.slowest_s)


def reload_problem(before: int | None, after: int | None, most: int) -> str:
    """What is wrong with HAProxy's counts of reloads before and after a step; empty where nothing is."""
    if before is None or after is None:
        return "HAProxy's count of its reloads cannot be read from its master socket"
    if after < before:
        return f"HAProxy was started anew: its count of reloads fell from {before} to {after}"
    if after - before > most:
        return f"HAProxy was reloaded {after - before} times; {most} would have done"
    return ""


def table_of(results: Sequence[StepResult]) -> Table:
    """The table at the end; fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    slowest = max((result.slowest_s for result in results), default=0.0)
    table.add_column("step", "all", no_wrap=True)
    table.add_column("followed", justify="right")
    table.add_column("requests", str(sum(result.requests for result in results)), justify="right")
    table.add_column("failed", str(sum(result.failed for result in results)), justify="right")
    table.add_column("reloads", str(sum(result.reloads for result in results)), justify="right")
    table.add_column("slowest", f"{slowest * 1000:.0f} ms", justify="right")
    table.add_column("ok", "yes" if all(result.ok for result in results) else "NO")
    for result in results:
        table.add_row(
            result.name,
            "-" if result.seconds is None else f"{result.seconds:.2f} s",
            str(result.requests),
            str(result.failed),
            str(result.reloads),
            f"{result.slowest_s * 1000:.0f} ms" if result.requests else "-",
            "yes" if result.ok else "NO",
            style="" if result.ok else "bold red",
        )
    return table


def report_of(mode: str, results: Sequence[StepResult], not_reached: Sequence[str]) -> dict[str, Any]:
    """The JSON report. `not_reached` names the steps that no time was left for; `ok` only if there are none."""
    return {
        "mode": mode,
        "ok": not not_reached and all(result.ok for result in results),
        "requests": sum(result.requests for result in results),
        "failed": sum(result.failed for result in results),
        "reloads": sum(result.reloads for result in results),
        "steps": [
            {
                "name": result.name,
                "ok": result.ok,
                "seconds": None if result.seconds is None else round(result.seconds, 3),
                "requests": result.requests,
                "failed": result.failed,
            }
            for result in results
        ],
    }

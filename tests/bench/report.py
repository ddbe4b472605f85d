"""What the figures look like: tables on the terminal, and JSON for machines.

The JSON is `{scenario: {contender: {figure: value}}}`. A contender that was not measured has the one figure
`not_measured`, a text that says why. What the machine is stands under `about`, in the same shape.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from tests.bench.figures import NOT_MEASURED, Figure, Figures, ratio, rounded
from tests.bench.goals import OURS, Goal, Verdict, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

Report = dict[str, dict[str, Figures]]

ABOUT = "about"
_UNITS = {"_mb": " MB", "_percent": " %", "_ms_": " ms"}
_MAIN = ("p50_s", "p99_s")
"""The figures for which the tables say how a contender compares with rosterd."""


def as_json(report: Mapping[str, Mapping[str, Figures]]) -> str:
    """Return the report for machines."""
    return json.dumps(report, indent=2) + "\n"


def scenarios_of(report: Mapping[str, Mapping[str, Figures]]) -> Iterator[tuple[str, Mapping[str, Figures]]]:
    """Yield what was measured, without what the machine is."""
    return ((name, contenders) for name, contenders in report.items() if name != ABOUT)


def measured_in(contenders: Mapping[str, Figures]) -> dict[str, Figures]:
    """Return those that were measured."""
    return {name: figures for name, figures in contenders.items() if NOT_MEASURED not in figures}


def reasons_in(report: Mapping[str, Mapping[str, Figures]]) -> dict[str, str]:
    """Return each reason for which something was not measured, with what that was: `nginx in cost_10, cost_100`."""
    found: dict[tuple[str, str], list[str]] = {}
    for scenario, contenders in scenarios_of(report):
        for name, figures in contenders.items():
            if NOT_MEASURED in figures:
                found.setdefault((str(figures[NOT_MEASURED]), name), []).append(scenario)
    reasons: dict[str, str] = {}
    for (reason, name), scenarios in found.items():
        text = f"{name} in {', '.join(scenarios)}"
        reasons[reason] = f"{reasons[reason]}; {text}" if reason in reasons else text
    return reasons


def rows_of(contenders: Mapping[str, Figures]) -> Iterator[list[str]]:
    """Yield each figure's name and its value for each contender; at last how they compare with rosterd."""
    figures = dict.fromkeys(name for found in contenders.values() for name in found)
    for figure in figures:
        yield [row_name(figure), *(shown(figure, found.get(figure)) for found in contenders.values())]
    for figure in _MAIN:
        ours = contenders.get(OURS, {}).get(figure)
        if isinstance(ours, float):
            ratios = (compared(ours, found.get(figure)) for found in contenders.values())
            yield [f"{row_name(figure)} / {OURS}", *ratios]


def row_name(figure: str) -> str:
    """Return a figure's name without the unit of its number: it is shown with the unit that suits people."""
    return figure.removesuffix("_s")


def shown(name: str, figure: Figure | None) -> str:
    """Return a figure for people: seconds as milliseconds, whole numbers with their commas."""
    if figure is None:
        return ""
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    if isinstance(figure, str):
        return figure
    if name.endswith("_s"):
        return f"{rounded(figure * 1000):,.5g} ms"
    number = f"{figure:,.5g}" if isinstance(figure, float) else f"{figure:,}"
    return number + next((unit for ending, unit in _UNITS.items() if ending in name), "")


def compared(ours: float, theirs: Figure | None) -> str:
    """Say how many times larger theirs is."""
    return f"{ratio(ours, theirs):.2g} x" if isinstance(theirs, float) else ""


def print_report(console: Console, report: Mapping[str, Mapping[str, Figures]]) -> None:
    """Print a table for each scenario, and the goals."""
    for scenario, contenders in scenarios_of(report):
        measured = measured_in(contenders)
        table = Table(scenario, *measured, box=SIMPLE)
        for row in rows_of(measured):
            table.add_row(*row)
        if measured:
            console.print(table)
    for reason, names in reasons_in(report).items():
        console.print(f"  not measured: {names}: {reason}", highlight=False)
    _print_goals(console, verdicts(report))


def _print_goals(console: Console, found: tuple[Verdict, ...]) -> None:
    table = Table("goal", "at most", "measured", "", box=SIMPLE)
    for verdict in found:
        table.add_row(*goal_row(verdict))
    if found:
        console.print(table)


def goal_row(verdict: Verdict) -> list[str]:
    """Return a goal, its bound, what was measured, and whether that is within."""
    goal = verdict.goal
    bound = f"{shown(goal.figure, verdict.bound)} ({bound_of(goal)})" if goal.of else bound_of(goal)
    return [goal.what, bound, shown(goal.figure, verdict.measured), "met" if verdict.is_met else "MISSED"]


def bound_of(goal: Goal) -> str:
    """Return what a goal allows, as far as that is known before anything was measured."""
    return f"{goal.most:.2g} x {goal.of}" if goal.of else shown(goal.figure, goal.most)

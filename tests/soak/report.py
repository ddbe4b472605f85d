"""What a soak came to: a value that is JSON, and tables of it for people. Pure but for the console.

The JSON has `about`, `ok`, `problems`, the counts of `requests`, a row for each of `faults`, the `turns`, `uses` of
memory and descriptors, `orphans`, and columns for the plot: `seconds` (one entry a second) and `samples`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from tests.soak import figures
from tests.soak.wellbeing import totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from tests.soak.census import Sample, Usage
    from tests.soak.faults.fault import Fault
    from tests.soak.runner import Played, Story

Report = dict[str, Any]

FAULT_HEAD = ("fault", "tried", "of these with another", "failed", "excused", "well after, median", "longest")
_FLAT = ("turns", "seconds", "samples", "faults", "unexcused")


def report_of(about: Mapping[str, object], kinds: Sequence[type[Fault]], story: Story) -> Report:
    """Make the report."""
    ledger, orphans = story.ledger, story.left_over
    losses = figures.losses_by_turn(ledger, story.played)
    rows = figures.fault_rows([kind.name for kind in kinds], story.played, losses, figures.excused_by_fault(ledger))
    counts = figures.requests(ledger)
    problems = [*story.problems, *(f"turn {one.turn.number}: {text}" for one in story.played for text in one.problems)]
    if not story.played:
        problems.append("no turn was played")
    if orphans:
        problems.append(f"processes that were left over: {', '.join(orphans)}")
    return {
        "about": dict(about),
        "ok": not problems and not counts["failed"] and counts["requests"] > 0,
        "problems": problems,
        "requests": counts,
        "unexcused": figures.unexcused(ledger),
        "faults": rows,
        "turns": [_turn_row(one, losses[number], ledger.begin) for number, one in enumerate(story.played)],
        "uses": figures.uses(story.samples),
        "guard_engaged_s": round(story.guarded_s),
        "most_old_workers": max((one.old_workers for one in story.samples), default=0),
        "orphans": len(orphans),
        "most_orphans_meanwhile": max((one.orphans for one in story.samples), default=0),
        "seconds": {
            "requests": [second.requests for second in ledger.seconds],
            "failed": [second.failed for second in ledger.seconds],
            "excused": figures.excused_by_second(ledger),
            "slowest_ms": [round(second.slowest_s * 1000) for second in ledger.seconds],
        },
        "samples": _columns(story.samples, ledger.begin),
    }


def _turn_row(one: Played, lost: figures.Losses, begin: float) -> Report:
    return {
        "number": one.turn.number,
        "faults": list(one.turn.faults),
        "at_s": round(one.began_at - begin, 1),
        "took_s": round(one.healed_at - one.began_at, 1),
        "heal_s": None if one.heal_s is None else round(one.heal_s, 2),
        "failed": lost.failed,
        "excused": lost.excused,
    }


def _columns(samples: Sequence[Sample], begin: float) -> Report:
    columns: Report = {"at_s": [round(one.at - begin, 1) for one in samples]}
    for program, usage_of in figures.PROGRAMS.items():
        usages = [usage_of(one) for one in samples]
        columns[f"{program}_rss_mb"] = [_of(usage, "rss_mb") for usage in usages]
        columns[f"{program}_descriptors"] = [_of(usage, "descriptors") for usage in usages]
    columns["old_workers"] = [one.old_workers for one in samples]
    columns["processes"] = [one.processes for one in samples]
    columns["orphans"] = [one.orphans for one in samples]
    return columns


def _of(usage: Usage | None, field: str) -> float | int | None:
    return None if usage is None else getattr(usage, field)


def as_json(report: Report) -> str:
    """Return the report for machines, with a line for each row of the long parts, so that a change of one shows."""
    parts = [f'  "{key}": {_part(key, value)}' for key, value in report.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _part(key: str, value: object) -> str:
    if key in _FLAT and isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f'    "{name}": {json.dumps(row)}' for name, row in value.items()) + "\n  }"
    if key in _FLAT and isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"
    return json.dumps(value, indent=2).replace("\n", "\n  ")


# --- for people -------------------------------------------------------------------------------------------------


def print_report(console: Console, report: Report) -> None:
    """Print the tables, what went wrong, and one line that says how it ended."""
    for head, rows in ((FAULT_HEAD, fault_rows(report)), (USES_HEAD, uses_rows(report)), (("", ""), sum_rows(report))):
        table = Table(*head, box=SIMPLE)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for problem in report["problems"]:
        console.print(f"PROBLEM: {problem}", highlight=False, markup=False)
    for failure in report["unexcused"]:
        console.print(f"failed: {failure}", highlight=False, markup=False)
    console.print("soak: all well" if report["ok"] else "soak: NOT all well", style="bold")


def fault_rows(report: Report) -> Iterator[list[str]]:
    """Yield a line for each fault, in the report's order."""
    for name, row in report["faults"].items():
        if not row["tried"]:
            yield [name, "0", *[""] * 5]
            continue
        times = [_seconds(row[key]) for key in ("heal_median_s", "heal_longest_s")]
        if row["not_healed"]:
            times[1] = f"NOT HEALED: {row['not_healed']}"
        yield [name, *(f"{row[key]:,}" for key in ("tried", "with_another", "failed", "excused")), *times]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


USES_HEAD = ("what", "first third", "last third", "grown", "most", "lives")


def uses_rows(report: Report) -> Iterator[list[str]]:
    """Yield a line for memory and one for descriptors of each program."""
    for program, use in report["uses"].items():
        name = program.replace("_", " ")
        lives = f"{use['life_s']} s" if "life_s" in use else str(use["lives"])
        for kind, words, unit in (("rss_mb", "memory", " MB"), ("descriptors", "descriptors", "")):
            if grown := use[kind]:
                numbers = [f"{grown[key]:g}{unit}" for key in ("first_third", "last_third")]
                yield [
                    f"{name}: {words}",
                    *numbers,
                    f"{grown['grown_percent']:+g} %",
                    f"{grown['most']:g}{unit}",
                    lives,
                ]


def sum_rows(report: Report) -> Iterator[list[str]]:
    """Yield what there is one number of."""
    counts = report["requests"]
    yield ["turns", f"{len(report['turns'])}"]
    yield ["requests", f"{counts['requests']:,}"]
    yield ["failed", _with_kinds(counts["failed"], counts["failures"])]
    yield ["excused", _with_kinds(counts["excused"], counts["excused_failures"])]
    yield ["slowest answer", f"{counts['slowest_s']:g} s"]
    yield ["guard engaged for", f"{report['guard_engaged_s']} s"]
    yield ["old workers, at most", str(report["most_old_workers"])]
    yield ["orphaned processes meanwhile, at most", str(report["most_orphans_meanwhile"])]
    yield ["orphaned processes at the end", str(report["orphans"])]


def _with_kinds(number: int, kinds: Mapping[str, int]) -> str:
    return f"{number:,}" + (f" ({totals(kinds)})" if kinds else "")

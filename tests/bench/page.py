"""The part of `docs/bench.md` that is made from a report: goals, tables, pictures, and who took no part and why.

Pure but for reading the report and looking which pictures there are. `tests/generated_docs.py` puts it into the page:

    make bench BENCH_REPORT=docs/bench/results.json
    .venv/bin/python -m tests.generated_docs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.bench.goals import GOALS, verdicts
from tests.bench.report import ABOUT, Report, bound_of, goal_row, measured_in, reasons_in, rows_of, scenarios_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.bench.figures import Figures

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "bench"
RESULTS: Final = FOLDER / "results.json"


def section() -> str:
    """Return the results as Markdown; without any, the goals alone."""
    report: Report = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    pictures = sorted(path.name for path in FOLDER.glob("*.png"))
    return "\n".join([*_goals(report), *_tables(report, pictures), *_left_out(report), ""])


def _goals(report: Mapping[str, Mapping[str, Figures]]) -> Iterator[str]:
    yield from _about(report)
    found = {verdict.goal: goal_row(verdict) for verdict in verdicts(report)}
    rows = (found.get(goal, [goal.what, bound_of(goal), "", "not measured"]) for goal in GOALS)
    yield from _table(["goal", "at most", "measured", ""], rows)


def _about(report: Mapping[str, Mapping[str, Figures]]) -> Iterator[str]:
    about = report.get(ABOUT, {})
    if not about:
        yield from ("", "No figures yet.", "")
        return
    versions = [f"{name} {figures['version']}" for name, figures in about.items() if "version" in figures]
    yield from ("", f"Measured on {about['machine']['cores']} cores; {'; '.join(versions)}.", "")


def _tables(report: Mapping[str, Mapping[str, Figures]], pictures: Sequence[str]) -> Iterator[str]:
    drawn: set[str] = set()
    for scenario, contenders in scenarios_of(report):
        word = scenario.partition("_")[0]
        measured = measured_in(contenders)
        if not measured:
            continue
        yield from (f"### `{scenario}`", "")
        if f"{word}.png" in pictures and word not in drawn:
            drawn.add(word)
            yield from (f"![{word}](bench/{word}.png)", "")
        yield from _table(["figure", *measured], rows_of(measured))


def _left_out(report: Mapping[str, Mapping[str, Figures]]) -> Iterator[str]:
    reasons = reasons_in(report)
    if reasons:
        yield from ("### Not measured", "")
        yield from _table(["who", "why"], ([names, reason] for reason, names in reasons.items()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _line(head)
    yield "|" + "---|" * len(head)
    yield from map(_line, rows)
    yield ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

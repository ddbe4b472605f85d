"""The figures in `docs/comparison.md`: a choice of those in a report, one row each. Pure but for reading the report.

`tests/generated_docs.py` puts it into the page, so that no figure there is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.bench.figures import Figure, Figures
from tests.bench.page import RESULTS
from tests.bench.report import Report, measured_in, shown

COLUMNS: Final = {
    "rosterd": "rosterd",
    "rosterd_reload": "rosterd, by reloads alone",
    "handlers": "Serf event handlers",
    "dns": "DNS",
    "nginx": "nginx",
    "envoy": "Envoy",
    "static": "nobody",
}
"""Each contender's name in the table. The last changes nothing, and shows what the machine itself can do."""

UNCHANGED: Final = "static"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of a scenario, in words. Less is better in all of them."""

    words: str
    scenario: str
    figure: str


ROWS: Final = (
    Row("a node starts, 5 agents: until its server's first answer, median", "join_5", "p50_s"),
    Row("of that, since the balancer's agent knows it", "join_5", "visible_p50_s"),
    Row("a node starts, 50 agents: until its server's first answer, median", "join_50", "p50_s"),
    Row("a node is stopped, 5 agents: until its server's last request, median", "leave_5", "p50_s"),
    Row("50 nodes seen at once: until all serve, median", "burst", "p50_s"),
    Row("requests that failed while nodes came and went", "join_5", "failed"),
    Row("one server of four dies: requests that failed", "crash", "failed"),
    Row("the same: the longest wait", "crash", "longest_s"),
    Row("two changes a second for a minute: requests that failed", "churn", "failed"),
    Row("the same: reloads", "churn", "reloads"),
    Row("the same: 99 of 100 requests took at most", "churn", "p99_s"),
    Row("the same: processor time for each change", "churn", "cpu_ms_per_event"),
    Row("edits of the template: requests that failed", "template", "failed"),
    Row("the same: until an edit is in force, median", "template", "edit_p50_s"),
)


def section() -> str:
    """Return the table as Markdown; the best of a row is bold where they differ."""
    report: Report = json.loads(RESULTS.read_text(encoding="utf-8"))
    head = ("", *COLUMNS.values())
    lines = (_line(row, report) for row in ROWS)
    return "\n".join(["", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines, "", ""])


def _line(row: Row, report: Mapping[str, Mapping[str, Figures]]) -> str:
    measured = measured_in(report[row.scenario])
    found = {name: measured.get(name, {}).get(row.figure) for name in COLUMNS}
    best = set(_best(found))
    cells = (f"**{_cell(row, found, name)}**" if name in best else _cell(row, found, name) for name in COLUMNS)
    return f"| {row.words} | {' | '.join(cells)} |"


def _cell(row: Row, found: Mapping[str, Figure | None], name: str) -> str:
    return shown(row.figure, found[name]) or "-"


def _best(found: Mapping[str, Figure | None]) -> Iterator[str]:
    """Those with the least, unless all have the same."""
    numbers = {
        name: float(figure) for name, figure in found.items() if isinstance(figure, int | float) and name != UNCHANGED
    }
    least = min(numbers.values(), default=0.0)
    if any(number > least for number in numbers.values()):
        yield from (name for name, number in numbers.items() if number == least)

"""The result of the matrix: versions and suites, with counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.matrix.suites import Row


@dataclass(frozen=True, slots=True)
class Count:
    """How a suite went on a version. A `problem` is what kept it from being run as it should be."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether all passed; a suite of which nothing was run is a failure."""
        return not self.failed and not self.problem and self.passed > 0

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        if self.problem and not self.passed + self.failed:
            return "FAILED"
        return f"{self.passed} passed{skipped}" if self.ok else f"{self.passed} passed, {self.failed} FAILED{skipped}"


@dataclass(frozen=True, slots=True)
class Result:
    """A row with the version that was seen to run, and the counts of its suites by name."""

    row: Row
    version: str
    counts: Mapping[str, Count]

    @property
    def ok(self) -> bool:
        """Whether every suite of the row was run and passed."""
        return all(suite.name in self.counts and self.counts[suite.name].ok for suite in self.row.suites)


def table_of(results: Sequence[Result]) -> Table:
    """The table at the end."""
    suites = list(dict.fromkeys(suite.name for result in results for suite in result.row.suites))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("HAProxy", "that ran", *suites, "ok"):
        table.add_column(column)
    for result in results:
        cells = (str(result.counts.get(suite, "-")) for suite in suites)
        style = "" if result.ok else "bold red"
        table.add_row(result.row.name, result.version or "-", *cells, "yes" if result.ok else "NO", style=style)
    return table


def problems_of(results: Sequence[Result]) -> list[str]:
    """What failed, a line each."""
    return [
        f"{result.row.name}, {name}: {count.problem or _words(count)}"
        for result in results
        for name, count in result.counts.items()
        if not count.ok
    ]


def _words(count: Count) -> str:
    return f"{count.failed} failed" if count.failed else "nothing was run"


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "ok": bool(results) and all(result.ok for result in results),
        "rows": [
            {
                "name": result.row.name,
                "ok": result.ok,
                "version": result.version,
                "suites": {name: asdict(count) | {"ok": count.ok} for name, count in result.counts.items()},
            }
            for result in results
        ],
    }

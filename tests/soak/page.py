"""The part of `docs/soak.md` that is made from a report: what each fault is and came to, the sums, the picture.

Pure but for reading the report and looking whether there is a picture. `tests/generated_docs.py` puts it into the page:

    make soak MINUTES=30 SOAK_REPORT=docs/soak/results.json
    .venv/bin/python -m tests.generated_docs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.soak.faults import FAULTS
from tests.soak.options import PICTURE
from tests.soak.report import FAULT_HEAD, USES_HEAD, Report, fault_rows, sum_rows, uses_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "soak"
RESULTS: Final = FOLDER / "results.json"


def faults() -> str:
    """Return the table of all faults: what happens, and why requests may fail meanwhile."""
    rows = (
        [f"`{kind.name}`", kind.what, "; ".join(filter(None, (kind.excuse, kind.cut))) or "never"] for kind in FAULTS
    )
    return "\n".join([*_table(["fault", "what happens", "requests may fail"], rows), ""])


def results() -> str:
    """Return the results as Markdown."""
    if not RESULTS.exists():
        return "\nNo figures yet.\n"
    report: Report = json.loads(RESULTS.read_text(encoding="utf-8"))
    about = report["about"]
    picture = ["![requests, memory, descriptors, processes and faults over time](soak/soak.png)", ""]
    ran = (
        f"{about['minutes']:g} minutes with seed {about['seed']}, {about['requests_per_s']:g} requests a second over "
        f"{about['web_nodes']} web nodes, on {about['cores']} cores; python {about['python']}; {about['haproxy']}; "
        f"serf {about['serf']}."
    )
    return "\n".join(
        [
            *("", ran, ""),
            *(picture if (FOLDER / PICTURE).exists() else []),
            *_table(["", ""], sum_rows(report)),
            *_table(FAULT_HEAD, ([f"`{name}`", *rest] for name, *rest in fault_rows(report))),
            *_table(USES_HEAD, uses_rows(report)),
            *_problems(report),
            "",
        ]
    )


def _problems(report: Report) -> Iterator[str]:
    for problem in report["problems"]:
        yield f"- {problem.partition(chr(10))[0]}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _line(head)
    yield "|" + "---|" * len(head)
    yield from map(_line, rows)
    yield ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

"""What the output of a command says, and the table of all runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fresh.options import Command, User

_DEMO_TOTAL = re.compile(
    r"^\s*all\s+(?:\S+ s\s+)?(?P<requests>\d+)\s+(?P<failed>\d+)\s+(?P<reloads>\d+)\s", re.MULTILINE
)
_PYTEST_TOTAL = re.compile(r"^=+ (?P<counts>[^=\n]*\d+ [a-z][^=\n]*) in [0-9.]+s(?: \([0-9:]+\))? =+$", re.MULTILINE)
_COUNT = re.compile(r"(\d+) ([a-z]+)")


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a command did, in words, and what is wrong with that; `problem` is empty where nothing is."""

    text: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One command in one root file system; `versions` names the HAProxy and the Python found there."""

    distro: str
    command: Command
    user: User
    code: int
    seconds: float
    counts: Counts
    versions: str = ""

    @property
    def ok(self) -> bool:
        """True if the command succeeded and did something."""
        return self.code == 0 and not self.counts.problem


def counts_of(command: Command, output: str) -> Counts:
    """Read how much a command did from its output; a command that did nothing is a problem, whatever it returned."""
    return _demo_counts(output) if command is Command.DEMO else _test_counts(output)


def _demo_counts(output: str) -> Counts:
    total = _DEMO_TOTAL.search(output)
    if total is None:
        return Counts("", "the demo printed no table")
    text = f"{total['requests']} requests, {total['failed']} failed, {total['reloads']} reloads"
    if int(total["requests"]) == 0:
        return Counts(text, "the demo sent no request")
    return Counts(text, "requests failed" if int(total["failed"]) else "")


def _test_counts(output: str) -> Counts:
    totals = _PYTEST_TOTAL.findall(output)
    if not totals:
        return Counts("", "pytest printed no summary")
    counts = {word: int(number) for number, word in _COUNT.findall(totals[-1])}
    text = ", ".join(f"{counts.get(word, 0)} {word}" for word in ("passed", "failed", "skipped"))
    if not counts.get("passed"):
        return Counts(text, "no test was executed")
    bad = counts.get("failed", 0) + counts.get("errors", 0) + counts.get("error", 0)
    return Counts(text, "tests failed" if bad else "")


def table_of(runs: Sequence[Run]) -> str:
    """A line for each run."""
    rows = [("Debian", "command", "as", "result", "exit", "seconds", "counts", "with")]
    for run in runs:
        result = "ok" if run.ok else "FAILED"
        counts = "; ".join(text for text in (run.counts.text, run.counts.problem) if text)
        row = (run.distro, run.command.line, run.user.value, result, str(run.code), f"{run.seconds:.0f}")
        rows.append((*row, counts, run.versions))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )

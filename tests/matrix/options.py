"""What `make matrix` is asked for, through the environment. Pure: the environment comes in as an argument.

| variable | meaning |
|---|---|
| `VERSIONS` | rows, such as `2.6 3.4 3.0+serf-0.10.1`; all without it |
| `SUITES` | suites, such as `contract demo`; all without it |
| `MATRIX_REPORT` | a file for the counts as JSON |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.matrix.suites import Row


class WrongUsage(Exception):
    """A variable has a value that is none of those it may have."""


@dataclass(frozen=True, slots=True)
class Options:
    """The rows to run, each with its suites, and where the counts go."""

    rows: tuple[Row, ...]
    report: Path | None


def options_of(environ: Mapping[str, str], rows: Sequence[Row]) -> Options:
    """Choose among the rows.

    Raises:
        WrongUsage: with the variable and what it may be.
    """
    names = _chosen(environ, "VERSIONS", [row.name for row in rows])
    suites = _chosen(environ, "SUITES", list(dict.fromkeys(suite.name for row in rows for suite in row.suites)))
    kept = [
        replace(row, suites=tuple(suite for suite in row.suites if suite.name in suites))
        for row in rows
        if row.name in names
    ]
    if not all(row.suites for row in kept):
        bare = ", ".join(row.name for row in kept if not row.suites)
        raise WrongUsage(f"SUITES={environ.get('SUITES', '')}: none of them is run on {bare}")
    report = environ.get("MATRIX_REPORT", "")
    return Options(tuple(kept), Path(report) if report else None)


def _chosen(environ: Mapping[str, str], variable: str, known: Sequence[str]) -> Sequence[str]:
    words = environ.get(variable, "").replace(",", " ").split()
    if unknown := [word for word in words if word not in known]:
        raise WrongUsage(f"{variable}={' '.join(unknown)}: may be any of {', '.join(known)}")
    return words or known

"""What `make bench` is told, through the environment. Pure: the environment comes in as a mapping.

| variable | meaning |
|---|---|
| `SCENARIO` | words with commas, such as `join,crash`; all without it |
| `CONTENDER` | names with commas; all without it |
| `BENCH_REPORT` | a file for the figures as JSON |
| `BENCH_PLOTS` | the folder for the plots; empty for none. Without it, `docs/bench`, but none of a smoke run |
| `BENCH_QUICK` | `1` for a smoke run: a few seconds each, figures that prove nothing |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PLOTS = Path(__file__).resolve().parents[2] / "docs" / "bench"


class WrongUsage(Exception):
    """A variable has a value that is none of those it may have."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run, and where the figures go."""

    scenarios: frozenset[str]
    contenders: frozenset[str]
    report: Path | None
    plots: Path | None
    quick: bool


def options_of(environ: Mapping[str, str], scenarios: Collection[str], contenders: Collection[str]) -> Options:
    """Read the options; `scenarios` and `contenders` are what there is to choose from.

    Raises:
        WrongUsage: with the variable and what it may be.
    """
    quick = environ.get("BENCH_QUICK", "")
    if quick not in {"", "0", "1"}:
        raise WrongUsage(f"BENCH_QUICK={quick}: may be 1")
    report, plots = environ.get("BENCH_REPORT", ""), environ.get("BENCH_PLOTS", "" if quick == "1" else str(PLOTS))
    return Options(
        scenarios=_chosen(environ, "SCENARIO", scenarios),
        contenders=_chosen(environ, "CONTENDER", contenders),
        report=Path(report) if report else None,
        plots=Path(plots) if plots else None,
        quick=quick == "1",
    )


def _chosen(environ: Mapping[str, str], variable: str, choice: Collection[str]) -> frozenset[str]:
    given = frozenset(word.strip() for word in environ.get(variable, "").split(",")) - {""}
    unknown = sorted(given - set(choice))
    if unknown:
        raise WrongUsage(f"{variable}={','.join(unknown)}: may be any of {', '.join(choice)}")
    return given or frozenset(choice)

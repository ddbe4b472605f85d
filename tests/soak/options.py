"""What `make soak` is told, through the environment. Pure: the environment and chance come in as arguments.

| variable | meaning |
|---|---|
| `MINUTES` | how long; fractions are fine. 10 without it |
| `SOAK_SEED` | the seed of the schedule, or else `FAULT_SEED`; without both another one each time |
| `FAULTS` | names with commas, such as `daemon-killed,disk-full`; all without it |
| `SOAK_REPORT` | a file for the figures as JSON |
| `SOAK_PLOTS` | the folder for the plot; empty for none. Without it `docs/soak`, but none of a run with `FAULTS` |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PLOTS = Path(__file__).resolve().parents[2] / "docs" / "soak"
PICTURE = "soak.png"
LONGEST_MIN = 24 * 60.0
_USUAL_MIN = "10"


class WrongUsage(Exception):
    """A variable has a value that is none of those it may have."""


@dataclass(frozen=True, slots=True)
class Options:
    """How long, what to break, in which order, and where the figures go."""

    minutes: float
    seed: int
    faults: frozenset[str]
    report: Path | None
    plots: Path | None


def options_of(environ: Mapping[str, str], faults: Collection[str], fresh_seed: int) -> Options:
    """Read the options; `faults` are those that there are, `fresh_seed` is taken where none is given.

    Raises:
        WrongUsage: with the variable and what it may be.
    """
    chosen = frozenset(word.strip() for word in environ.get("FAULTS", "").split(",")) - {""}
    if unknown := sorted(chosen - set(faults)):
        raise WrongUsage(f"FAULTS={','.join(unknown)}: may be any of {', '.join(faults)}")
    report, plots = environ.get("SOAK_REPORT", ""), environ.get("SOAK_PLOTS", "" if chosen else str(PLOTS))
    return Options(
        minutes=_minutes(environ.get("MINUTES") or _USUAL_MIN),
        seed=_seed(environ, fresh_seed),
        faults=chosen or frozenset(faults),
        report=Path(report) if report else None,
        plots=Path(plots) if plots else None,
    )


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= LONGEST_MIN:
        raise WrongUsage(f"MINUTES={text}: may be a number over 0, up to {LONGEST_MIN:g}")
    return minutes


def _seed(environ: Mapping[str, str], fresh_seed: int) -> int:
    for variable in ("SOAK_SEED", "FAULT_SEED"):
        text = environ.get(variable, "")
        if text.isascii() and text.isdecimal():
            return int(text)
        if text:
            raise WrongUsage(f"{variable}={text}: may be a whole number from 0")
    return fresh_seed

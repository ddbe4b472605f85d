"""`python -m tests.bench`, which `make bench` runs; `options` has the variables.

Exit codes: 0 all that could be measured was, 1 a run broke (its row says how), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from tests.bench.contenders import CONTENDERS
from tests.bench.figures import NOT_MEASURED, Figures
from tests.bench.options import Options, WrongUsage, options_of
from tests.bench.report import ABOUT, Report, as_json, print_report
from tests.bench.scenarios import SCENARIOS
from tests.bench.scenarios.scenario import Bench
from tests.versions import first_line

if TYPE_CHECKING:
    from types import FrameType

    from tests.bench.contenders.contender import Contender
    from tests.bench.scenarios.scenario import Scenario

BROKE = "broke: "
_WIDTH = 130
"""Of lines that go into a file."""


def main(console: Console) -> int:
    """Run what was asked for, and return the exit code."""
    try:
        options = options_of(
            os.environ,
            [word for scenario in SCENARIOS for word in scenario.words],
            [contender.name for contender in CONTENDERS],
        )
    except WrongUsage as error:
        console.print(f"bench: {error}", highlight=False)
        return 2
    report: Report = {ABOUT: about(options)}
    # A short path: sockets lie in it, and the path of a socket has 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    try:
        run_all(
            options,
            Bench(directory, options.quick, lambda text: console.print(f"    {text}", highlight=False)),
            report,
            console,
        )
    except KeyboardInterrupt:
        console.print("bench: interrupted; what was measured until then:")
        tell(options, report, console)
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    tell(options, report, console)
    draw(options, report, console)
    return int(any(is_broken(figures) for contenders in report.values() for figures in contenders.values()))


def run_all(options: Options, bench: Bench, report: Report, console: Console) -> None:
    """Run each chosen scenario with each chosen contender, and fill the report."""
    for scenario in SCENARIOS:
        words = options.scenarios.intersection(scenario.words)
        for contender in CONTENDERS if words else ():
            if contender.name in options.contenders:
                console.print(f"[bold]{', '.join(scenario.words)}[/bold]: {contender.name}")
                for name, figures in measured(bench, scenario, contender).items():
                    if name.partition("_")[0] in words:
                        report.setdefault(name, {})[contender.name] = figures


def measured(bench: Bench, scenario: Scenario, contender: type[Contender]) -> dict[str, Figures]:
    """Run one scenario with one contender; what cannot be measured, or breaks, is a row that says why."""
    reason = scenario.without.get(contender.name) or contender.missing()
    if not reason:
        try:
            return scenario.run(bench, contender)
        except Exception as error:  # noqa: BLE001  one contender that breaks must not cost the figures of the others
            reason = f"{BROKE}{type(error).__name__}: {error}"
    bench.say(reason)
    return {name: {NOT_MEASURED: reason} for name in scenario.results}


def is_broken(figures: Figures) -> bool:
    """Whether a run broke, other than one that was not possible."""
    return str(figures.get(NOT_MEASURED, "")).startswith(BROKE)


def about(options: Options) -> dict[str, Figures]:
    """Say on what all this was measured, and whether it was only a smoke run."""
    return {
        "run": {"quick": options.quick},
        "machine": {"cores": os.cpu_count() or 0},
        "python": {"version": platform.python_version()},
        "haproxy": {"version": first_line("haproxy", "-v")},
        "serf": {"version": first_line("serf", "version")},
    }


def tell(options: Options, report: Report, console: Console) -> None:
    """Print the figures, and write them down."""
    print_report(console, report)
    if options.report is not None:
        options.report.write_text(as_json(report), encoding="utf-8")


def draw(options: Options, report: Report, console: Console) -> None:
    """Draw the plots, where the library for that is installed: the tests run without it."""
    if options.plots is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        console.print("bench: no plots: matplotlib is not installed")
        return
    drawn = importlib.import_module("tests.bench.plots").draw(report, options.plots)
    console.print(f"bench: drew {', '.join(path.name for path in drawn) or 'nothing'} in {options.plots}")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """End as after Ctrl-C: everything that was started has to be ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Also where it was started with SIGINT ignored, as in the background of a script.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.exit(main(Console(width=None if sys.stdout.isatty() else _WIDTH)))

"""`python -m tests.soak`, which `make soak` runs; `options` has the variables.

Exit codes: 0 all healed, no request failed without an excuse and nothing was left over; 1 not so; 2 wrong usage, or it
cannot run here; 130 interrupted.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from compose.model import ClusterError
from compose.network import NoNetworkError
from compose.waiting import WaitedInVainError
from tests.soak.faults import FAULTS
from tests.soak.load import RATE
from tests.soak.options import Options, WrongUsage, options_of
from tests.soak.place import WEB_NODES, Place, can_mount
from tests.soak.report import as_json, print_report, report_of
from tests.soak.runner import Runner, Story, bugs_in
from tests.soak.schedule import turns
from tests.versions import first_line

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from tests.soak.faults.fault import Fault
    from tests.soak.report import Report

_WIDTH = 130
"""Of lines that go into a file."""
_SEEDS = 1_000_000
_SLACK_S = 1800.0
"""The load's own bound: a turn that was begun is played to its end."""
_MOST_BUGS = 20
INTERRUPTED = 130


def main(console: Console) -> int:
    """Run the soak, and return the exit code."""
    try:
        fresh = random.SystemRandom().randrange(_SEEDS)
        options = options_of(os.environ, [kind.name for kind in FAULTS], fresh)
    except WrongUsage as error:
        console.print(f"soak: {error}", highlight=False, markup=False)
        return 2
    kinds = possible(options, console)
    # A short path: sockets lie in it, and the path of a socket has 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    what = f"{options.minutes:g} minutes, SOAK_SEED={options.seed}, {len(kinds)} faults, in {directory}"
    console.print(f"soak: {what}", highlight=False)
    story = Story()
    try:
        interrupted = asyncio.run(_until_signal(play(options, kinds, directory / "c", story, console)))
    except (ClusterError, NoNetworkError, WaitedInVainError) as error:
        console.print(f"soak: cannot run: {error}", highlight=False, markup=False)
        return 2
    story.problems += [f"a bug of rosterd: {line}" for log in logs_in(directory) for line in bugs_in(log)[:_MOST_BUGS]]
    report = report_of(about(options), kinds, story)
    tell(options, report, console)
    if report["ok"]:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        console.print(f"soak: the logs are kept in {directory}", highlight=False)
    if interrupted:
        console.print("soak: interrupted; this is what happened until then")
        return INTERRUPTED
    draw(options, report, console)
    return 0 if report["ok"] else 1


def possible(options: Options, console: Console) -> list[type[Fault]]:
    """Return the chosen faults that can be made here."""
    chosen = [kind for kind in FAULTS if kind.name in options.faults]
    left_out = [kind for kind in chosen if kind.needs_disk and not can_mount()]
    for kind in left_out:
        console.print(f"soak: without {kind.name}: it needs a disk of its own, which root may mount", highlight=False)
    return [kind for kind in chosen if kind not in left_out]


async def play(options: Options, kinds: Sequence[type[Fault]], directory: Path, story: Story, console: Console) -> None:
    """Play for as long as was asked for, and stop everything in order."""
    seconds = options.minutes * 60
    async with Place.open(directory, seconds + _SLACK_S) as place:
        story.ledger, story.left_over = place.ledger, place.left_over

        def say(text: str) -> None:
            at = int(place.now() - place.ledger.begin)
            console.print(f"{at // 60:3}:{at % 60:02}  {text}", highlight=False, markup=False)

        runner = Runner(place, kinds, say, story)
        await runner.run(turns(options.seed, kinds, WEB_NODES), seconds)


async def _until_signal(playing: Coroutine[None, None, None]) -> bool:
    """Play as a task that a signal cancels; whether one did. Everything that was started is ended first."""
    task = asyncio.create_task(playing)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


def logs_in(directory: Path) -> list[Path]:
    """Return the logs of rosterd, the older one first."""
    return sorted(directory.glob("c/balancer/logs/rosterd.log*"), reverse=True)


def about(options: Options) -> dict[str, object]:
    """Say on what all this happened."""
    return {
        "minutes": options.minutes,
        "seed": options.seed,
        "web_nodes": WEB_NODES,
        "requests_per_s": RATE,
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "haproxy": first_line("haproxy", "-v"),
        "serf": first_line("serf", "version"),
    }


def tell(options: Options, report: Report, console: Console) -> None:
    """Print the figures, and write them down."""
    print_report(console, report)
    if options.report is not None:
        options.report.write_text(as_json(report), encoding="utf-8")


def draw(options: Options, report: Report, console: Console) -> None:
    """Draw the plot, where the library for that is installed: the tests run without it."""
    if options.plots is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        console.print("soak: no plot: matplotlib is not installed")
        return
    drawn = importlib.import_module("tests.soak.plots").draw(report, options.plots)
    console.print(f"soak: drew {drawn}", highlight=False)


if __name__ == "__main__":
    sys.exit(main(Console(width=None if sys.stdout.isatty() else _WIDTH)))

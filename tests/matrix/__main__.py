"""`python -m tests.matrix`, which `make matrix` runs; `options` has the variables.

Each row brings its programs and runs its suites one after the other, with a line for each; the table comes last. Two
rows run at once, which keeps two cores busy. The output of each suite is in `.run/matrix-logs/ROW/SUITE.log`; the end
of one that failed is shown.

Exit codes: 0 everything was run and passed; 1 not so, or a version cannot be had; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from tests.matrix.fetch import TREE, fetch
from tests.matrix.options import WrongUsage, options_of
from tests.matrix.packages import FetchFailedError
from tests.matrix.run import Programs, run_suite
from tests.matrix.suites import NEW_SERF, Row
from tests.matrix.table import Count, Result, as_json, problems_of, table_of
from tests.matrix.versions import HAPROXY, SERF
from tests.versions import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROWS: Final = (*(Row(version) for version in HAPROXY.versions), NEW_SERF)
LOGS: Final = TREE / ".run" / "matrix-logs"
ROWS_AT_ONCE: Final = 2
"""The suites wait more than they compute."""
INTERRUPTED: Final = 130
_WIDTH: Final = 130
_LAST_LINES: Final = 60


def main(console: Console, environ: Mapping[str, str]) -> int:
    """Run the matrix, and return the exit code."""
    try:
        options = options_of(environ, ROWS)
    except WrongUsage as error:
        console.print(f"matrix: {error}", markup=False)
        return 2
    try:
        results = asyncio.run(run_rows(options.rows, console))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return INTERRUPTED
    console.print(table_of(results))
    for problem in problems_of(results):
        console.print(f"matrix: {problem}", markup=False, soft_wrap=True)
    if options.report:
        options.report.write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")
    return 0 if as_json(results)["ok"] else 1


async def run_rows(rows: Sequence[Row], console: Console) -> list[Result]:
    """Run all rows, some at once; SIGTERM ends them as an interrupt does."""
    matrix = asyncio.current_task()
    assert matrix is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, matrix.cancel)
    places, one_demo = asyncio.Semaphore(ROWS_AT_ONCE), asyncio.Lock()

    async def in_turn(row: Row) -> Result:
        async with places:
            return await run_row(row, console, one_demo)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(in_turn(row)) for row in rows]
    return [task.result() for task in running]


async def run_row(row: Row, console: Console, one_demo: asyncio.Lock) -> Result:
    """Bring the programs of a row and run its suites."""
    try:
        programs = await asyncio.to_thread(programs_of, row)
    except FetchFailedError as error:
        console.print(f"{row.name}: {error}", markup=False, soft_wrap=True)
        return Result(row, "", {suite.name: Count(problem=str(error)) for suite in row.suites})
    version = first_line(str(programs.haproxy), "-v").split()[2]
    folder = LOGS / row.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counts: dict[str, Count] = {}
    for suite in row.suites:
        counts[suite.name] = count = await run_suite(suite, programs, folder, one_demo)
        console.print(f"{row.name} ({version}): {suite.name}: {count}, {count.seconds:.0f} s", markup=False)
        if not count.ok:
            _show_end(folder / f"{suite.name}.log", console)
    return Result(row, version, counts)


def programs_of(row: Row) -> Programs:
    """The programs of a row, brought where they are not here yet.

    Raises:
        FetchFailedError: one cannot be had; the text names the version.
    """
    haproxy = fetch(HAPROXY, row.haproxy)
    if row.serf:
        return Programs(haproxy, row.haproxy, fetch(SERF, row.serf))
    installed = shutil.which("serf")
    if installed is None:
        raise FetchFailedError("there is no program `serf` here; run `make setup`")
    return Programs(haproxy, row.haproxy, Path(installed))


def _show_end(log: Path, console: Console) -> None:
    if log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        console.print("\n".join(lines[-_LAST_LINES:]), markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH), os.environ))

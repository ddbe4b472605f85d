"""Runs one suite on one version, and counts.

The version is chosen by PATH alone, as a person chooses it: the tests' HAProxy, the daemon's `haproxy -c`, the demo's
nodes and all else find the same program. That they do is checked: each HAProxy and each agent that a test starts has
to be the expected one (tests/versions.py), and so have those that the demo's report names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from tests.matrix.fetch import TREE
from tests.matrix.table import Count
from tests.matrix.versions import haproxy_branch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.matrix.suites import Suite

SUITE_S: Final = 1200.0
_END_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.1
_PYTEST: Final = (sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider")
_DEMO: Final = (sys.executable, "-m", "compose", "demo", "--cluster", "matrix")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of a row, by their paths; `version` is the branch of the HAProxy."""

    haproxy: Path
    version: str
    serf: Path

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment in which exactly these are found, and expected."""
        folders = [str(self.haproxy.parent), str(self.serf.parent), environ.get("PATH", os.defpath)]
        kept = {key: value for key, value in environ.items() if key not in ("HAPROXY", "DEMO", "DEMO_STAY")}
        return kept | {
            "PATH": os.pathsep.join(folders),
            "EXPECT_HAPROXY": self.version,
            "EXPECT_SERF": str(self.serf.resolve()),
        }


async def run_suite(suite: Suite, programs: Programs, folder: Path, one_demo: asyncio.Lock) -> Count:
    """Run a suite, with its report and its output in a folder; how it went.

    Demos are run one at a time: each takes the first network that is free, and measures.
    """
    async with contextlib.AsyncExitStack() as stack:
        if not suite.paths:
            await stack.enter_async_context(one_demo)
        began = time.monotonic()
        count = await (_run_pytest if suite.paths else _run_demo)(suite, programs, folder)
        return replace(count, seconds=round(time.monotonic() - began, 1))


async def _run_pytest(suite: Suite, programs: Programs, folder: Path) -> Count:
    report = folder / f"{suite.name}.xml"
    command = [*_PYTEST, f"--junitxml={report}", *suite.paths]
    problem = await _run(command, programs.environ(os.environ), folder / f"{suite.name}.log")
    if problem or not report.exists():
        return Count(problem=problem or "pytest ended without a report")
    return count_of_junit(report.read_text(encoding="utf-8"))


async def _run_demo(suite: Suite, programs: Programs, folder: Path) -> Count:
    report = folder / f"{suite.name}.json"
    environ = programs.environ(os.environ) | {"DEMO": "local", "DEMO_REPORT": str(report)}
    problem = await _run(_DEMO, environ, folder / f"{suite.name}.log")
    if problem or not report.exists():
        return Count(problem=problem or "the demo ended without a report")
    return count_of_demo(json.loads(report.read_text(encoding="utf-8")), programs)


async def _run(command: Sequence[str], environ: Mapping[str, str], log: Path) -> str:
    """Run a program with its output in a file; why it was ended, empty where it ended by itself."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=TREE,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(SUITE_S):
            await process.wait()
    except TimeoutError:
        return f"no end after {SUITE_S:g} s"
    finally:
        await _end(process)
    return ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program that still runs, and what it has left behind in its session.

    First by an interrupt to all of them: the processes of pytest run the ends of their fixtures then, as the demo stops
    its nodes. SIGTERM would end pytest at once, and leave what its tests have started.
    """
    with contextlib.suppress(ProcessLookupError):
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGINT)
            give_up_at = time.monotonic() + _END_S
            # Until the whole group has gone: pytest itself ends before its workers have ended their fixtures.
            while time.monotonic() < give_up_at:
                os.killpg(process.pid, 0)
                await asyncio.sleep(_LOOK_AGAIN_S)
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def count_of_junit(text: str) -> Count:
    """The counts of pytest's report. A test whose fixture failed after it passed counts as failed."""
    suites = [*ET.fromstring(text).iter("testsuite")]  # noqa: S314  pytest has just written it
    total, failures, errors, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return Count(passed=max(total - failed - skipped, 0), failed=failed, skipped=skipped)


def count_of_demo(report: Mapping[str, Any], programs: Programs) -> Count:
    """The counts of the demo's report, a step each; that it ran the wrong programs, or was not ok, is a problem."""
    steps = report["steps"]
    passed = sum(step["ok"] for step in steps)
    return Count(passed=passed, failed=len(steps) - passed, problem=_problem_of_demo(report, programs))


def _problem_of_demo(report: Mapping[str, Any], programs: Programs) -> str:
    if haproxy_branch(report["haproxy"]) != programs.version:
        return f"the demo ran HAProxy {report['haproxy'] or 'of an unknown version'}"
    for path in (programs.haproxy, programs.serf):
        if str(path.resolve()) not in report["executables"]:
            return f"the demo did not run {path}"
    others = [one for one in report["executables"] if Path(one).name in ("haproxy", "serf")]
    if len(others) != 2:
        return f"the demo ran other programs too: {', '.join(others)}"
    return "" if report["ok"] else "the demo did not hold"

"""Runs the demo: chooses the mode, runs the steps under load, reports, and cleans up.

Exit codes: 0 every step held, 1 one did not, 2 it cannot run here or not in that mode, 128 + N ended by signal N.
Whatever happens (a failed step, Ctrl-C, SIGTERM, a closed terminal), the cluster is stopped in order before the end,
and killed where that takes too long or a second signal comes; DEMO_STAY=1 leaves it up after a complete run only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.cluster import ClusterError
from compose.demo.containers import CONTAINER_STEPS, ContainerStage
from compose.demo.context import Context
from compose.demo.display import Display
from compose.demo.local import LocalStage
from compose.demo.mode import (
    Mode,
    ModeRefusedError,
    choose_by_engine,
    choose_by_name,
    choose_otherwise,
    find_engine,
)
from compose.demo.options import Options, OptionsRefusedError
from compose.demo.report import StepResult, reload_problem, report_of, with_requests
from compose.demo.step import run_step
from compose.demo.steps import STEPS
from compose.disk import explained
from compose.haproxy_view import HAProxyUnreadableError
from compose.network import NoNetworkError
from compose.terminal import obey_locale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compose.demo.mode import Choice
    from compose.demo.stage import Stage
    from compose.demo.step import Step

FRAME_S = 0.2
MASTER_TRIES = 10
LAST_PROBLEMS = 12
EXIT_FAILED = 1
EXIT_CANNOT = 2


def main(environ: Mapping[str, str], directory: Path) -> int:
    """Run the demo with its cluster in `directory`; the exit code."""
    obey_locale(environ, sys.stdout, sys.stderr)
    try:
        return asyncio.run(_until_signal(Options.read(environ), directory))
    except (ModeRefusedError, OptionsRefusedError, ClusterError, NoNetworkError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return EXIT_CANNOT
    except OSError as error:
        text = explained(error, directory)
        if text is None:
            raise
        sys.stderr.write(f"demo: {text}\n")
        return EXIT_CANNOT


async def _until_signal(options: Options, directory: Path) -> int:
    """Run the demo as a task that signals cancel: the first one asks for the way out, the next for the short one."""
    loop = asyncio.get_running_loop()
    caught: list[signal.Signals] = []
    demo = asyncio.create_task(_demo(options, directory))

    def end(number: signal.Signals) -> None:
        caught.append(number)
        demo.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await demo
    except asyncio.CancelledError:
        return 128 + caught[0] if caught else EXIT_FAILED


async def _demo(options: Options, directory: Path) -> int:
    choice = choose_by_name(options.mode) if options.mode else choose_by_engine(await find_engine())
    display = Display()
    choice, stage, steps = await _set_up(choice, directory, display)
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.push_async_callback(_stop_all, stage, display)
        context = Context(stage, display.note)
        results = await _run_steps(context, steps, display, choice)
        not_reached = [step.name for step in steps[len(results) :]]
        display.print_results(results)
        report = report_of(choice.mode.value, results, not_reached) | await _programs(context)
        if not report["ok"]:
            display.print_problems(results, not_reached, await stage.problems(LAST_PROBLEMS), await stage.keep_logs())
        if options.report:
            _write_report(options.report, json.dumps(report, indent=2) + "\n")
        if options.stay:
            display.print_hints(await stage.hints())
            cleanup.pop_all()
    return 0 if report["ok"] else EXIT_FAILED


async def _set_up(choice: Choice, directory: Path, display: Display) -> tuple[Choice, Stage, Sequence[Step]]:
    """A stage with nothing on it yet, and what will be played there; the choice is another where containers fail."""
    if choice.mode is Mode.COMPOSE:
        try:
            stage = await ContainerStage.create(directory.with_name(f"{directory.name}-containers"), display.say)
        except ClusterError as error:
            choice = choose_otherwise(choice, str(error))
            display.say(f"no containers: {error}\n")
        else:
            return choice, stage, (*STEPS, *CONTAINER_STEPS)
    return choice, await LocalStage.create(directory, display.say), STEPS


async def _stop_all(stage: Stage, display: Display) -> None:
    """Stop every node in order; kill what is left when that fails or is cancelled."""
    try:
        with contextlib.suppress(OSError):  # a terminal that is gone must not keep us from the rest
            display.say("stopping all nodes in order ...")
        async with asyncio.timeout(stage.close_within_s):
            await stage.close()
    except TimeoutError:
        display.say(f"not all stopped within {stage.close_within_s:g} s: killing what is left")
    finally:
        stage.close_at_once()


async def _run_steps(context: Context, steps: Sequence[Step], display: Display, choice: Choice) -> list[StepResult]:
    """Run the steps while the load runs; their results, with every request counted."""
    display.print_header(choice, context)
    results: list[StepResult] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(context.run_load())
        drawing = tasks.create_task(_draw_forever(context, display))
        with display.live_bars(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(context.stage.deadline_s):
                began = context.now()
                for number, step in enumerate(steps, 1):
                    display.step_started(number, len(steps), step)
                    result = await _measure_step(step, context, began)
                    began = result.ended  # no request falls between two steps
                    results.append(result)
                    await context.load.answers()  # else the line would lack those that are under way
                    counted = with_requests(result, context.samples)
                    display.step_finished(step, counted)
                    if number == 1 and not counted.ok:
                        break  # without a cluster and a load on it no other step means anything
        drawing.cancel()
        context.stop_load()
    # Only now are the last answers in.
    return [with_requests(result, context.samples) for result in results]


async def _programs(context: Context) -> dict[str, Any]:
    """What ran: HAProxy's version as rosterd sees it, and the program files of all nodes."""
    proxy = (await context.status()).get("proxy", {})
    return {"haproxy": proxy.get("version", ""), "executables": list(context.stage.executables())}


async def _measure_step(step: Step, context: Context, began: float) -> StepResult:
    before = await _reloads(context) if context.web else 0
    seconds, problem = await run_step(step, context)
    after = await _reloads(context)
    problem = problem or reload_problem(before, after, step.most_reloads)
    reloads = max(0, after - before) if after is not None and before is not None else 0
    return StepResult(step.name, seconds, problem, began, context.now(), reloads)


async def _reloads(context: Context) -> int | None:
    """HAProxy's own count of its reloads; None where it cannot be read within a moment."""
    for _ in range(MASTER_TRIES):
        try:
            return (await context.master()).reloads
        except HAProxyUnreadableError:  # for a moment after each reload
            await asyncio.sleep(FRAME_S)
    return None


async def _draw_forever(context: Context, display: Display) -> None:
    while True:
        await context.read_servers()
        display.draw(context)
        await asyncio.sleep(FRAME_S)


def _write_report(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

"""The composition root: builds the daemon from its parts, runs it, and says how it ended.

One exit stack holds every resource and leaves them in reverse. Signals set an event and do nothing else; a turn of the
controller that is under way is given `STOP_WITHIN_S` to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from rosterd import __version__, logs
from rosterd.actuator import Actuator
from rosterd.addresses import LocalAddresses
from rosterd.admin.insight import Insight
from rosterd.admin.old_workers import count_old_workers
from rosterd.admin.on_demand import OnDemand
from rosterd.admin.server import serving
from rosterd.admin.traffic import ANSWER_WITHIN_S, read_traffic
from rosterd.blueprint import Blueprint, Drafts
from rosterd.controller import Controller
from rosterd.edits import Edits
from rosterd.errors import TemplateError
from rosterd.history import History
from rosterd.journal import Journal
from rosterd.log_writer import LogWriter, report_dropped
from rosterd.metrics import Metrics
from rosterd.notify import Notifier
from rosterd.proxy.apply import Applier, Checker
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.reload import Master
from rosterd.proxy.runtime_relay import RuntimeRelay
from rosterd.proxy.socket import HAProxySocket
from rosterd.proxy.traffic import Reading
from rosterd.render import Template
from rosterd.serf.client import SerfClient, SerfTiming
from rosterd.serf.endpoints import parse_seed
from rosterd.serf.exchange import TableExchange
from rosterd.serf.seeds import SeedKeeper
from rosterd.settings import ProxySettings, Settings, ignored_variables, load, split_host_port
from rosterd.sources import Sources
from rosterd.stdlib_logs import StdlibLogs
from rosterd.trace import traces
from rosterd.watch import Watcher

log = structlog.get_logger(__name__)

STOP_WITHIN_S = 4.0

PARTS_END_WITHIN_S = 1.0
"""Parts end at once when they are cancelled; none of them keeps the daemon from stopping."""

LAG_EVERY_S = 1.0
"""How often it is measured how late the loop is."""

SECOND_SIGNAL_AFTER_S = 0.5
"""A signal sooner than this is the same request, delivered twice: to the process and to its group."""

PROCESS_ID_BYTES = 2
"""Of the few characters by which traces and events of this process are told from those of the one before."""


async def run(settings_file: Path | None) -> None:
    """Run the daemon until SIGTERM or SIGINT. RosterdError for what keeps it from starting."""
    settings = load(settings_file)
    process = secrets.token_hex(PROCESS_ID_BYTES)
    history = History(process)
    writer = LogWriter(sys.stderr.fileno())
    logs.configure(settings.log.level, settings.log.format, history.record, writer, StdlibLogs(time.monotonic))
    try:
        await _run(settings_file, settings, process, history, writer)
    finally:
        writer.close()


async def _run(
    settings_file: Path | None, settings: Settings, process: str, history: History, writer: LogWriter
) -> None:
    sources = Sources(settings_file, settings.proxy.template_file, settings.proxy.state_dir)
    file = ConfigFile(settings.proxy.config_file, settings.proxy.state_dir)
    notifier = Notifier(os.environ, os.getpid(), time.monotonic)
    journal = Journal(traces(process), Metrics(), time.monotonic)
    watcher = Watcher()
    edits = Edits(_drafts(settings, sources), sources, watcher.follow)
    controller = _controller(settings, edits, file, notifier, journal)
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_signals(stop, controller))
        insight = Insight(controller.report, history, journal.metrics, *_on_demand(settings.proxy, stack))
        await stack.enter_async_context(serving(settings.admin.listen, insight))
        file.recover()  # only now: what lies beside the file could be a running daemon's, but its address was free
        stack.enter_context(watcher.watching(controller.file_changed))
        controller.look_at_files()  # the first turn reports a broken template that the last good one stands in for
        gc.freeze()  # what the imports made stays; looking through it again and again would be most of a collection
        log.info(
            "daemon.started", version=__version__, settings_file=str(settings_file), services=len(settings.services)
        )
        if ignored := ignored_variables():
            log.info(
                "settings.variables_ignored",
                variables=list(ignored),
                effect="a container platform set them; a key is given as ROSTERD_SECTION__KEY",
            )
        addresses = LocalAddresses(controller.addresses_read)
        addresses.look()
        beside = (
            addresses.run(),
            _signs_of_life(notifier, controller),
            _measure_lag(journal.metrics),
            report_dropped(writer, journal.metrics.log_lines_dropped),
        )
        parts = [*_serf_parts(settings, controller), *_runtime_relay(settings.proxy), *beside]
        await _run_until_stopped(controller, parts, stop)
        log.info("daemon.stopped")


def _on_demand(
    proxy: ProxySettings, stack: contextlib.AsyncExitStack
) -> tuple[Callable[[], Awaitable[Reading]], Callable[[], Awaitable[int | None]]]:
    """The traffic and the number of old workers, each asked on a connection of its own when somebody wants to know."""
    clock = time.monotonic
    runtime = HAProxySocket(proxy.runtime_socket, ANSWER_WITHIN_S)
    master = Master(HAProxySocket(proxy.master_socket, ANSWER_WITHIN_S), ANSWER_WITHIN_S)
    traffic = OnDemand(partial(read_traffic, runtime, clock), clock)
    old_workers = OnDemand(partial(count_old_workers, master), clock)
    for question in (traffic, old_workers):
        stack.push_async_callback(question.close)
    return traffic.latest, old_workers.latest


def _controller(settings: Settings, edits: Edits, file: ConfigFile, notifier: Notifier, journal: Journal) -> Controller:
    proxy = settings.proxy
    socket = HAProxySocket(proxy.master_socket, proxy.answer_timeout_s)
    master = Master(socket, proxy.reload_timeout_s, proxy.stderr_file)
    clock = time.monotonic
    applier = Applier(file, Checker(proxy.binary, proxy.check_timeout_s), master, clock)
    return Controller(
        edits=edits,
        runtime=HAProxySocket(proxy.runtime_socket, proxy.answer_timeout_s),
        notifier=notifier,
        actuator=Actuator(
            drafts=edits.drafts,
            file=file,
            applier=applier,
            clock=clock,
            jitter=random.SystemRandom().random,
            metrics=journal.metrics,
        ),
        journal=journal,
        clock=clock,
    )


def _drafts(settings: Settings, sources: Sources) -> Drafts:
    """Start with the template as it is; beside a broken one with the last good one, if there is any.

    Without a good one, a template that can be rendered is used although it breaks rules: there is nothing better. The
    first reading of the files says what is wrong with it.
    """
    kept = sources.good_template()
    good = None if kept is None else _blueprint_or_none(settings, kept)
    try:
        blueprint = Blueprint.of(settings, sources.template())
        if good is not None:
            blueprint.check_rules()
    except TemplateError:
        if good is None:
            raise
        return Drafts(good, None)
    return Drafts(blueprint, good)


def _blueprint_or_none(settings: Settings, template: Template) -> Blueprint | None:
    with contextlib.suppress(TemplateError):
        return Blueprint.of(settings, template)
    return None


async def _run_until_stopped(
    controller: Controller, parts_beside: Iterable[Coroutine[Any, Any, None]], stop: asyncio.Event
) -> None:
    """Run the loop and the parts beside it; one that ends by itself ends the daemon with what it raised."""
    loop_task = asyncio.create_task(controller.run(stop), name="controller")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    parts = [loop_task, *(asyncio.create_task(part) for part in parts_beside)]
    try:
        done, _ = await asyncio.wait([*parts, stopped], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        ended, _ = await asyncio.wait([loop_task], timeout=STOP_WITHIN_S)
        for task in done | ended:
            task.result()
    finally:
        await _end([*parts, stopped])


async def _signs_of_life(notifier: Notifier, controller: Controller) -> None:
    """Tell the service manager that the loop turns, as often as it wants to know; where it does not, do nothing."""
    if not notifier.alive_every_s:
        await asyncio.Event().wait()
    while True:
        if controller.turns():
            notifier.alive()
        await asyncio.sleep(notifier.alive_every_s)


async def _measure_lag(metrics: Metrics) -> None:
    """Measure how much later than it should the loop turns."""
    while True:
        due_at = time.monotonic() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        metrics.lagged(max(0.0, time.monotonic() - due_at))


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait for their ends; one that misses it is cancelled again when the loop is closed."""
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    ended, _ = await asyncio.wait(tasks, timeout=PARTS_END_WITHIN_S)
    for task in ended:
        if not task.cancelled():
            task.exception()  # what ended it is logged, or was raised by the caller


def _serf_parts(settings: Settings, controller: Controller) -> Iterator[Coroutine[Any, Any, None]]:
    serf = settings.serf
    auth_key = serf.auth_key.get_secret_value() if serf.auth_key is not None else None
    timing = SerfTiming(
        request_timeout=serf.request_timeout_s,
        stats_interval=serf.stats_interval_s,
        members_interval=serf.members_interval_s,
        backoff_first=serf.backoff_first_s,
        backoff_longest=serf.backoff_longest_s,
    )
    yield SerfClient(
        address=serf.host_port,
        auth_key=auth_key,
        timing=timing,
        listener=controller,
        rng=random.SystemRandom(),
    ).run()
    yield TableExchange(
        address=serf.host_port,
        auth_key=auth_key,
        interval=serf.exchange_interval_s,
        timeout=timing.join_timeout,
        latest=controller.latest_snapshot,
        rng=random.SystemRandom(),
    ).run()
    if serf.seeds:
        yield SeedKeeper(
            address=serf.host_port,
            auth_key=auth_key,
            seeds=tuple(map(parse_seed, serf.seeds)),
            interval=serf.seed_interval_s,
            join_timeout=timing.join_timeout,
            latest=controller.latest_snapshot,
        ).run()


def _runtime_relay(proxy: ProxySettings) -> Iterator[Coroutine[Any, Any, None]]:
    if proxy.runtime_bind is not None:
        yield RuntimeRelay(*split_host_port(proxy.runtime_bind), proxy.runtime_socket, time.monotonic).run()


@contextlib.contextmanager
def _signals(stop: asyncio.Event, controller: Controller) -> Iterator[None]:
    """SIGTERM and SIGINT stop, SIGHUP reads settings and template again, SIGUSR1 overrides the guard.

    The handlers are Python's own and not the loop's: the second SIGTERM or SIGINT ends the process even where the loop
    hangs and would never run a handler.
    """
    loop = asyncio.get_running_loop()
    first_stop_at: list[float] = []

    def stop_or_end(number: int, _frame: object) -> None:
        now = time.monotonic()
        if first_stop_at and now >= first_stop_at[0] + SECOND_SIGNAL_AFTER_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        first_stop_at.append(now)
        with contextlib.suppress(RuntimeError):  # the loop has ended: there is nothing left to stop
            loop.call_soon_threadsafe(stop.set)

    def in_loop(callback: Callable[[], object]) -> Callable[[int, object], None]:
        def handle(_number: int, _frame: object) -> None:
            loop.call_soon_threadsafe(callback)

        return handle

    handlers: dict[signal.Signals, Callable[[int, object], None]] = {
        signal.SIGTERM: stop_or_end,
        signal.SIGINT: stop_or_end,
        signal.SIGHUP: in_loop(controller.reread),
        signal.SIGUSR1: in_loop(controller.override_guard),
    }
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGHUP, signal.SIGUSR1):
            # What comes now comes late: the process is about to end, and in order.
            signal.signal(number, signal.SIG_IGN)

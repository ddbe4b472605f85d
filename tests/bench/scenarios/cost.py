"""cost: what the daemon needs when nothing happens, with 10, 100 and 1,000 members.

A thousand real agents do not fit on the machine, so the agent is the one of the tests (`tests/serf_fake.py`), for all
three, to compare them. The web servers are real, on an address each, and HAProxy checks them as it does everywhere.

`p50_s` is the time from the start of the process to the first `/readyz` that says yes, beside a HAProxy that runs
already: what a restart of the daemon takes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.bench.accounting import rss_mb, usage
from tests.bench.children import WEB_PORT, WebFarm
from tests.bench.contenders.rosterd import DaemonProcess
from tests.bench.figures import Figures, rounded, spread
from tests.bench.scenarios.scenario import Bench, Results, Scenario
from tests.bench.waiting import until
from tests.haproxy_process import HAProxyProcess
from tests.loopback import free_address
from tests.serf_fake import FakeAgent, FakeMember

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.contenders.contender import Contender

SIZES = (10, 100, 1_000)
_SETTLE_S = 5.0


@contextmanager
def _fake_agent(addresses: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Play an agent with these members, in a thread, and give where its RPC listens."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    agent = FakeAgent()
    for address in addresses:
        name = "web" + address.replace(".", "-")
        agent.members[name] = FakeMember(name, address, tags={"role": "backend"})
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(agent.start(), loop).result()
        yield agent.rpc_address
    finally:
        asyncio.run_coroutine_threadsafe(agent.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _measure(bench: Bench, daemon: DaemonProcess) -> Figures:
    starts = []
    for _ in range(bench.of(9, 1)):
        daemon.end()
        begin = time.monotonic()
        daemon.spawn()
        until(daemon.is_ready, "rosterd to be ready")
        starts.append(time.monotonic() - begin)
    time.sleep(_SETTLE_S)
    span = bench.of(20, 2)
    before = usage(daemon.pid)
    time.sleep(span)
    after = usage(daemon.pid)
    return {
        **spread(starts, 0.5, 0.95),
        "rss_mb": rounded(rss_mb(daemon.pid)),
        "idle_cpu_percent": rounded(100 * (after.own_s - before.own_s) / span),
    }


def _of_size(bench: Bench, members: int) -> Figures:
    directory = bench.folder()
    directory.mkdir()
    addresses = [free_address(WEB_PORT) for _ in range(members)]
    haproxy = HAProxyProcess(directory)
    with WebFarm() as farm, _fake_agent(addresses) as rpc:
        for address in addresses:
            farm.open(address)
        daemon = DaemonProcess(directory, haproxy, rpc, environ={})
        try:
            daemon.start_both()
            return _measure(bench, daemon)
        finally:
            daemon.end()
            haproxy.stop()


def run(bench: Bench, _contender_type: type[Contender]) -> Results:
    """Measure with each number of members."""
    sizes = SIZES if not bench.quick else SIZES[:1]
    return {f"cost_{members}": _of_size(bench, members) for members in sizes}


_NO_DAEMON = "no daemon follows the members here"

SCENARIO = Scenario(
    words=("cost",),
    results=tuple(f"cost_{members}" for members in SIZES),
    run=run,
    without={
        "rosterd_reload": "the same process: what differs is how it acts, and here it does not",
        "handlers": "a process for each event, and none in between",
        "dns": "its DNS server is told by the bench",
        "nginx": _NO_DAEMON,
        "envoy": _NO_DAEMON,
        "static": _NO_DAEMON,
    },
)

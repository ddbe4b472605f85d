"""Logs in one place: nothing is lost while the collector is away, and each line keeps its structure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from functools import partial
from typing import Any

from compose.containers import HOST, Container, ContainerCluster
from compose.haproxy_view import ask
from compose.waiting import WaitedInVainError, ask_until
from tests.e2e.test_containers import traffic, until_served

OUTAGE_S = 60.0
ARRIVED_WITHIN_S = 60.0
PROBE = "/run/node/logs/probe.log"
"""A program's log, written by a test."""

LINES = 7_000
"""Each ten milliseconds one, from before the outage to after it."""

ASKED = re.compile(r'"GET /\?n=(\d+) ')
"""A line of HAProxy's access log, with the number of the request."""

ROTATE = (
    "/usr/sbin/logrotate",
    "--force",
    "--state",
    "/run/node/rotated",
    "/opt/rosterd/compose/collector/logrotate.conf",
)
"""What the collector does once a minute, whatever the size of its files."""


async def collected(cluster: ContainerCluster, name: str = "all.jsonl") -> list[dict[str, Any]]:
    """Return every line of one of the collector's files, which has to be JSON; none where there is no such file yet."""
    reading = ("sh", "-c", '[ ! -e "$0" ] || cat "$0"', f"/var/log/cluster/{name}")
    text = await cluster.run_in(await cluster.only("logs"), *reading)
    return [json.loads(line) for line in text.splitlines()]


async def write_numbered_lines(cluster: ContainerCluster, container: Container, number: int) -> None:
    """Have a program of the container log numbered lines, one each ten milliseconds."""
    loop = f"i=0; while [ $i -lt {number} ]; do echo numbered $i; i=$((i+1)); sleep 0.01; done"
    await cluster.run_in(container, "sh", "-c", f"{loop} >>{PROBE}")


async def test_an_outage_of_the_collector_loses_nothing(cluster: ContainerCluster) -> None:
    """Requests and programs go on meanwhile; in the end each line is there, of the balancer and of a web node."""
    await cluster.up("ha", "logs", "webapp", webapps=2)
    web, _ = await until_served(cluster, 2)
    ha, logs = await cluster.only("ha"), await cluster.only("logs")
    async with traffic(cluster) as load:
        writing = asyncio.gather(*(write_numbered_lines(cluster, node, LINES) for node in (ha, web)))
        await asyncio.sleep(2)
        await cluster.kill(logs)
        await asyncio.sleep(OUTAGE_S)
        await cluster.start(logs)
        await writing

    async def missing() -> list[str]:
        found = await collected(cluster)
        lines = {(line["node"], line["text"]) for line in found if line["program"] == "probe"}
        asked = {match[1] for line in found if (match := ASKED.search(str(line.get("text"))))}
        written = [(node.node, f"numbered {number}") for node in (ha, web) for number in range(LINES)]
        lost = [" ".join(line) for line in written if line not in lines]
        return lost + [f"request {number}" for number in range(len(load.samples)) if str(number) not in asked]

    async def all_there() -> bool:
        return not await missing()

    with contextlib.suppress(WaitedInVainError):
        await ask_until(all_there, ARRIVED_WITHIN_S, "every line to arrive")
    assert await missing() == []
    about = await ask((HOST, cluster.ports.runtime), "show info")
    assert "DroppedLogs: 0" in about.splitlines()


async def test_a_burst_and_a_forwarder_that_is_killed_lose_nothing(cluster: ContainerCluster) -> None:
    """Twenty thousand lines at once, and the node's rsyslog killed with most of them before it."""
    await cluster.up("logs", "webapp", webapps=1)
    (web,) = await cluster.running("webapp")
    burst = "i=0; while [ $i -lt 20000 ]; do echo numbered $i; i=$((i+1)); done"
    # rsyslog notes how far it is once, at the first half kilobyte of a file: what stands before that has to be away.
    await cluster.run_in(web, "sh", "-c", f"head -c 600 /dev/zero | tr '\\0' - >>{PROBE}; echo >>{PROBE}")
    await ask_until(partial(has_probe_of, cluster, web), ARRIVED_WITHIN_S, "the first line")
    await cluster.run_in(web, "sh", "-c", f"({burst}) >>{PROBE}; kill -9 $(cat /run/node/rsyslog.pid)")
    written = {f"numbered {number}" for number in range(20_000)}

    async def missing() -> list[str]:
        return sorted(written - {line["text"] for line in await collected(cluster) if line["program"] == "probe"})

    async def all_there() -> bool:
        return not await missing()

    with contextlib.suppress(WaitedInVainError):
        await ask_until(all_there, ARRIVED_WITHIN_S, "every line to arrive")
    assert await missing() == []


async def has_probe_of(cluster: ContainerCluster, node: Container) -> bool:
    """Whether the collector has a numbered or other line of a node's probe."""
    return any(line["node"] == node.node and line["program"] == "probe" for line in await collected(cluster))


async def test_lines_keep_their_structure(cluster: ContainerCluster) -> None:
    """What a program logs as JSON is JSON at the collector, in the file of its node and in the one with everything."""
    await cluster.up("ha", "logs", "webapp", webapps=1)
    (web,) = await until_served(cluster, 1)
    ha = await cluster.only("ha")

    async def arrived() -> bool:
        found = await collected(cluster)
        events = {(line["node"], line["program"], line["record"]["event"]) for line in found if "record" in line}
        programs = {(line["node"], line["program"]) for line in found}
        return {
            (ha.node, "rosterd", "state.completed"),
            (web.node, "app", "webapp.started"),
        } <= events and {(node.node, "serf") for node in (ha, web)} | {(ha.node, "supervisord")} <= programs

    await ask_until(arrived, ARRIVED_WITHIN_S, "the lines of all programs")
    own = await collected(cluster, f"nodes/{web.node}.jsonl")
    assert {line["node"] for line in own} == {web.node}
    output = (await cluster.output_of(web)).splitlines()
    assert any(json.loads(line)["event"] == "webapp.started" for line in output if line.startswith("{"))


async def test_the_collectors_files_are_rotated_and_no_line_is_lost(cluster: ContainerCluster) -> None:
    """A file that was rotated is whole, and the lines go on in a new one; so do those of each node."""
    await cluster.up("logs", "webapp", webapps=1)
    (web,) = await cluster.running("webapp")
    logs = await cluster.only("logs")
    writing = asyncio.create_task(write_numbered_lines(cluster, web, 1_000))

    async def numbers(*names: str) -> set[int]:
        # A set: RELP sends a line again when a connection ends before its receipt.
        lines = [line for name in names for line in await collected(cluster, name)]
        return {int(line["text"].removeprefix("numbered ")) for line in lines if line["program"] == "probe"}

    async def has_some() -> bool:
        return len(await numbers("all.jsonl")) > 100

    await ask_until(has_some, ARRIVED_WITHIN_S, "the first lines")
    await cluster.run_in(logs, *ROTATE)
    await writing

    async def has_all() -> bool:
        return await numbers("all.jsonl.1", "all.jsonl") == set(range(1_000))

    await ask_until(has_all, ARRIVED_WITHIN_S, "every line, in two files")
    assert await numbers("all.jsonl")
    own = f"nodes/{web.node}.jsonl"
    assert await numbers(f"{own}.1", own) == set(range(1_000))
    # What does it once a minute runs, and has nothing to complain of.
    output = (await cluster.output_of(logs)).splitlines()
    assert not [line for line in output if line.startswith("error:")]

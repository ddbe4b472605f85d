"""One change from the wake-up to traffic: the same id in the log, over HTTP and in the stream, on a real cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.balancer import Balancer


@pytest.fixture(scope="module")
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer that runs, with one web node that stays."""
    with Balancer(tmp_path_factory.mktemp("b")) as made:
        made.start()
        made.wait_served(made.add_web())
        yield made


def told(balancer: Balancer) -> list[dict[str, Any]]:
    """Return the events over HTTP."""
    events: list[dict[str, Any]] = balancer.daemon.get("/v1/events")["events"]
    return events


def test_all_that_is_told_of_a_change_has_one_trace(balancer: Balancer) -> None:
    """From the member that joined to the weight that lets traffic in; another change has another."""
    mark = balancer.daemon.mark()
    first = balancer.add_web()
    balancer.wait_served(first)
    second = balancer.add_web()
    balancer.wait_served(second)
    traces = []
    for node in (first, second):
        joined = balancer.daemon.wait_event("member.joined", mark, member=node.name)
        changes = [
            line
            for line in balancer.daemon.events("servers.changed", mark)
            if any(node.name in command for command in line["commands"])
        ]
        assert len(changes) == 2
        assert {line["trace"] for line in changes} == {joined["trace"]}
        assert all(0 <= line["wake_to_plan_s"] <= line["wake_to_applied_s"] for line in changes)
        traces.append(joined["trace"])
    assert traces[0] != traces[1]


def test_over_http_stands_what_stands_in_the_log(balancer: Balancer) -> None:
    """The same events with the same fields, and an id more."""
    node = balancer.add_web()
    balancer.wait_served(node)
    mine = [event for event in told(balancer) if event.get("member") == node.name]
    logged = balancer.daemon.events("member.joined", 0, member=node.name)
    assert [{key: value for key, value in event.items() if key != "id"} for event in mine] == logged
    assert all(event["id"].rpartition("-")[0] == event["trace"].rpartition(".")[0] for event in mine)


def test_whoever_follows_sees_a_join_within_a_second(balancer: Balancer) -> None:
    """As a browser would: the member, the server that was added, and the weight with its first check."""
    url = f"http://{balancer.settings['admin']['listen']}/v1/events"

    async def follow_a_join() -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        headers = {"Accept": "text/event-stream"}
        async with asyncio.timeout(20), aiohttp.ClientSession() as session, session.get(url, headers=headers) as stream:
            assert (await stream.content.readline()).startswith(b"retry: ")
            adding = asyncio.create_task(asyncio.to_thread(balancer.add_web))
            while sum(event["event"] == "servers.changed" for event in seen) < 2:
                line = await stream.content.readline()
                if line.startswith(b"data: "):
                    seen.append(json.loads(line.removeprefix(b"data: ")))
            await adding
        return seen

    seen = asyncio.run(follow_a_join())
    names = [event["event"] for event in seen]
    assert names.index("member.joined") < names.index("servers.changed")
    changes = [event for event in seen if event["event"] == "servers.changed"]
    assert changes[-1]["wake_to_applied_s"] < 1


def test_the_generations_become_one(balancer: Balancer) -> None:
    """Once the file has followed, what is desired, in the file and running has one digest; also with a drain."""
    node = balancer.add_web()
    balancer.wait_served(node)
    node.agent.set_tags(state="drain")

    def generations() -> list[tuple[str, str]]:
        found = balancer.daemon.status()["generations"]
        return [(each["structure"], each["servers_digest"]) for each in found.values() if each]

    balancer.until(lambda: (balancer.daemon.server(node.name) or {}).get("weight") == 0, "the drain")
    balancer.until(lambda: len(generations()) == 3 and len(set(generations())) == 1, "the generations to be one")
    before = balancer.daemon.status()["generations"]["running"]["age_s"]
    balancer.until(lambda: balancer.daemon.status()["generations"]["running"]["age_s"] > before + 1, "them to age")

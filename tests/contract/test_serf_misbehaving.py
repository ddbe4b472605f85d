"""An agent that lies, hangs up, floods or is huge: the client notices, says so, and starts over."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import msgpack
import pytest
import structlog

from rosterd.errors import SerfError, SerfOutOfStep, SerfUnreachable
from rosterd.model import MemberRecord, Snapshot
from rosterd.serf.client import SerfClient, SerfTiming
from rosterd.serf.endpoints import Seed
from rosterd.serf.seeds import SeedKeeper
from tests.contract.serf_wires import Heard, eventually
from tests.loopback import free_port
from tests.serf_fake import FakeAgent, FakeMember, many_members

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

QUICK = SerfTiming(request_timeout=0.5, stats_interval=0.02, backoff_first=0.02, backoff_longest=0.1)
PATIENT_S = 10.0


@pytest.fixture
async def agent() -> AsyncIterator[FakeAgent]:
    """Give a fake agent that listens and knows itself."""
    agent = FakeAgent()
    agent.members["local"] = FakeMember("local", "127.77.0.1")
    await agent.start()
    yield agent
    await agent.close()


@asynccontextmanager
async def heard_from(agent: FakeAgent, timing: SerfTiming = QUICK) -> AsyncIterator[Heard]:
    """Run a client; one that ends by itself fails the test."""
    heard = Heard()
    rng = random.Random(1)  # noqa: S311  a seeded test
    client = SerfClient(address=agent.rpc_address, auth_key=None, timing=timing, listener=heard, rng=rng)
    task = asyncio.create_task(client.run())
    try:
        yield heard
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("garble", "kind"),
    [
        (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", SerfOutOfStep),
        (lambda _: b"\xc1", SerfOutOfStep),
        (lambda data: data.replace(b"Seq", b"Sea"), SerfOutOfStep),
        (lambda data: data + data, SerfOutOfStep),
        (lambda data: data.replace(b"Members\x91", b"Members\xc0"), SerfOutOfStep),
        (lambda data: data.replace(b"health_score", b"wealth_score"), SerfOutOfStep),
        (lambda data: data[:-1], SerfUnreachable),
        (lambda _: b"", SerfUnreachable),
    ],
    ids=["http", "no-msgpack", "no-seq", "twice", "no-list", "no-score", "short", "silent"],
)
async def test_what_does_not_fit_is_said_and_healed(
    agent: FakeAgent, garble: Callable[[bytes], bytes], kind: type[SerfError]
) -> None:
    """A lying agent is lost with the right error, and reached as soon as it speaks the truth."""
    agent.garble = garble
    async with heard_from(agent) as heard:
        await heard.until(lambda: heard.errors, PATIENT_S)
        assert type(heard.errors[0]) is kind
        assert heard.snapshots == []
        agent.garble = None
        await heard.until(lambda: heard.latest, PATIENT_S)


async def test_a_live_conversation_that_breaks_is_begun_anew(agent: FakeAgent) -> None:
    """The last table stays what was heard; the next comes from a new conversation."""
    async with heard_from(agent) as heard:
        await heard.until(lambda: heard.latest, PATIENT_S)
        agent.garble = lambda data: data + b"\xc1"
        await heard.until(lambda: heard.errors, PATIENT_S)
        agent.garble = None
        await heard.until(lambda: heard.story[-2:] == ["reached", "snapshot"], PATIENT_S)
        assert heard.story[:3] == ["reached", "snapshot", "lost"]


async def test_ten_thousand_members_are_read(agent: FakeAgent) -> None:
    """A table of 2 MB comes in many pieces and as one snapshot, and one change in it is seen."""
    agent.members |= {member.name: member for member in many_members(10_000)}
    async with heard_from(agent, replace(QUICK, request_timeout=PATIENT_S)) as heard:
        await heard.until(lambda: heard.latest and len(heard.latest.records) == 10_001, PATIENT_S)
        agent.put(FakeMember("web7", "10.0.0.7", status="failed"))
        await heard.until(lambda: heard.status("web7") == "failed", PATIENT_S)


def with_empty_maps(reply: bytes) -> bytes:
    """Replace the member list of a reply by 16 MB of lists of empty maps."""
    start, found, _ = reply.partition(b"\x81\xa7Members")
    return start + found + b"\xdc\x00\xff" + (b"\xdc\xff\xff" + b"\x80" * 65_535) * 255 if found else reply


async def test_member_list_of_empty_maps_is_refused_within_little_memory(agent: FakeAgent) -> None:
    """Decoded whole, such a reply takes 1.2 GB, which the process then keeps."""
    async with heard_from(agent, replace(QUICK, request_timeout=60.0)) as heard:
        await heard.until(lambda: heard.latest, PATIENT_S)
        agent.garble = with_empty_maps
        tracemalloc.start()
        try:
            await heard.until(lambda: heard.errors, 6 * PATIENT_S)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        agent.garble = None
        assert type(heard.errors[0]) is SerfOutOfStep
        assert peak < 300 * 1024 * 1024  # what the fake agent holds of its reply included
        await heard.until(lambda: heard.story[-2:] == ["reached", "snapshot"], PATIENT_S)


async def test_missing_memory_ends_the_conversation_only(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table for which there is no memory is a lost agent, with the reason, and the daemon goes on."""
    has_memory = False
    decode = msgpack.unpackb

    def unpackb(data: bytes, **options: object) -> object:
        if not has_memory:
            raise MemoryError
        return decode(data, **options)

    monkeypatch.setattr(msgpack, "unpackb", unpackb)
    async with heard_from(agent) as heard:
        await heard.until(lambda: heard.errors, PATIENT_S)
        assert "no memory" in str(heard.errors[0])
        has_memory = True
        await heard.until(lambda: heard.latest, PATIENT_S)


async def test_a_storm_of_log_lines_costs_few_reads(agent: FakeAgent) -> None:
    """Ten thousand lines are wakes, not work: reads of the table stay far fewer."""
    async with heard_from(agent) as heard:
        await heard.until(lambda: heard.latest, PATIENT_S)
        agent.requests.clear()
        for _ in range(10_000):
            agent.say("[INFO] serf: EventMemberUpdate: local")
        agent.put(FakeMember("last", "127.77.0.9"))
        await heard.until(lambda: heard.record("last"), PATIENT_S)
        assert agent.requests.count("members") < 100


async def test_a_bug_in_the_listener_ends_the_run(agent: FakeAgent) -> None:
    """What a listener raises is a fault of ours: it is not taken for a lost agent."""

    class Buggy(Heard):
        def agent_reached(self) -> None:
            raise LookupError("a bug")

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # asyncio reports it too
    rng = random.Random(1)  # noqa: S311  a seeded test
    heard = Buggy()
    client = SerfClient(address=agent.rpc_address, auth_key=None, timing=QUICK, listener=heard, rng=rng)
    with pytest.raises(LookupError, match="a bug"):
        await asyncio.wait_for(client.run(), PATIENT_S)
    assert heard.errors == []


async def test_cancelling_closes_the_connection(agent: FakeAgent) -> None:
    """A daemon that stops leaves nothing behind at the agent."""
    async with heard_from(agent) as heard:
        await heard.until(lambda: heard.latest, PATIENT_S)
        assert agent.connections == 1
    await agent.until_deserted()
    assert agent.connections == 0


# --- seeds ------------------------------------------------------------------------------------------------------


def keeper_of(agent: FakeAgent, seed: Seed, latest: Callable[[], Snapshot | None]) -> SeedKeeper:
    """Return a keeper of one seed that looks all the time."""
    return SeedKeeper(
        address=agent.rpc_address,
        auth_key=None,
        seeds=(seed,),
        interval=0.001,
        join_timeout=PATIENT_S,
        latest=latest,
    )


def names_of(logs: list[structlog.typing.EventDict], seed: str) -> list[str]:
    """Return the log events of a seed."""
    return [entry["event"] for entry in logs if entry["seed"] == seed]


async def test_what_becomes_of_a_seed_is_logged_when_it_changes(agent: FakeAgent) -> None:
    """A dead seed is one line, however often it is tried; that it is joined at last is another."""
    table = Snapshot((), 0)
    seed = Seed("127.77.0.3", 7946)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(keeper_of(agent, seed, lambda: table).run())
        await eventually(lambda: agent.requests.count("join") >= 3)
        agent.joinable["127.77.0.3:7946"] = FakeMember("web9", "127.77.0.3")
        await eventually(lambda: "web9" in agent.members)
        tried = agent.requests.count("join")
        await eventually(lambda: agent.requests.count("join") >= tried + 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert names_of(logs, "127.77.0.3:7946") == ["seed.refused", "seed.joined"]


async def test_a_seed_that_is_in_the_table_is_left_alone(agent: FakeAgent) -> None:
    """No errand is run for a member; one that is gone from the table is joined again."""
    present = Snapshot((MemberRecord(b"web9", bytes((127, 77, 0, 3)), 7946, {}, b"alive"),), 0)
    tables = [None, present, present, present]
    looked = 0

    def latest() -> Snapshot | None:
        nonlocal looked
        looked += 1
        return tables[min(looked, len(tables)) - 1]

    task = asyncio.create_task(keeper_of(agent, Seed("127.77.0.3", 7946), latest).run())
    await eventually(lambda: looked > 20)
    assert agent.requests == []
    tables.append(Snapshot((), 0))
    await eventually(lambda: "join" in agent.requests)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_name_that_does_not_resolve_is_logged_once(agent: FakeAgent) -> None:
    """A label that no resolver takes is told once, and looked up again all the same."""
    looked = 0

    def latest() -> Snapshot:
        nonlocal looked
        looked += 1
        return Snapshot((), 0)

    seed = Seed("a" * 64, free_port())
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(keeper_of(agent, seed, latest).run())
        await eventually(lambda: looked > 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert names_of(logs, str(seed)) == ["seed.unresolved"]


async def test_without_seeds_there_is_nothing_to_keep(agent: FakeAgent) -> None:
    """The keeper ends at once, so that nothing wakes for nothing."""
    keeper = SeedKeeper(
        address=agent.rpc_address, auth_key=None, seeds=(), interval=1.0, join_timeout=1.0, latest=lambda: None
    )
    await asyncio.wait_for(keeper.run(), PATIENT_S)
    assert agent.requests == []

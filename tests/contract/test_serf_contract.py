"""What rosterd relies on in an agent: the same tests on a real agent and on the fake that other tests use."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from rosterd.errors import SerfAuthRefused, SerfRefused, SerfUnreachable
from rosterd.model import MemberRecord, Snapshot
from rosterd.serf.client import SerfClient, SerfTiming
from rosterd.serf.endpoints import Seed
from rosterd.serf.exchange import TableExchange
from rosterd.serf.join import join
from rosterd.serf.seeds import SeedKeeper
from tests.contract.serf_wires import FakeWire, Heard, RealWire, Wire
from tests.loopback import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUICK = SerfTiming(request_timeout=0.5, backoff_first=0.05, backoff_longest=0.2)
SOON_S = 1.0
"""What a balancer may be late; far below the second that the agent's own events come late."""

PATIENT_S = 10.0


@pytest.fixture(params=["fake", "real"])
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    """Give a local agent that is not started yet."""
    wire: Wire = FakeWire() if request.param == "fake" else RealWire(tmp_path)
    yield wire
    await wire.close()


def client_of(wire: Wire, heard: Heard, key: str | None = None) -> SerfClient:
    """Return a client with short waits."""
    rng = random.Random(1)  # noqa: S311  a seeded test
    return SerfClient(address=wire.rpc_address, auth_key=key, timing=QUICK, listener=heard, rng=rng)


@asynccontextmanager
async def listening(wire: Wire, key: str | None = None) -> AsyncIterator[Heard]:
    """Run a client from its first snapshot on; a client that ends by itself fails the test."""
    heard = Heard()
    task = asyncio.create_task(client_of(wire, heard, key).run())
    try:
        await heard.until(lambda: heard.latest, PATIENT_S)
        yield heard
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_first_thing_heard_is_the_agent_and_then_its_table(wire: Wire) -> None:
    """A conversation becomes live with the table that made it so."""
    await wire.start()
    async with listening(wire) as heard:
        assert heard.story == ["reached", "snapshot"]
        assert heard.status("local") == "alive"
        assert heard.snapshots[0].health_score == 0
        assert heard.snapshots[0].encrypted is False


async def test_a_join_is_seen_within_a_second(wire: Wire) -> None:
    """A new member is in a snapshot before the agent's own event would have come, tags and all."""
    await wire.start()
    async with listening(wire) as heard:
        await wire.add("web1", {"role": "backend", "port": "3001"})
        row = await heard.until(lambda: heard.record("web1"), SOON_S)
        assert row.tags == {b"role": b"backend", b"port": b"3001"}
        assert row.port == 7946


async def test_a_leave_is_seen_as_leaving_and_then_as_left(wire: Wire) -> None:
    """`leaving` shows at once, and `left` follows. Gossip passes a goodbye over now and then: one of three is heard."""
    await wire.start()
    async with listening(wire) as heard:
        for name in ("web1", "web2", "web3"):
            if await is_heard_leaving(wire, heard, name):
                return
    pytest.fail("none of three goodbyes was heard")


async def is_heard_leaving(wire: Wire, heard: Heard, name: str) -> bool:
    """Have a node come and leave; whether its goodbye is heard. One that is has to be followed by its end."""
    await wire.add(name, {})
    await heard.until(lambda: heard.status(name) == "alive", PATIENT_S)
    await wire.leave(name)
    try:
        await heard.until(lambda: heard.status(name) == "leaving", SOON_S)
    except TimeoutError:
        return False
    await heard.until(lambda: heard.status(name) == "left", PATIENT_S)
    return True


async def test_a_changed_tag_is_seen_within_a_second(wire: Wire) -> None:
    """No counter shows a change of tags: the log line does."""
    await wire.start()
    async with listening(wire) as heard:
        await wire.set_tags({"weight": "10"})
        await heard.until(lambda: (row := heard.record("local")) and row.tags == {b"weight": b"10"}, SOON_S)


async def test_a_hostile_name_and_tag_arrive_as_bytes(wire: Wire) -> None:
    """Newlines and NUL are passed on for the parser to judge."""
    await wire.start()
    name, tag = "evil\n  server s9 127.0.9.9:80\x00", "backend\r\n"
    async with listening(wire) as heard:
        await wire.add(name, {"role": tag})
        row = await heard.until(lambda: heard.record(name), PATIENT_S)
        assert row.tags == {b"role": tag.encode()}


async def test_a_frozen_agent_is_lost_by_its_deadline_and_reached_again(wire: Wire) -> None:
    """An agent that accepts and never answers is given up after the time-out, and found when it goes on."""
    await wire.start()
    async with listening(wire) as heard:
        wire.pause()
        await heard.until(lambda: heard.errors, QUICK.request_timeout + SOON_S)
        assert isinstance(heard.errors[0], SerfUnreachable)
        assert "no answer to `" in str(heard.errors[0])
        wire.resume()
        await heard.until(lambda: heard.story[-2:] == ["reached", "snapshot"], PATIENT_S)


async def test_a_killed_agent_is_lost_and_reached_again_after_its_restart(wire: Wire) -> None:
    """The client outlives its agent: it says so, tries on, and starts over with a whole table."""
    await wire.start()
    async with listening(wire) as heard:
        await wire.kill()
        await heard.until(lambda: len(heard.errors) >= 2, PATIENT_S)
        assert all(isinstance(error, SerfUnreachable) for error in heard.errors)
        await wire.start()
        await heard.until(lambda: heard.story[-2:] == ["reached", "snapshot"], PATIENT_S)
        assert heard.story.count("reached") == 2


async def test_the_right_key_is_let_in(wire: Wire) -> None:
    """With the agent's key all is as without."""
    await wire.start(auth_key="right")
    async with listening(wire, key="right") as heard:
        assert heard.status("local") == "alive"


@pytest.mark.parametrize(
    ("wanted", "given", "told"),
    [
        ("right", "wrong", r"auth key \(serf\.auth_key, serf\.auth_key_file\) was refused"),
        ("right", None, "wanted; set serf.auth_key_file"),
        (None, "any", r"auth key \(serf\.auth_key, serf\.auth_key_file\) was refused"),
    ],
)
async def test_a_key_that_does_not_fit_is_fatal_at_the_start(
    wire: Wire, wanted: str | None, given: str | None, told: str
) -> None:
    """Wrong, absent or needless: the settings must change, so trying again is no use. The text names the agent."""
    await wire.start(auth_key=wanted)
    heard = Heard()
    with pytest.raises(SerfAuthRefused, match=told) as refused:
        await asyncio.wait_for(client_of(wire, heard, given).run(), PATIENT_S)
    assert wire.rpc_address[0] in str(refused.value)
    assert heard.story == []


async def test_a_key_that_no_longer_fits_is_a_loss_like_any_other(wire: Wire) -> None:
    """An agent that comes back with another key for a while must not end a running daemon."""
    await wire.start(auth_key="old")
    async with listening(wire, key="old") as heard:
        await wire.kill()
        await wire.start(auth_key="new")
        await heard.until(lambda: any(isinstance(error, SerfAuthRefused) for error in heard.errors), PATIENT_S)
        await wire.kill()
        await wire.start(auth_key="old")
        await heard.until(lambda: heard.story[-2:] == ["reached", "snapshot"], PATIENT_S)


async def test_an_agent_that_is_not_there_yet_is_waited_for(wire: Wire) -> None:
    """The daemon may start before its agent."""
    await wire.start()
    await wire.kill()
    heard = Heard()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client_of(wire, heard).run())
        await heard.until(lambda: heard.errors, PATIENT_S)
        assert "Connection refused" in str(heard.errors[0])
        await wire.start()
        await heard.until(lambda: heard.latest, PATIENT_S)
        task.cancel()


async def test_a_join_brings_in_a_stranger(wire: Wire) -> None:
    """`join` says how many it reached, and the stranger is in the next table."""
    await wire.start(auth_key="k")
    host, port = await wire.stranger("web9")
    async with listening(wire, key="k") as heard:
        assert await join(wire.rpc_address, "k", f"{host}:{port}", PATIENT_S) == 1
        await heard.until(lambda: heard.status("web9") == "alive", SOON_S)


async def test_a_join_with_nobody_is_refused_in_the_agents_words(wire: Wire) -> None:
    """A dead seed is an error that says what was tried."""
    await wire.start()
    with pytest.raises(SerfRefused, match="Failed to join"):
        await join(wire.rpc_address, None, f"127.0.0.1:{free_port()}", PATIENT_S)


async def test_a_join_with_the_wrong_key_is_refused(wire: Wire) -> None:
    """The errand of a join stands at the same gate."""
    await wire.start(auth_key="right")
    for key in ("wrong", None):
        with pytest.raises(SerfAuthRefused):
            await join(wire.rpc_address, key, "127.0.0.1:1", PATIENT_S)


async def test_a_join_with_a_frozen_agent_ends(wire: Wire) -> None:
    """The whole errand has one deadline."""
    await wire.start()
    wire.pause()
    with pytest.raises(SerfUnreachable, match=r"within 0\.2 s"):
        await join(wire.rpc_address, None, "127.0.0.1:1", 0.2)


async def test_missing_seeds_are_joined_and_dead_ones_do_not_hold_them_up(wire: Wire) -> None:
    """Two halves that do not know of each other become one, although other seeds are dead or no names at all."""
    await wire.start()
    host, port = await wire.stranger("web9")
    dead = tuple(Seed("127.0.0.1", free_port()) for _ in range(5))
    async with listening(wire) as heard, asyncio.TaskGroup() as group:
        keeper = SeedKeeper(
            address=wire.rpc_address,
            auth_key=None,
            seeds=(*dead, Seed("no-such-host.invalid", 7946), Seed(host, port)),
            interval=0.2,
            join_timeout=5.0,
            latest=lambda: heard.latest,
        )
        task = group.create_task(keeper.run())
        row = await heard.until(lambda: heard.record("web9"), PATIENT_S)
        assert ip_address(row.address) == ip_address(host)
        task.cancel()


async def test_comparing_tables_with_a_member_brings_in_whom_it_knows(wire: Wire) -> None:
    """What gossip lost comes over TCP, although other members of the table do not answer."""
    await wire.start()
    host, port = await wire.stranger("web9")
    alive = ((ip_address(host), port), *((ip_address("127.0.0.1"), free_port()) for _ in range(3)))
    table = tuple(MemberRecord(b"n%d" % n, at.packed, port, {}, b"alive") for n, (at, port) in enumerate(alive))
    async with listening(wire) as heard, asyncio.TaskGroup() as group:
        exchange = TableExchange(
            address=wire.rpc_address,
            auth_key=None,
            interval=0.02,
            timeout=PATIENT_S,
            latest=lambda: Snapshot(table, 0),
            rng=random.Random(1),  # noqa: S311  a seeded test
        )
        task = group.create_task(exchange.run())
        await heard.until(lambda: heard.status("web9") == "alive", PATIENT_S)
        task.cancel()

"""Who asks HAProxy for traffic figures, how often, and what a HAProxy costs that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from rosterd.admin.on_demand import KEPT_S, OnDemand
from rosterd.admin.traffic import read_traffic
from rosterd.proxy.socket import HAProxySocket
from rosterd.proxy.traffic import Reading

HEAD = "# pxname,svname,qcur,scur,econ,eresp,lastchg,rate,check_status\n"
ANSWER = f"{HEAD}nodes,web-1,0,7,0,0,1,2,L7OK\n\n"


@dataclass
class Proxy:
    """The socket of a HAProxy that counts its questions; it answers while `answers` is set."""

    path: Path
    answer: str = ANSWER
    questions: list[str] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    now: float = 100.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question, or wait."""
        self.questions.append((await reader.read()).decode().strip())
        await self.answers.wait()
        writer.write(self.answer.encode())
        writer.close()

    def reader(self, deadline_s: float = 5.0) -> OnDemand[Reading]:
        """Return a reader that asks here, by this clock."""
        socket = HAProxySocket(self.path, deadline_s)
        return OnDemand(lambda: read_traffic(socket, lambda: self.now), lambda: self.now)


@pytest_asyncio.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    """A HAProxy that answers."""
    proxy = Proxy(tmp_path / "haproxy.sock")
    proxy.answers.set()
    async with await asyncio.start_unix_server(proxy.serve, proxy.path):
        yield proxy


async def test_it_asks_when_it_is_asked(proxy: Proxy) -> None:
    """Not before: a daemon at which nobody looks asks nothing."""
    reader = proxy.reader()
    assert proxy.questions == []
    reading = await reader.latest()
    assert proxy.questions == ["show stat -1 6 -1"]
    assert (reading.at, reading.error) == (100.0, "")
    assert (found := reading.of_server("nodes", "web-1")) is not None
    assert found.sessions == 7


async def test_many_share_one_question(proxy: Proxy) -> None:
    """Those who ask at the same time, and those who ask within a second; then it is asked anew."""
    reader = proxy.reader()
    proxy.answers.clear()
    askers = [asyncio.create_task(reader.latest()) for _ in range(5)]
    await asyncio.sleep(0)
    proxy.answers.set()
    assert len({id(reading) for reading in await asyncio.gather(*askers)}) == 1
    proxy.now += KEPT_S - 0.001
    await reader.latest()
    assert len(proxy.questions) == 1
    proxy.now += 0.001
    assert (await reader.latest()).at == proxy.now
    assert len(proxy.questions) == 2


async def test_who_goes_away_takes_nothing_from_the_others(proxy: Proxy) -> None:
    """A browser that is closed meanwhile does not end the question."""
    reader = proxy.reader()
    proxy.answers.clear()
    first, second = asyncio.create_task(reader.latest()), asyncio.create_task(reader.latest())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    proxy.answers.set()
    assert (await second).error == ""
    assert len(proxy.questions) == 1


async def test_one_that_hangs_costs_its_deadline_once(proxy: Proxy) -> None:
    """Then it is known that nothing is known, and for a second nobody waits again."""
    reader = proxy.reader(deadline_s=0.05)
    proxy.answers.clear()
    reading = await reader.latest()
    assert reading.traffic is None
    assert "did not answer 'show stat -1 6 -1' within 0.05 s" in reading.error
    assert await reader.latest() is reading
    proxy.answers.set()
    proxy.now += KEPT_S
    assert (await reader.latest()).error == ""


@pytest.mark.parametrize("answer", ["Unknown command\n\n", ANSWER[:-1], f"{HEAD}nodes,web-1,0,7,0,0,1,2\n\n"])
async def test_one_that_talks_nonsense_is_known_by_nothing(proxy: Proxy, answer: str) -> None:
    """Half an answer is none."""
    proxy.answer = answer
    reading = await proxy.reader().latest()
    assert reading.traffic is None
    assert "cannot be understood" in reading.error or "cut short" in reading.error


async def test_none_at_all(tmp_path: Path) -> None:
    """As before HAProxy's first start."""
    reading = await read_traffic(HAProxySocket(tmp_path / "absent.sock", 1.0), lambda: 1.0)
    assert (reading.at, reading.traffic) == (1.0, None)
    assert "cannot be reached: No such file or directory" in reading.error


async def test_the_loop_turns_while_a_long_answer_is_read(proxy: Proxy) -> None:
    """Ten thousand servers are read in slices, and what else is due gets its turn between them."""
    proxy.answer = HEAD + "".join(f"nodes,web-{number},0,1,0,0,1,2,L7OK\n" for number in range(10_000)) + "\n"
    asked = asyncio.create_task(proxy.reader().latest())
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10_000 / 1_000
    reading = asked.result()
    assert reading.traffic is not None
    assert len(reading.traffic.servers) == 10_000


async def test_closing_ends_a_question(proxy: Proxy) -> None:
    """The daemon does not wait for HAProxy when it stops."""
    reader = proxy.reader(deadline_s=60.0)
    proxy.answers.clear()
    asker = asyncio.create_task(reader.latest())
    await asyncio.sleep(0)
    await reader.close()
    assert isinstance((await asyncio.gather(asker, return_exceptions=True))[0], asyncio.CancelledError)
    proxy.answers.set()
    await reader.close()

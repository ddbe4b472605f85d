"""What rosterd relies on when it speaks with HAProxy: the same tests on the fake and on a real one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rosterd.errors import ProxyError, ProxyGarbled, ProxyUnreachable, ReloadFailed
from rosterd.proxy import socket as proxy_socket
from rosterd.proxy.reload import Master
from rosterd.proxy.socket import HAProxySocket, observe
from tests.haproxy_fake import HAProxyFake, Mood
from tests.haproxy_process import BINARY, HAProxyProcess, running_haproxy
from tests.versions import first_line, require_haproxy

Subject = HAProxyFake | HAProxyProcess


@pytest.fixture(params=["fake 2.6", "fake 3.0", "fake 3.2", "real"])
async def haproxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """A HAProxy that runs the structure `first`, without servers."""
    kind, _, version = str(request.param).partition(" ")
    if kind == "real":
        with running_haproxy(tmp_path) as process:
            yield process
        return
    fake = HAProxyFake(tmp_path, version)
    async for subject in _started(fake):
        yield subject


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[HAProxyFake]:
    """A fake that can be told to misbehave."""
    async for subject in _started(HAProxyFake(tmp_path, "3.0")):
        yield subject


async def _started(fake: HAProxyFake) -> AsyncIterator[HAProxyFake]:
    fake.config.write_text(fake.text("first"), encoding="utf-8")
    await fake.start()
    yield fake
    await fake.stop()


def master_of(haproxy: Subject, reload_deadline_s: float = 10.0) -> Master:
    """Return the master of `haproxy`, asked with patience."""
    return Master(HAProxySocket(haproxy.master_socket, deadline_s=5.0), reload_deadline_s)


def runtime_of(haproxy: Subject, deadline_s: float = 5.0) -> HAProxySocket:
    """Return the runtime socket of `haproxy`."""
    return HAProxySocket(haproxy.runtime_socket, deadline_s)


def test_program_that_runs_is_the_one_that_is_found(tmp_path: Path) -> None:
    """HAProxy says of itself what `haproxy -v` says, and it is the version that the tests are meant to run on."""
    with running_haproxy(tmp_path) as process:
        info = process.ask("show info")
    version = first_line(BINARY, "-v").split()[2]
    assert f"\nVersion: {version}\n" in info
    require_haproxy(info)


async def test_both_sockets_speak_of_the_same_worker(haproxy: Subject) -> None:
    """What runs is told with the structure of the file and the pid that the master lists."""
    running = await observe(runtime_of(haproxy))
    processes = await master_of(haproxy).processes()
    assert running.structure == "first"
    assert running.backends == {}
    assert [worker.pid for worker in processes.workers] == [running.pid]
    assert processes.old_workers == ()


async def test_the_master_hands_on_what_the_worker_says(haproxy: Subject) -> None:
    """The same as the worker's own socket, which may be gone."""
    running = await observe(runtime_of(haproxy))
    haproxy.runtime_socket.unlink()
    assert await master_of(haproxy).observe() == running


async def test_a_good_reload_is_proven_by_its_new_worker(haproxy: Subject) -> None:
    """The proof names a worker that was not there before, and the runtime socket answers from it."""
    master = master_of(haproxy)
    before = await master.processes()
    haproxy.config.write_text(haproxy.text("second"), encoding="utf-8")
    proof = await master.reload(before)
    running = await observe(runtime_of(haproxy))
    assert proof.worker_pid != before.workers[0].pid
    assert (running.pid, running.structure) == (proof.worker_pid, "second")
    assert (await master.processes()).reloads == before.reloads + 1


async def test_a_reload_that_fails_is_told_and_the_old_worker_stays(haproxy: Subject) -> None:
    """Nothing else runs than before, and a good file afterwards loads again."""
    master = master_of(haproxy)
    before = await master.processes()
    haproxy.config.write_text(haproxy.text("second", "bogus"), encoding="utf-8")
    with pytest.raises(ReloadFailed):
        await master.reload(before)
    after = await master.processes()
    assert after.failed == 1
    assert [worker.pid for worker in after.workers] == [worker.pid for worker in before.workers]
    assert (await observe(runtime_of(haproxy))).structure == "first"

    haproxy.config.write_text(haproxy.text("third"), encoding="utf-8")
    await master.reload(after)
    assert (await observe(runtime_of(haproxy))).structure == "third"


async def test_many_reloads_in_a_row_are_each_proven(haproxy: Subject) -> None:
    """The proof of one is never taken for that of the next."""
    master = master_of(haproxy)
    pids = set()
    for number in range(5):
        haproxy.config.write_text(haproxy.text(f"number{number}"), encoding="utf-8")
        pids.add((await master.reload(await master.processes())).worker_pid)
        assert (await observe(runtime_of(haproxy))).structure == f"number{number}"
    assert len(pids) == 5


async def test_a_haproxy_that_is_gone_is_unreachable(haproxy: Subject) -> None:
    """Both sockets are named in the error."""
    await haproxy.stop() if isinstance(haproxy, HAProxyFake) else haproxy.stop()
    for question in (master_of(haproxy).processes, master_of(haproxy).observe):
        with pytest.raises(ProxyUnreachable, match=r"master\.sock"):
            await question()
    with pytest.raises(ProxyUnreachable, match=r"run\.sock"):
        await observe(runtime_of(haproxy))


# --- what a real one does only when it is ill -------------------------------------------------------------------


async def test_silence_ends_at_the_deadline(fake: HAProxyFake) -> None:
    """The error names the socket, the question and the deadline."""
    fake.mood = Mood.SILENT
    started = time.monotonic()
    with pytest.raises(ProxyUnreachable, match=r"run\.sock did not answer 'show info.*' within 0.1 s"):
        await observe(runtime_of(fake, deadline_s=0.1))
    assert time.monotonic() - started < 2


async def test_an_endless_answer_is_cut(fake: HAProxyFake) -> None:
    """Memory is bounded: the reader gives up."""
    fake.mood = Mood.ENDLESS
    with pytest.raises(ProxyUnreachable, match=f"more than {proxy_socket.LONGEST_ANSWER} bytes"):
        await observe(runtime_of(fake, deadline_s=30.0))


@pytest.mark.parametrize("mood", [Mood.CUT_SHORT, Mood.GARBLED])
async def test_half_an_answer_or_another_one_is_garbled(fake: HAProxyFake, mood: Mood) -> None:
    """Neither is taken for the truth."""
    fake.mood = mood
    with pytest.raises(ProxyGarbled):
        await observe(runtime_of(fake))
    with pytest.raises(ProxyGarbled):
        await master_of(fake).processes()


async def test_a_reload_without_proof_fails_at_the_deadline(fake: HAProxyFake) -> None:
    """A master that accepts the command and does nothing is found out."""
    master = master_of(fake, reload_deadline_s=0.2)
    before = await master.processes()
    fake.mood = Mood.DEAF_TO_RELOAD
    with pytest.raises(ReloadFailed, match=r"did not prove a reload within 0.2 s"):
        await master.reload(before)


@pytest.mark.parametrize("mood", [Mood.SILENT, Mood.CUT_SHORT, Mood.GARBLED])
async def test_a_reload_under_an_ill_master_fails(fake: HAProxyFake, mood: Mood) -> None:
    """Whatever it says or does not say, no reload is taken as done."""
    master = master_of(fake, reload_deadline_s=0.3)
    before = await master.processes()
    fake.mood = mood
    with pytest.raises((ReloadFailed, ProxyGarbled)) as caught:
        await master.reload(before)
    assert isinstance(caught.value, ProxyError)


async def test_a_path_that_is_no_socket_is_unreachable(tmp_path: Path) -> None:
    """A plain file, a missing one and a path that is too long for a socket are told alike, by path."""
    (tmp_path / "plain").touch()
    for name in ("plain", "missing", "x" * 200):
        with pytest.raises(ProxyUnreachable, match=name):
            await HAProxySocket(tmp_path / name, deadline_s=1.0).ask("show info")

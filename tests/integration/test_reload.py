"""A text on its way into a real HAProxy: what is proven and put back, while HAProxy serves through all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosterd.errors import (
    ConfigFileError,
    ConfigRefused,
    ProxyBinaryError,
    ProxyDied,
    ProxyUnreachable,
    ReloadFailed,
    ReloadPostponed,
    StartRefused,
)
from rosterd.proxy.apply import Applier, Checker
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.reload import Master, check
from rosterd.proxy.socket import HAProxySocket, observe
from tests.frozen import freeze
from tests.haproxy_process import BINARY, HAProxyProcess, running_haproxy
from tests.loopback import free_address

DEADLINE_S = 10.0
PAGE = "http-request return status 200 content-type text/plain string"


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[HAProxyProcess]:
    """A HAProxy whose every answer is `first`."""
    with running_haproxy(tmp_path, f"{PAGE} first") as process:
        yield process


@pytest.fixture
def file(haproxy: HAProxyProcess, tmp_path: Path) -> ConfigFile:
    """The file that HAProxy starts from."""
    (tmp_path / "state").mkdir()
    return ConfigFile(haproxy.config, tmp_path / "state")


@pytest.fixture
def applier(haproxy: HAProxyProcess, file: ConfigFile) -> Applier:
    """What brings a text into HAProxy."""
    return applier_of(haproxy, file)


def applier_of(haproxy: HAProxyProcess, file: ConfigFile, binary: str = BINARY) -> Applier:
    """Return an applier that checks with `binary`."""
    master = Master(HAProxySocket(haproxy.master_socket, deadline_s=5.0), DEADLINE_S)
    return Applier(file, Checker(binary, deadline_s=10.0), master, time.monotonic)


def page(haproxy: HAProxyProcess) -> str:
    """Return what a client gets, on a new connection; HAProxy answers within a second or so."""
    with socket.create_connection((haproxy.address, haproxy.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer.decode().rpartition("\r\n\r\n")[2]


async def structure(haproxy: HAProxyProcess) -> str:
    """Return the structure that HAProxy runs."""
    return (await observe(HAProxySocket(haproxy.runtime_socket, deadline_s=5.0))).structure


def only_the_file_is_there(haproxy: HAProxyProcess) -> bool:
    """Say whether no candidate was left beside the file."""
    return [path.name for path in haproxy.config.parent.glob("*haproxy.cfg*")] == [haproxy.config.name]


async def test_a_good_text_is_served_and_proven(haproxy: HAProxyProcess, file: ConfigFile, applier: Applier) -> None:
    """The file, the last good copy, what HAProxy runs and what clients get are all the new text."""
    text = haproxy.text("second", f"{PAGE} second")
    applied = await applier.reload(text, 99)
    assert await structure(haproxy) == "second"
    assert page(haproxy) == "second"
    assert file.read() == file.read_good() == text
    assert applied.proof.worker_pid == (await observe(HAProxySocket(haproxy.runtime_socket, 5.0))).pid
    assert min(applied.check_s, applied.install_s, applied.reload_s) > 0
    assert only_the_file_is_there(haproxy)


async def test_a_refused_text_never_becomes_the_file(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """The error is HAProxy's own message with the file's own name and line; HAProxy serves as before."""
    before = file.read()
    with pytest.raises(ConfigRefused) as refused:
        await applier.reload(haproxy.text("second", "bogus line"), 99)
    line = haproxy.text("second").count("\n") + 1
    expected = f"parsing [{haproxy.config}:{line}] : unknown keyword 'bogus' in 'backend' section"
    assert str(refused.value) == expected
    assert file.read() == before
    assert page(haproxy) == "first"
    assert haproxy.pid == (await applier_master(haproxy).processes()).master_pid
    assert (await applier_master(haproxy).processes()).reloads == 0
    assert only_the_file_is_there(haproxy)


async def test_a_text_without_a_last_newline_is_refused(haproxy: HAProxyProcess, applier: Applier) -> None:
    """A text that was cut short does not pass."""
    with pytest.raises(ConfigRefused, match="Missing LF on last line"):
        await applier.reload(haproxy.text("second").rstrip("\n"), 99)


async def test_a_reload_that_fails_puts_the_last_good_text_back(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """`-c` does not see what cannot be bound. HAProxy keeps its worker, and would restart from the good file."""
    good = haproxy.text("second", f"{PAGE} second")
    await applier.reload(good, 99)
    with pytest.raises(ReloadFailed, match="cannot bind UNIX socket"):
        await applier.reload(haproxy.text("third", f"{PAGE} third", "frontend more", unbindable(haproxy)), 99)
    assert file.read() == file.read_good() == good
    assert await structure(haproxy) == "second"
    assert page(haproxy) == "second"
    await applier.reload(haproxy.text("fourth", f"{PAGE} fourth"), 99)
    assert page(haproxy) == "fourth"
    assert only_the_file_is_there(haproxy)


async def test_a_text_that_haproxy_dies_of_ends_the_wait_at_once(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """Up to 3.0 the master ends with its new worker; the last good file is back long before the deadline."""
    good = haproxy.text("second", f"{PAGE} second")
    await applier.reload(good, 99)
    started = time.monotonic()
    with pytest.raises(ReloadFailed) as failed:
        await applier.reload(deadly(haproxy), 99)
    assert time.monotonic() - started < DEADLINE_S / 2
    assert "Cannot chroot(/nonexistent)" in str(failed.value)
    assert file.read() == file.read_good() == good
    assert isinstance(failed.value, ProxyDied if haproxy.has_ended() else StartRefused)
    if haproxy.has_ended():
        haproxy.start()
    assert await structure(haproxy) == "second"
    assert page(haproxy) == "second"


async def test_a_stopped_worker_does_not_outlive_the_reload_that_haproxy_dies_of(
    haproxy: HAProxyProcess, applier: Applier
) -> None:
    """Up to 3.0 the master waits for it for ever, while it keeps its listeners and answers no client.

    Newer masters survive, and the old worker serves on once it is continued.
    """
    survives = haproxy.version > (3, 0)
    await applier.reload(haproxy.text("second", f"{PAGE} second"), 99)
    (worker,) = (await applier_master(haproxy).processes()).workers
    freeze(worker.pid)
    try:
        with pytest.raises(ReloadFailed):
            await applier.reload(deadly(haproxy), 99)
        if not survives:
            await until(lambda: haproxy.has_ended() or not is_stopped(worker.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGCONT)
    if survives:
        assert not haproxy.has_ended()
        assert page(haproxy) == "second"


async def test_program_sections_are_checked_as_they_are_started(haproxy: HAProxyProcess, applier: Applier) -> None:
    """They are valid in master-worker mode alone, have to be allowed from 3.1 on, and are gone since 3.3."""
    text = haproxy.text("second", f"{PAGE} second", "program sleeper", "command /bin/sleep 60")
    if (3, 1) <= haproxy.version < (3, 3):
        with pytest.raises(ConfigRefused, match="'program' section is deprecated"):
            await applier.reload(text, 99)
        text = text.replace("global\n", "global\n    expose-deprecated-directives\n", 1)
    if haproxy.version < (3, 3):
        await applier.reload(text, 99)
        assert await structure(haproxy) == "second"
    else:
        with pytest.raises(ConfigRefused, match="unknown keyword 'program'"):
            await applier.reload(text, 99)


async def test_reason_of_a_failed_reload_is_found_where_the_supervisor_keeps_it(
    haproxy: HAProxyProcess, file: ConfigFile, tmp_path: Path
) -> None:
    """HAProxy 2.6 answers none; a log without the reason is named at least."""
    elsewhere = tmp_path / "supervisor.log"
    elsewhere.write_text("[ALERT]    (7) : an older one\n", encoding="utf-8")
    master = Master(HAProxySocket(haproxy.master_socket, deadline_s=5.0), DEADLINE_S, elsewhere)
    applier = Applier(file, Checker(BINARY, deadline_s=10.0), master, time.monotonic)
    with pytest.raises(ReloadFailed) as failed:
        await applier.reload(haproxy.text("third", "frontend more", unbindable(haproxy)), 99)
    if haproxy.version < (2, 7):
        assert str(failed.value) == f"HAProxy could not load the file and gave no reason: it is in {elsewhere}"
    else:
        assert "cannot bind UNIX socket" in str(failed.value)


async def test_relative_files_are_found_where_haproxy_was_started(haproxy: HAProxyProcess, tmp_path: Path) -> None:
    """A check that is started elsewhere would refuse what HAProxy takes."""
    (tmp_path / "page.http").write_text("HTTP/1.0 503 Away\r\n\r\n", encoding="utf-8")
    path = tmp_path / "candidate.cfg"
    path.write_text(haproxy.text("second", "errorfile 503 page.http"), encoding="utf-8")
    with pytest.raises(ConfigRefused, match=r"page\.http"):
        await check(BINARY, path, deadline_s=10.0, directory=tmp_path.parent)
    await check(BINARY, path, deadline_s=10.0, directory=tmp_path)


async def test_a_socket_that_is_gone_is_made_anew(haproxy: HAProxyProcess, file: ConfigFile, applier: Applier) -> None:
    """By way of a worker that listens beside its place: a new one takes over what the old one holds, gone or not."""
    good = haproxy.text("second", f"{PAGE} second")
    haproxy.runtime_socket.unlink()
    await applier.reload_by(good.replace("run.sock", "run.sock.aside"), good, 99)
    assert await structure(haproxy) == "second"
    assert file.read() == file.read_good() == good


async def test_a_way_that_ends_in_the_middle_leaves_no_file_of_its_own(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """The text is refused after HAProxy has been reloaded once: the file is the last good one."""
    good = haproxy.text("second", f"{PAGE} second")
    await applier.reload(good, 99)
    haproxy.runtime_socket.unlink()
    with pytest.raises(ConfigRefused):
        await applier.reload_by(good.replace("run.sock", "run.sock.aside"), haproxy.text("third", "bogus line"), 99)
    assert file.read() == file.read_good() == good
    assert page(haproxy) == "second"


async def test_a_port_that_is_taken_is_found_before(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """HAProxy is not even asked, since its old worker would refuse clients for it; the error names file and line."""
    good = haproxy.text("second", f"{PAGE} second")
    await applier.reload(good, 99)
    before = await applier_master(haproxy).processes()
    with taken_port() as (address, port), pytest.raises(ConfigRefused, match=rf"haproxy.cfg:16.*{port} is taken"):
        await applier.reload(haproxy.text("third", f"{PAGE} third", "frontend more", f"bind {address}:{port}"), 99)
    assert await applier_master(haproxy).processes() == before
    assert file.read() == good
    assert only_the_file_is_there(haproxy)


async def test_no_reload_while_too_many_old_workers_live(haproxy: HAProxyProcess, applier: Applier) -> None:
    """One whose client holds its connection counts; when it has gone, the next reload goes on."""
    with socket.create_connection((haproxy.address, haproxy.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")  # and the rest never comes
        await asyncio.sleep(0.1)
        await applier.reload(haproxy.text("second"), 1)
        with pytest.raises(ReloadPostponed, match="1 of at most 1 old workers"):
            await applier.reload(haproxy.text("third"), 1)
        assert await structure(haproxy) == "second"
    master = Master(HAProxySocket(haproxy.master_socket, 5.0), 10.0)
    async with asyncio.timeout(10):
        while (await master.processes()).old_workers:  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.05)
    await applier.reload(haproxy.text("third"), 1)
    assert await structure(haproxy) == "third"


async def test_without_a_good_copy_the_text_from_before_is_put_back(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """The first reload of a daemon that took over somebody's HAProxy may fail, too."""
    before = file.read()
    with taken_port() as (address, port), pytest.raises(ReloadFailed):
        await applier.reload(haproxy.text("second", "frontend more", f"bind {address}:{port}"), 99)
    assert file.read() == before
    assert file.read_good() is None


async def test_mode_and_owner_of_the_file_stay(haproxy: HAProxyProcess, applier: Applier) -> None:
    """Through a reload that works and one that is refused."""
    haproxy.config.chmod(0o604)
    await applier.reload(haproxy.text("second"), 99)
    with contextlib.suppress(ConfigRefused):
        await applier.reload(haproxy.text("third", "bogus"), 99)
    after = haproxy.config.stat()
    assert (after.st_mode & 0o777, after.st_uid) == (0o604, os.geteuid())


async def test_the_same_text_is_reloaded_without_a_write(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """HAProxy may run something older than its file, but the file is as it should be."""
    text = haproxy.text("second")
    file.write(text)
    inode = haproxy.config.stat().st_ino
    applied = await applier.reload(text, 99)
    assert await structure(haproxy) == "second"
    assert haproxy.config.stat().st_ino == inode
    assert applied.install_s == 0.0


async def test_the_file_follows_without_a_reload(haproxy: HAProxyProcess, file: ConfigFile, applier: Applier) -> None:
    """HAProxy is not asked, and a text is good only when HAProxy was seen to run it."""
    text = haproxy.text("second")
    await applier.follow(text)
    assert file.read() == text
    assert file.read_good() is None
    assert (await applier_master(haproxy).processes()).reloads == 0
    applier.confirm(text)
    assert file.read_good() == text
    with pytest.raises(ConfigRefused):
        await applier.follow(haproxy.text("third", "bogus"))
    assert file.read() == text
    assert only_the_file_is_there(haproxy)


async def test_a_haproxy_that_is_down_changes_nothing(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """A reload is refused before anything is written; following prepares the file for the next start."""
    before = file.read()
    haproxy.stop()
    text = haproxy.text("second", f"{PAGE} second")
    with pytest.raises(ProxyUnreachable, match=r"master\.sock"):
        await applier.reload(text, 99)
    assert file.read() == before
    await applier.follow(text)
    haproxy.start()
    assert page(haproxy) == "second"


async def test_a_missing_good_copy_is_no_failure_of_the_reload(haproxy: HAProxyProcess, tmp_path: Path) -> None:
    """HAProxy runs the text: that its copy could not be kept is logged."""
    applier = applier_of(haproxy, ConfigFile(haproxy.config, tmp_path / "nowhere"))
    await applier.reload(haproxy.text("second"), 99)
    assert await structure(haproxy) == "second"


async def test_a_stop_before_the_installation_leaves_the_old_file(
    haproxy: HAProxyProcess, file: ConfigFile, tmp_path: Path
) -> None:
    """A check that was under way is killed, and its candidate is gone."""
    before = file.read()
    slow = script(tmp_path / "slow", f"touch {tmp_path}/started; sleep 600")
    task = asyncio.create_task(applier_of(haproxy, file, slow).reload(haproxy.text("second"), 99))
    await until((tmp_path / "started").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file.read() == before
    assert only_the_file_is_there(haproxy)


async def test_a_stop_after_the_installation_leaves_the_new_file(
    haproxy: HAProxyProcess, file: ConfigFile, applier: Applier
) -> None:
    """It is whole and checked, HAProxy was asked to load it, and nobody called it good without a proof."""
    text = haproxy.text("second")
    task = asyncio.create_task(applier.reload(text, 99))
    await until(lambda: file.read() == text)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file.read() == text
    assert file.read_good() is None
    assert only_the_file_is_there(haproxy)


async def test_a_restore_that_fails_tells_both(haproxy: HAProxyProcess, applier: Applier) -> None:
    """The reload's failure and the reason why the good text is not back."""
    await applier.reload(haproxy.text("second"), 99)
    good = haproxy.config.parent / "state" / "haproxy.cfg.good"
    good.unlink()
    good.mkdir()
    with pytest.raises(ConfigFileError, match=r"could not be put back.*directory"):
        await applier.reload(haproxy.text("third", "frontend more", unbindable(haproxy)), 99)
    assert page(haproxy).startswith("<html>")


# --- the program itself -----------------------------------------------------------------------------------------


async def test_warnings_are_returned(tmp_path: Path) -> None:
    """A text that HAProxy accepts with a warning is accepted, and the warning is told."""
    path = tmp_path / "haproxy.cfg"
    address = free_address(8080)
    path.write_text(f"defaults\n    mode http\nfrontend f\n    bind {address}:8080\n", encoding="utf-8")
    (warning,) = await check(BINARY, path, deadline_s=10.0)
    assert warning.startswith("missing timeouts for frontend 'f'.\n")


async def test_a_check_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """The deadline holds, although a child of the program keeps its output open."""
    hanging = script(tmp_path / "hanging", f"sleep 600 & echo $! > {tmp_path}/child; wait")
    started = time.monotonic()
    with pytest.raises(ProxyBinaryError, match=r"did not end within 0\.5 s and was killed"):
        await check(hanging, tmp_path / "haproxy.cfg", deadline_s=0.5)
    assert time.monotonic() - started < 5
    child = Path("/proc") / (tmp_path / "child").read_text(encoding="utf-8").strip() / "stat"
    await until(lambda: not child.exists() or ") Z " in child.read_text(encoding="utf-8"))


@pytest.mark.parametrize("turns", range(8))
async def test_check_that_is_cancelled_while_it_starts_leaves_no_process(turns: int, tmp_path: Path) -> None:
    """The cancellation comes at each step of the start; a child of the program has the same end."""
    slow = script(
        tmp_path / "slow", f"sleep 600 & echo $! > {tmp_path}/child.new; mv {tmp_path}/child.new {tmp_path}/child; wait"
    )
    task = asyncio.create_task(check(slow, tmp_path / "haproxy.cfg", deadline_s=60.0))
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251  the loop stands still while the program starts its child
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if (tmp_path / "child").exists():
        child = Path("/proc") / (tmp_path / "child").read_text(encoding="utf-8").strip() / "stat"
        await until(lambda: not child.exists() or ") Z " in child.read_text(encoding="utf-8"))


async def test_a_program_that_is_missing_or_is_none_is_named(tmp_path: Path) -> None:
    """A path without a file, a file that may not be run and one that is no program."""
    plain = tmp_path / "plain"
    plain.touch(mode=0o644)
    junk = tmp_path / "junk"
    junk.write_bytes(b"\x7fELF nothing")
    junk.chmod(0o755)
    for program, reason in ((tmp_path / "missing", "No such file"), (plain, "Permission"), (junk, "format")):
        with pytest.raises(ProxyBinaryError, match=rf"{program.name}.*cannot be run: .*{reason}"):
            await check(str(program), tmp_path / "haproxy.cfg", deadline_s=5.0)


async def test_a_program_that_crashes_is_no_refusal(tmp_path: Path) -> None:
    """The text may be fine: the signal is told."""
    crashing = script(tmp_path / "crashing", "kill -SEGV $$")
    with pytest.raises(ProxyBinaryError, match="ended by signal 11"):
        await check(crashing, tmp_path / "haproxy.cfg", deadline_s=5.0)


async def test_a_refusal_without_a_known_message_is_given_whole(tmp_path: Path) -> None:
    """What the program wrote, or at least its exit code."""
    with pytest.raises(ConfigRefused, match=r"^what a mess$"):
        await check(script(tmp_path / "talks", "echo what a mess; exit 1"), tmp_path / "x", deadline_s=5.0)
    with pytest.raises(ConfigRefused, match="ended with code 3"):
        await check(script(tmp_path / "mute", "exit 3"), tmp_path / "x", deadline_s=5.0)


async def test_a_program_that_writes_without_end_is_killed(tmp_path: Path) -> None:
    """At the deadline, with bounded memory."""
    with pytest.raises(ProxyBinaryError, match="did not end"):
        await check(script(tmp_path / "chatty", "exec yes"), tmp_path / "x", deadline_s=0.3)


# --- helpers ----------------------------------------------------------------------------------------------------


def applier_master(haproxy: HAProxyProcess) -> Master:
    """Return the master of `haproxy`."""
    return Master(HAProxySocket(haproxy.master_socket, deadline_s=5.0), reload_deadline_s=10.0)


def script(path: Path, body: str) -> str:
    """Write a shell script and return its path."""
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def unbindable(haproxy: HAProxyProcess) -> str:
    """Return a line that `haproxy -c` accepts and no worker can start with; quoted, so that it is not looked at."""
    return f'bind "unix@{haproxy.config.parent}/absent/page.sock"'


def is_stopped(pid: int) -> bool:
    """Return whether a process is there, and stopped."""
    try:
        return ") T " in (Path("/proc") / str(pid) / "stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def deadly(haproxy: HAProxyProcess) -> str:
    """Return a text that `haproxy -c` accepts, and that no worker survives; quoted, so that it is not looked at."""
    return haproxy.text("deadly", f"{PAGE} deadly").replace("global\n", 'global\n    chroot "/nonexistent"\n')


@contextlib.contextmanager
def taken_port() -> Iterator[tuple[str, int]]:
    """Listen on a port, so that HAProxy cannot."""
    address = free_address()
    with socket.socket() as taken:
        taken.bind((address, 0))
        taken.listen()
        yield address, taken.getsockname()[1]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds`, five seconds at most."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.005)

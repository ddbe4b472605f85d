"""Asking HAProxy to check a configuration and to reload it, with proof of both.

Rules:

- `haproxy -c` finds what is wrong with a text, and says it best: run it before every reload.
- A reload counts only when HAProxy proves it. From 2.7 on the master answers when the new worker runs or has failed.
  Before, the answer is empty, the master executes itself anew, refuses connections for up to a few hundred
  milliseconds, and `show proc` then shows a worker that was not there before, or one more failed reload.
- A new worker counts when it answers: one that was forked may still end while it takes up its work (a chroot that is
  not there, a user that it may not become), and up to 3.0 the master ends with it.
- A master or a new worker that has ended ends the wait at once.
- Every wait has a deadline. A child that does not end is killed, with all that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from rosterd.errors import (
    ConfigRefused,
    ProxyBinaryError,
    ProxyDied,
    ProxyGarbled,
    ProxyUnreachable,
    ReloadFailed,
    ReloadPostponed,
    ReloadUnproven,
    StartRefused,
)
from rosterd.model import Running
from rosterd.proxy import commands
from rosterd.proxy.commands import Outcome, Processes, ReloadAnswer, Worker
from rosterd.proxy.process import (
    MasterProcess,
    Surroundings,
    continue_stopped,
    listening_process,
    surroundings_of,
)
from rosterd.proxy.socket import HAProxySocket
from rosterd.proxy.stderr_tail import StderrTail, stderr_tail

_LONGEST_OUTPUT = 1024 * 1024
_POLL_S = 0.01


# --- check ------------------------------------------------------------------------------------------------------


async def check(
    binary: str, path: Path, deadline_s: float, *, shown_as: Path | None = None, directory: Path | None = None
) -> tuple[str, ...]:
    """Run `haproxy -W -c` on the file at `path`, and return its warnings.

    With `-W`, as HAProxy is started: without it, `program` sections are refused.

    Its messages name `shown_as` instead of `path`, so that people read of the file that they know. `directory` is where
    HAProxy itself was started, for relative paths; one that may not be entered counts as unknown.
    Raises `ConfigRefused` with HAProxy's own message, or `ProxyBinaryError` when the program is missing, cannot be
    run, crashes or takes longer than `deadline_s` seconds.
    """
    try:
        async with asyncio.timeout(deadline_s):
            code, output = await _run(binary, "-W", "-c", "-f", _absolute(path), directory=directory)
    except TimeoutError:
        raise ProxyBinaryError(f"'{binary} -c' did not end within {deadline_s:g} s and was killed") from None
    except OSError as error:
        reason = error.strerror or error
        raise ProxyBinaryError(f"'{binary}' (proxy.binary) cannot be run: {reason}; is haproxy installed?") from error
    if code < 0:
        raise ProxyBinaryError(f"'{binary} -c' was ended by signal {-code}")
    output = output.replace(_absolute(path), str(shown_as or path))
    messages = commands.parse_messages(output)
    if code != 0:
        reasons = messages.alerts or messages.warnings  # 3.2 warns of what it refuses by itself
        raise ConfigRefused("\n".join(reasons) or output.strip() or f"haproxy -c ended with code {code}")
    return messages.warnings


def _absolute(path: Path) -> str:
    """The same path for a program that is started in another directory."""
    return str(path.absolute())


async def _run(*command: str, directory: Path | None) -> tuple[int, str]:
    """Run a program to its end and return its exit code (negative: the signal) and what it wrote."""
    async with _pipe() as (stream, write_end):
        # A start that is cancelled half-way would end the program alone, and not what it has started by then.
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                process_group=0,
                cwd=directory if directory is not None and os.access(directory, os.X_OK) else None,
            )
        )
        try:
            process = await asyncio.shield(starting)
            write_end.close()
            output = await _read_bounded(stream)
            return await process.wait(), output.decode("utf-8", "replace")
        finally:
            await _end(await starting)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a program that still runs, with what it started: its process group is its own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@contextlib.asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, BinaryIO]]:
    """A pipe for a child's output.

    Not asyncio's own: a process that was killed counts as ended there only when its output was read to the end, which
    never happens when nobody reads any more, or when somebody else still holds the pipe.
    """
    read_descriptor, write_descriptor = os.pipe()
    read_end, write_end = os.fdopen(read_descriptor, "rb"), os.fdopen(write_descriptor, "wb")
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    with write_end:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), read_end)
        try:
            yield stream, write_end
        finally:
            transport.close()


async def _read_bounded(stream: asyncio.StreamReader) -> bytes:
    """Read to the end, but keep no more than the first part: a program may write without end."""
    kept = bytearray()
    while chunk := await stream.read(65536):
        kept += chunk[: _LONGEST_OUTPUT - len(kept)]
    return bytes(kept)


# --- reload -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReloadProof:
    """A reload that happened: the worker that runs now, how many old ones still finish, and HAProxy's warnings."""

    worker_pid: int
    old_workers: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Master:
    """HAProxy's master process, on the socket given to it by `-S`; `reload_deadline_s` includes the proof."""

    socket: HAProxySocket
    reload_deadline_s: float
    stderr_file: Path | None = None
    """Where its supervisor keeps what it writes on standard error."""

    async def processes(self) -> Processes:
        """The master and its workers, old ones included. Raises `ProxyUnreachable` or `ProxyGarbled`."""
        return commands.parse_proc(await self.socket.ask(commands.SHOW_PROC))

    def stderr_tail(self) -> StderrTail:
        """What HAProxy writes on standard error from now on."""
        return stderr_tail(self.stderr_file, listening_process(self.socket.path))

    def surroundings(self) -> Surroundings | None:
        """What HAProxy's master sees and may do; None where this machine does not show its process."""
        process = listening_process(self.socket.path)
        return None if process is None else surroundings_of(process)

    async def observe(self) -> Running:
        """What the newest worker runs; the way to ask one whose own socket is gone.

        Raises `ProxyUnreachable` or `ProxyGarbled`.
        """
        workers = (await self.processes()).workers
        if not workers:
            raise ProxyUnreachable(f"HAProxy's master at {self.socket.path} has no worker")
        return commands.parse_observation(await self.socket.ask(commands.by_master(commands.OBSERVE, workers[0].pid)))

    async def servers_state(self, worker: Worker) -> str:
        """What a worker answers to `show servers state`. Raises `ProxyUnreachable`."""
        return await self.socket.ask(commands.by_master(commands.SHOW_SERVERS, worker.pid))

    async def reload(self, before: Processes) -> ReloadProof:
        """Have HAProxy load its file in a new worker, and prove that it did; `before` is how it stood just now.

        Raises `ReloadFailed` when HAProxy kept its old worker, `ProxyDied` when its master or the new worker ended,
        `ReloadUnproven` when neither was seen before the deadline, `ReloadPostponed` when an earlier reload is still
        under way, and `ProxyGarbled` when it answers with something else.
        """
        process = listening_process(self.socket.path)
        try:
            async with asyncio.timeout(self.reload_deadline_s):
                answer = await self._ask_reload()
                if answer.outcome is Outcome.BUSY:
                    raise ReloadPostponed("HAProxy still loads its file for an earlier reload")
                if answer.outcome is Outcome.FAILED:
                    said = "\n".join(answer.messages.alerts)
                    raise with_reason(ReloadFailed(NO_REASON), said) if said else ReloadFailed(NO_REASON)
                processes = await self._processes_after(before, process)
                await self._answer_of(processes.workers[0].pid, process)
                return _proof(processes, answer)
        except ProxyDied:
            if process is not None and process.pid == before.master_pid:  # else these numbers are of other processes
                continue_stopped(worker.pid for worker in (*before.workers, *before.old_workers))
            raise
        except TimeoutError:
            raise ReloadUnproven(f"HAProxy did not prove a reload within {self.reload_deadline_s:g} s") from None

    async def _ask_reload(self) -> ReloadAnswer:
        patient = replace(self.socket, deadline_s=self.reload_deadline_s)
        try:
            return commands.parse_reload(await patient.ask(commands.RELOAD))
        except ProxyUnreachable:
            # The master executes itself anew and may break the connection: `show proc` tells the rest.
            return commands.parse_reload("")

    async def _processes_after(self, before: Processes, process: MasterProcess | None) -> Processes:
        """Ask until the master has been through the reload; bounded by the caller's deadline."""
        while True:
            # It may be away, or close a connection in the middle of an answer.
            with contextlib.suppress(ProxyUnreachable, ProxyGarbled):
                now = await self.processes()
                if _went_through(before, now):
                    return now
            _require_alive(process)
            await asyncio.sleep(_POLL_S)

    async def _answer_of(self, worker: int, process: MasterProcess | None) -> None:
        """Wait until this worker answers, or has ended; bounded by the caller's deadline."""
        question = commands.by_master(commands.SHOW_INFO, worker)
        while True:
            with contextlib.suppress(ProxyUnreachable, ProxyGarbled):
                if commands.parse_info(await self.socket.ask(question)).pid == worker:
                    return
            with contextlib.suppress(ProxyUnreachable, ProxyGarbled):
                _require_worker(worker, await self.processes())
            _require_alive(process)
            await asyncio.sleep(_POLL_S)


NO_REASON = "HAProxy could not load the file and gave no reason"
DIED = "HAProxy ended when it loaded the file and gave no reason"


def lacks_reason(failure: Exception) -> bool:
    """True if HAProxy answered no reason for this failure."""
    return str(failure) in {NO_REASON, DIED}


_OF_A_LISTENER = ("Binding [", "cannot bind")


def with_reason(failure: ReloadFailed, reason: str) -> ReloadFailed:
    """The same failure with what HAProxy said: only a listener that fails is worth another attempt by itself."""
    if type(failure) is not ReloadFailed or any(words in reason for words in _OF_A_LISTENER):
        return type(failure)(reason)
    return StartRefused(reason)


def _require_alive(process: MasterProcess | None) -> None:
    if process is not None and process.has_ended:
        raise ProxyDied(DIED)


def _require_worker(worker: int, now: Processes) -> None:
    if all(each.pid != worker for each in now.workers):
        raise ProxyDied(DIED)


def _went_through(before: Processes, now: Processes) -> bool:
    """True if a reload lies between the two.

    Raises `ReloadFailed` when the reload failed, `ProxyDied` when another master answers or no worker is left.
    """
    if now.master_pid != before.master_pid:
        raise ProxyDied(DIED)
    if now.reloads == before.reloads:
        return False
    if now.failed > 0:
        raise ReloadFailed(NO_REASON)
    known = {worker.pid for worker in (*before.workers, *before.old_workers)}
    if not now.workers and any(worker.pid in known for worker in now.old_workers):
        raise ProxyDied(DIED)  # the new worker has ended, and the master waits for an old one
    return any(worker.pid not in known for worker in now.workers)


def _proof(processes: Processes, answer: ReloadAnswer) -> ReloadProof:
    return ReloadProof(
        worker_pid=processes.workers[0].pid,
        old_workers=len(processes.old_workers),
        warnings=answer.messages.warnings,
    )

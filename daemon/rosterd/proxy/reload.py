"""Asking HAProxy to check a configuration and to reload it, with proof of both.

Rules:

- `haproxy -c` finds what is wrong with a text, and says it best: run it before every reload.
- A reload counts only when HAProxy proves it. From 2.7 on the master answers when the new worker runs or has failed.
  Before, the answer is empty, the master executes itself anew, refuses connections for up to a few hundred
  milliseconds, and `show proc` then shows a worker that was not there before, or one more failed reload.
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

from rosterd.errors import ConfigRefused, ProxyBinaryError, ProxyGarbled, ProxyUnreachable, ReloadFailed
from rosterd.model import Running
from rosterd.proxy import commands
from rosterd.proxy.commands import Outcome, Processes, ReloadAnswer, Worker
from rosterd.proxy.socket import HAProxySocket

_LONGEST_OUTPUT = 1024 * 1024
_POLL_S = 0.01


# --- check ------------------------------------------------------------------------------------------------------


async def check(binary: str, path: Path, deadline_s: float, *, shown_as: Path | None = None) -> tuple[str, ...]:
    """Run `haproxy -c` on the file at `path`, and return its warnings.

    Its messages name `shown_as` instead of `path`, so that people read of the file that they know.
    Raises `ConfigRefused` with HAProxy's own message, or `ProxyBinaryError` when the program is missing, cannot be
    run, crashes or takes longer than `deadline_s` seconds.
    """
    try:
        async with asyncio.timeout(deadline_s):
            code, output = await _run(binary, "-c", "-f", str(path))
    except TimeoutError:
        raise ProxyBinaryError(f"'{binary} -c' did not end within {deadline_s:g} s and was killed") from None
    except OSError as error:
        reason = error.strerror or error
        raise ProxyBinaryError(f"'{binary}' (proxy.binary) cannot be run: {reason}; is haproxy installed?") from error
    if code < 0:
        raise ProxyBinaryError(f"'{binary} -c' was ended by signal {-code}")
    output = output.replace(str(path), str(shown_as or path))
    messages = commands.parse_messages(output)
    if code != 0:
        raise ConfigRefused("\n".join(messages.alerts) or output.strip() or f"haproxy -c ended with code {code}")
    return messages.warnings


async def _run(*command: str) -> tuple[int, str]:
    """Run a program to its end and return its exit code (negative: the signal) and what it wrote."""
    async with _pipe() as (stream, write_end):
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=write_end, stderr=write_end, process_group=0
        )
        write_end.close()
        try:
            output = await _read_bounded(stream)
            return await process.wait(), output.decode("utf-8", "replace")
        finally:
            if process.returncode is None:
                # Its process group is its own: this ends what it started, too.
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
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), read_end)
    try:
        yield stream, write_end
    finally:
        transport.close()
        write_end.close()


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

    async def processes(self) -> Processes:
        """The master and its workers, old ones included. Raises `ProxyUnreachable` or `ProxyGarbled`."""
        return commands.parse_proc(await self.socket.ask(commands.SHOW_PROC))

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

        Raises `ReloadFailed` when it did not, or did not tell within the deadline; `ProxyGarbled` when it answers
        with something else.
        """
        try:
            async with asyncio.timeout(self.reload_deadline_s):
                answer = await self._ask_reload()
                if answer.outcome is Outcome.FAILED:
                    raise ReloadFailed("\n".join(answer.messages.alerts) or "HAProxy gave no reason")
                return _proof(await self._processes_after(before), answer)
        except TimeoutError:
            raise ReloadFailed(f"HAProxy did not prove a reload within {self.reload_deadline_s:g} s") from None

    async def _ask_reload(self) -> ReloadAnswer:
        patient = replace(self.socket, deadline_s=self.reload_deadline_s)
        try:
            return commands.parse_reload(await patient.ask(commands.RELOAD))
        except ProxyUnreachable:
            # The master executes itself anew and may break the connection: `show proc` tells the rest.
            return commands.parse_reload("")

    async def _processes_after(self, before: Processes) -> Processes:
        """Ask until the master has been through the reload; bounded by the caller's deadline."""
        while True:
            # It may be away, or close a connection in the middle of an answer.
            with contextlib.suppress(ProxyUnreachable, ProxyGarbled):
                now = await self.processes()
                if _went_through(before, now):
                    return now
            await asyncio.sleep(_POLL_S)


def _went_through(before: Processes, now: Processes) -> bool:
    """Whether a reload lies between the two; raises `ReloadFailed` when it failed."""
    if (now.master_pid, now.reloads) == (before.master_pid, before.reloads):
        return False
    if now.failed > 0:
        raise ReloadFailed(
            "HAProxy could not load the file and keeps its old worker; the reason is in HAProxy's own log"
        )
    known = {worker.pid for worker in (*before.workers, *before.old_workers)}
    return any(worker.pid not in known for worker in now.workers)


def _proof(processes: Processes, answer: ReloadAnswer) -> ReloadProof:
    return ReloadProof(
        worker_pid=processes.workers[0].pid,
        old_workers=len(processes.old_workers),
        warnings=answer.messages.warnings,
    )

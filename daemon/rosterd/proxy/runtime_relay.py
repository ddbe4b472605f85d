"""HAProxy's runtime API over TCP on loopback: a relay to the runtime unix socket that HTTP does not pass.

HAProxy can listen on TCP itself, and then obeys the body of any request that a web page sends there. The relay reads
the first line of each connection before it connects to HAProxy, and closes the connection if the line is no command
(`first_line.py`). After that it passes bytes on in both directions and reads nothing in them.

Rules:

- A taken address does not end the daemon: an earlier HAProxy may hold it until its next reload. The relay tries again.
- At most `max_connections` at once. When all are taken, the oldest one that has sent no line is closed for the
  newcomer; if each has sent one, the newcomer is closed.
- A connection without a first line is closed after `first_line_within_s`, a reader that takes nothing after
  `stalled_after_s`. HAProxy itself closes a session that stays idle (`stats timeout`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from rosterd.parse import escaped
from rosterd.proxy.first_line import MAX_FIRST_LINE, refusal
from rosterd.stdlib_logs import RateLimit

log = structlog.get_logger(__name__)

CHUNK = 65536
MAX_TEXT_LOGGED = 80


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds on the relay's connections, and the wait between two attempts to listen."""

    max_connections: int = 16
    first_line_within_s: float = 60.0
    stalled_after_s: float = 60.0
    retry_after_s: float = 1.0


@dataclass(slots=True)
class RuntimeRelay:
    """Relays `host:port` to the unix socket at `path`; `clock` returns monotonic seconds."""

    host: str
    port: int
    path: Path
    clock: Callable[[], float]
    limits: RelayLimits = RelayLimits()
    _silent: dict[asyncio.StreamWriter, None] = field(default_factory=dict, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _refusals: RateLimit = field(default_factory=RateLimit, init=False)

    async def run(self) -> None:
        """Listen and relay until cancelled."""
        server = await self._listen()
        log.info("runtime_relay.opened", address=self.host, port=self.port)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        """Listen, however long another process holds the address."""
        said = ""
        while True:
            try:
                return await asyncio.start_server(
                    self._accept, self.host, self.port, limit=MAX_FIRST_LINE, reuse_address=True
                )
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                if reason != said:
                    said = reason
                    effect = f"the address is tried again every {self.limits.retry_after_s:g} s"
                    log.warning("runtime_relay.blocked", address=self.host, port=self.port, error=reason, effect=effect)
                await asyncio.sleep(self.limits.retry_after_s)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._has_room():
            writer.transport.abort()
            return
        self._silent[writer] = None
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await self._first_line(reader)
            self._silent.pop(writer, None)
            if line and not self._is_refused(line):
                await self._relay(line, reader, writer)
        except (OSError, TimeoutError):
            pass  # one end is gone or stands still: the connection is over
        finally:
            self._silent.pop(writer, None)
            writer.transport.abort()

    def _has_room(self) -> bool:
        if len(self._tasks) < self.limits.max_connections:
            return True
        if not self._silent:
            return False
        oldest = next(iter(self._silent))
        del self._silent[oldest]
        oldest.transport.abort()
        return True

    async def _first_line(self, reader: asyncio.StreamReader) -> bytes:
        """Return all up to the end of the first line that is not blank; nothing if the peer sent none."""
        read = b""
        async with asyncio.timeout(self.limits.first_line_within_s):
            while not read.strip() and len(read) < MAX_FIRST_LINE:
                try:
                    read += await reader.readuntil(b"\n")
                except asyncio.IncompleteReadError as error:
                    return read + error.partial
                except asyncio.LimitOverrunError:
                    return read + await reader.read(MAX_FIRST_LINE + 1)
        return read

    def _is_refused(self, line: bytes) -> bool:
        reason = refusal(line)
        if not reason:
            return False
        suppressed = self._refusals.admit(self.clock())
        if suppressed is not None:
            said = escaped(line.strip()[:MAX_TEXT_LOGGED].decode("utf-8", "replace"))
            log.warning("runtime_relay.refused", reason=reason, line=said, suppressed=suppressed)
        return True

    async def _relay(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on the line, then both directions, until HAProxy has closed its half."""
        answers, commands = await asyncio.open_unix_connection(self.path)
        try:
            commands.write(line)
            sending = asyncio.create_task(self._pass_on(reader, commands))
            try:
                await self._pass_on(answers, writer)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        finally:
            commands.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        target.transport.set_write_buffer_limits(high=0)  # so that `drain` waits until all is with the kernel
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            async with asyncio.timeout(self.limits.stalled_after_s):
                await target.drain()
        target.write_eof()

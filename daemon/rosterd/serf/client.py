"""Listen to the local Serf agent for ever: the asyncio binding of `session`.

Rules: `SerfClient` owns the connection and when to try again, `Session` owns everything that is said on it. One
connection at a time, one reader, one timer, no task of its own. The listener is called in the event loop, in order, and
must not block; a bug that it raises ends `run`.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Protocol, cast

from rosterd.backoff import backoff
from rosterd.errors import SerfAuthRefused, SerfError, SerfOutOfStep, SerfUnreachable
from rosterd.serf.session import BecameLive, SerfTiming, Session, SessionEvent

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from rosterd.model import Snapshot

__all__ = ["SerfClient", "SerfListener", "SerfTiming", "agent_at", "is_fatal_at_start", "reason_of"]


class SerfListener(Protocol):
    """Who wants to know what the agent says."""

    def snapshot_read(self, snapshot: Snapshot) -> None:
        """Take a whole member table; it may equal the last one."""

    def agent_reached(self) -> None:
        """Learn that a conversation is live; its first snapshot follows at once."""

    def agent_lost(self, error: SerfError) -> None:
        """Learn that an attempt failed or a conversation broke; the next attempt comes after a wait."""


def is_fatal_at_start(error: SerfError) -> bool:
    """Say whether trying again cannot help, as long as no conversation ever succeeded."""
    return isinstance(error, SerfAuthRefused)


def reason_of(error: OSError) -> str:
    """Say in a few words what the system holds against a connection; asyncio's own text repeats the address."""
    if error.errno is None or error.errno <= 0:  # no number, or one of the resolver's
        return error.strerror or str(error)
    return os.strerror(error.errno)


def agent_at(address: tuple[str, int]) -> str:
    """Name the agent whose RPC is there, for the text of an error."""
    host, port = address
    return f"Serf agent at [{host}]:{port}" if ":" in host else f"Serf agent at {host}:{port}"


class SerfClient:
    """Follows one agent through its restarts.

    `address` is host and port of its RPC, `auth_key` its `rpc_auth` where it has one.
    """

    def __init__(
        self,
        *,
        address: tuple[str, int],
        auth_key: str | None,
        timing: SerfTiming,
        listener: SerfListener,
        rng: random.Random,
    ) -> None:
        self._address = address
        self._auth_key = auth_key
        self._timing = timing
        self._listener = listener
        self._rng = rng
        self._ever_live = False
        self._waits = self._new_waits()

    async def run(self) -> None:
        """Listen until cancelled, and reconnect whenever the conversation breaks.

        Raises:
            SerfAuthRefused: the agent refuses us and never once accepted us: the settings are wrong. Once it has
                accepted us this is told to the listener like any other loss, and tried again.
        """
        while True:
            error = await self._converse()
            if is_fatal_at_start(error) and not self._ever_live:
                raise error
            self._listener.agent_lost(error)
            await asyncio.sleep(next(self._waits))

    async def _converse(self) -> SerfError:
        """Hold one conversation and return what ended it, with the agent's address in its text."""
        agent = agent_at(self._address)
        try:
            await self._connect_and_listen()
        except SerfError as error:
            return type(error)(f"{agent}: {error}")
        return SerfUnreachable(f"{agent}: closed the connection")

    async def _connect_and_listen(self) -> None:
        loop = asyncio.get_running_loop()
        binding = _Binding(Session(self._auth_key, self._timing), self._deliver, loop)
        try:
            async with asyncio.timeout(self._timing.request_timeout):
                await loop.create_connection(lambda: binding, *self._address)
        except TimeoutError:
            raise SerfUnreachable(f"no connection within {self._timing.request_timeout:g} s") from None
        except OSError as error:
            raise SerfUnreachable(reason_of(error)) from error
        try:
            reason = await binding.ended
        finally:
            binding.abort()
        if reason is not None:
            raise reason

    def _deliver(self, event: SessionEvent) -> None:
        if not isinstance(event, BecameLive):
            self._listener.snapshot_read(event)
            return
        self._ever_live = True
        self._waits = self._new_waits()
        self._listener.agent_reached()

    def _new_waits(self) -> Iterator[float]:
        return backoff(self._timing.backoff_first, self._timing.backoff_longest, self._rng.random)


class _Binding(asyncio.Protocol):
    """Carries bytes and time between one socket and one session. `ended` gets what ended it, None for a plain close.

    What may be unsent is bounded by the session, which has at most two requests in flight; what may be unread by the
    kernel, as every piece is decoded before the next is read.
    """

    def __init__(
        self, session: Session, deliver: Callable[[SessionEvent], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.ended: asyncio.Future[Exception | None] = loop.create_future()
        self._session = session
        self._deliver = deliver
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the conversation."""
        self._transport = cast("asyncio.Transport", transport)
        self._session.open(self._loop.time())
        self._send()

    def data_received(self, data: bytes) -> None:
        """Hand on what came, and what it means."""
        try:
            events = self._session.receive(data, self._loop.time())
        except SerfError as error:
            self._end(error)
            return
        self._send()
        for event in events:
            self._deliver(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone; `exc` is the system's error, or the bug that a listener raised."""
        match exc:
            case OSError():
                self._end(SerfUnreachable(reason_of(exc)))
            case MemoryError():  # asyncio had none for what it was about to read, or the session none for its table
                self._end(SerfOutOfStep("there is no memory for what it sent"))
            case _:
                self._end(exc)

    def abort(self) -> None:
        """Drop the connection without a word; safe at any time."""
        self._end(None)

    def _tick(self) -> None:
        try:
            self._session.timer(self._loop.time())
        except SerfError as error:
            self._end(error)
            return
        self._send()

    def _send(self) -> None:
        data = self._session.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._session.next_timer(), self._tick)

    def _end(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._session.close()
        if not self.ended.done():
            self.ended.set_result(error)

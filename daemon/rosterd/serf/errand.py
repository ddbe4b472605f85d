"""A short conversation with the agent, for what the listening connection must not wait for.

The agent works off the requests of one connection one after the other, so each errand has a connection of its own. Who
runs one bounds it in time, with `asyncio.timeout`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from rosterd.errors import SerfUnreachable
from rosterd.serf import protocol
from rosterd.serf.client import reason_of
from rosterd.serf.protocol import Refused, Wire
from rosterd.serf.session import refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from rosterd.serf.protocol import Message, Request

_READ_SIZE: Final = 65_536


class Errand:
    """A connection that is greeted: send requests, read messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._wire = Wire()
        self._messages: Iterator[Message] = iter(())

    def send(self, request: Request) -> None:
        """Make a request; what it is answered comes as a message."""
        self._writer.write(self._wire.request(request))

    async def message(self) -> Message:
        """Return the next message. May be cancelled and called again; nothing is lost.

        Raises:
            SerfUnreachable: the agent hung up, or the connection broke.
            SerfRefused, SerfAuthRefused: the message is a refusal.
            SerfOutOfStep: it fits nothing that was asked.
        """
        while True:
            # What came before a fault counts: an agent that wants a key says so, and is out of step only then.
            for message in self._messages:
                if isinstance(message, Refused):
                    raise refusal(message.command, message.reason)
                return message
            self._messages = self._wire.receive(await self._read())

    async def _read(self) -> bytes:
        try:
            data = await self._reader.read(_READ_SIZE)
        except OSError as error:
            raise SerfUnreachable(reason_of(error)) from error
        if not data:
            raise SerfUnreachable("closed the connection")
        return data


@asynccontextmanager
async def errand(address: tuple[str, int], auth_key: str | None) -> AsyncIterator[Errand]:
    """Connect to the agent whose RPC is at `address`, greet it, and hang up at the end.

    Raises:
        SerfUnreachable: there is no connection, or it breaks.
        SerfAuthRefused: the agent wants another key.
        SerfOutOfStep: it answered with something else.
    """
    greeting = [protocol.handshake()] + ([] if auth_key is None else [protocol.auth(auth_key)])
    try:
        reader, writer = await asyncio.open_connection(*address)
    except OSError as error:
        raise SerfUnreachable(reason_of(error)) from error
    try:
        agent = Errand(reader, writer)
        for request in greeting:
            agent.send(request)
            await agent.message()
        yield agent
    finally:
        writer.transport.abort()

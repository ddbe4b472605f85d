"""One errand to the agent: join these nodes.

It has a short connection of its own. The agent works off the requests of one connection one after the other, so a join
with a node that does not answer would hold up `members` for seconds.
"""

from __future__ import annotations

import asyncio
from typing import Final

from rosterd.errors import SerfOutOfStep, SerfUnreachable
from rosterd.serf import protocol
from rosterd.serf.client import reason_of
from rosterd.serf.protocol import Command, Joined, Message, Refused, Wire
from rosterd.serf.session import refusal

_READ_SIZE: Final = 65_536


async def join(address: tuple[str, int], auth_key: str | None, endpoint: str, within: float) -> int:
    """Have the agent whose RPC is at `address` join `endpoint` (host:port); return how many nodes it reached.

    Raises:
        SerfUnreachable: the agent does not answer `within` these seconds, or hangs up.
        SerfAuthRefused: the agent wants another key.
        SerfRefused: nobody could be reached at `endpoint`; the text is the agent's.
        SerfOutOfStep: the agent answered with something else.
    """
    greeting = [protocol.handshake()] + ([] if auth_key is None else [protocol.auth(auth_key)])
    try:
        async with asyncio.timeout(within):
            return await _converse(address, [*greeting, protocol.join([endpoint])])
    except TimeoutError:
        raise SerfUnreachable(f"no answer to `join` within {within:g} s") from None
    except OSError as error:
        raise SerfUnreachable(reason_of(error)) from error


async def _converse(address: tuple[str, int], requests: list[protocol.Request]) -> int:
    reader, writer = await asyncio.open_connection(*address)
    wire = Wire()
    try:
        for request in requests:
            writer.write(wire.request(request))
            message = await _next_message(reader, wire)
            if isinstance(message, Refused):
                raise refusal(message.command, message.reason)
            if isinstance(message, Joined):
                return message.reached
        raise SerfOutOfStep(f"no answer to `{Command.JOIN.value}`")
    finally:
        writer.transport.abort()


async def _next_message(reader: asyncio.StreamReader, wire: Wire) -> Message:
    while True:
        data = await reader.read(_READ_SIZE)
        if not data:
            raise SerfUnreachable("closed the connection")
        for message in wire.receive(data):
            return message  # the only one, as one request is open at a time

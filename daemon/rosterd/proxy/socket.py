"""HAProxy's sockets: one connection for each question, with a deadline and a bound.

Rules:

- The whole answer or an error, never a part of one. HAProxy ends an answer by closing; the master socket does so only
  when the client has closed its half. A batch ends with a line that has HAProxy close, and its client closes nothing.
- The answer is read while the question is still being written: HAProxy stops reading when nobody takes its answers.
- Whatever the system says becomes `ProxyUnreachable` with the socket's path.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rosterd.errors import ProxyUnreachable
from rosterd.model import Action, Running
from rosterd.proxy import commands
from rosterd.proxy.actions import Result, batch, lines_of, result_of, split_replies

LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes; `show servers state` of 10,000 servers takes a fiftieth of it."""


@dataclass(frozen=True, slots=True)
class HAProxySocket:
    """A runtime or master socket of HAProxy at `path`; `deadline_s` is for one question with its answer."""

    path: Path
    deadline_s: float

    async def ask(self, line: str) -> str:
        """Send one line (commands joined by `;`) and return the whole answer.

        Raises `ProxyUnreachable` when the socket is absent, refuses, breaks, is silent or says too much.
        """
        return await self._within_deadline(_Question(line))

    async def ask_batch(self, lines: Sequence[str]) -> tuple[str, ...]:
        """Send many lines in one write and return the reply to each.

        Raises `ProxyUnreachable` as `ask` does, and `ProxyGarbled` if the number of replies is another one.
        """
        return split_replies(await self._within_deadline(_Batch(batch(lines))), len(lines))

    async def _within_deadline(self, question: _Question) -> str:
        try:
            async with asyncio.timeout(self.deadline_s):
                return (await self._converse(question)).decode("utf-8", "replace")
        except TimeoutError:
            raise ProxyUnreachable(
                f"HAProxy's socket {self.path} did not answer '{_shown(question.text)}' within {self.deadline_s:g} s"
            ) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise ProxyUnreachable(f"HAProxy's socket {self.path} cannot be reached: {reason}") from error

    async def _converse(self, question: _Question) -> bytes:
        loop = asyncio.get_running_loop()
        conversation = _Conversation(question, loop.create_future())
        transport, _ = await loop.create_unix_connection(lambda: conversation, str(self.path))
        try:
            return await conversation.answer
        finally:
            transport.abort()


@dataclass(frozen=True, slots=True)
class _Question:
    """What is sent; HAProxy answers and closes when the client has closed its half."""

    text: str

    def send(self, connection: asyncio.Transport) -> None:
        """Write it, and close this half."""
        connection.write(self.text.encode() + b"\n")
        connection.write_eof()


@dataclass(frozen=True, slots=True)
class _Batch(_Question):
    """A text whose last line has HAProxy close."""

    def send(self, connection: asyncio.Transport) -> None:
        """Write it, and leave the connection open."""
        connection.write(self.text.encode() + b"\n")


class _Conversation(asyncio.Protocol):
    """One question and its answer, which is all that comes until HAProxy closes.

    The transport goes on writing while it reads.
    """

    def __init__(self, question: _Question, answer: asyncio.Future[bytes]) -> None:
        self.answer = answer
        self._question = question
        self._said = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._question.send(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._said += data
        if len(self._said) > LONGEST_ANSWER and not self.answer.done():
            self.answer.set_exception(OSError(errno.EMSGSIZE, f"it answers with more than {LONGEST_ANSWER} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer.done():
            return
        if exc is None:
            self.answer.set_result(bytes(self._said))
        else:
            self.answer.set_exception(exc)


async def carry_out(
    socket: HAProxySocket, actions: Sequence[Action], then: str = commands.OBSERVE
) -> tuple[tuple[Result, ...], Running]:
    """Have HAProxy carry out actions, in order; what came of each, and what it runs then.

    `then` is how that is asked: `OBSERVE`, or `OBSERVE_WITH_SESSIONS`.

    Raises `ProxyUnreachable` or `ProxyGarbled`: then it is not known which of them were carried out.
    """
    lines = [lines_of(action) for action in actions]
    told = [line for action_lines in lines for line in action_lines]
    asked = then.split(";")
    answer = await socket.ask_batch([*told, *asked])
    replies = iter(answer[: len(told)])
    results = tuple(
        result_of(action, [next(replies) for _ in action_lines])
        for action, action_lines in zip(actions, lines, strict=True)
    )
    return results, commands.parse_observation("".join(f"{reply}\n\n" for reply in answer[len(told) :]))


async def observe(socket: HAProxySocket, question: str = commands.OBSERVE) -> Running:
    """What HAProxy really runs, asked on its runtime socket with `OBSERVE` or `OBSERVE_WITH_SESSIONS`.

    Raises `ProxyUnreachable` or `ProxyGarbled`.
    """
    return commands.parse_observation(await socket.ask(question))


def _shown(line: str) -> str:
    shown = line.replace("\n", ";")
    return shown if len(shown) <= 80 else f"{shown[:77]}..."

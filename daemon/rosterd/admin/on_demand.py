"""Questions to HAProxy that are asked when somebody wants to know, and never otherwise.

One is asked at most once a second, however many want to know: they share the question and its answer. Who asks and goes
away does not take the answer from the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

KEPT_S = 1.0
"""How long an answer is given to all who ask."""


class OnDemand(Generic[T]):
    """One question; `clock` is monotonic seconds."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        """Nobody has asked yet; `ask` answers within a deadline of its own."""
        self._ask = ask
        self._clock = clock
        self._last: tuple[float, T] | None = None
        self._asking: asyncio.Task[T] | None = None

    async def latest(self) -> T:
        """The answer, at most a second old."""
        if self._asking is None:
            if self._last is not None and self._clock() < self._last[0] + KEPT_S:
                return self._last[1]
            self._asking = asyncio.create_task(self._answer())
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """End a question that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _answer(self) -> T:
        try:
            answer = await self._ask()
            self._last = self._clock(), answer
        finally:
            self._asking = None
        return answer

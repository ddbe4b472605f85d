"""Wait for something to become true, with a deadline that says what it waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POLL_S = 0.02


class WaitedInVainError(Exception):
    """The deadline passed first."""


async def wait_until(condition: Callable[[], bool], deadline_s: float, what: str) -> float:
    """Look every 20 ms; how many seconds it took.

    Raises:
        WaitedInVainError: the condition did not hold within `deadline_s` seconds.
    """

    async def holds() -> bool:
        return condition()

    return await ask_until(holds, deadline_s, what)


async def ask_until(condition: Callable[[], Awaitable[bool]], deadline_s: float, what: str) -> float:
    """As `wait_until`, for a condition that has to ask somebody. What it asks needs a deadline of its own."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not await condition():
        if loop.time() - begin > deadline_s:
            raise WaitedInVainError(f"waited {deadline_s:g} s for {what}")
        await asyncio.sleep(POLL_S)
    return loop.time() - begin

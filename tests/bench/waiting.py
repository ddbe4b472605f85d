"""Waiting with a deadline that says what it waited for, and in steps that are small beside what is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 0.005
WITHIN_S = 30.0

Found = TypeVar("Found")


def until(condition: Callable[[], Found | None], what: str, within_s: float = WITHIN_S) -> Found:
    """Look until the condition's answer is true, and return that.

    Raises:
        TimeoutError: it was not within these seconds.
    """
    give_up_at = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"waited {within_s:g} s for {what}")
        time.sleep(POLL_S)
    return found


def wait_until(moment: float) -> None:
    """Sleep until this moment of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))

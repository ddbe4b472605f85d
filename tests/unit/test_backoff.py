"""Waits between tries."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from rosterd.backoff import backoff


def test_waits_double_up_to_the_longest() -> None:
    """Without jitter the waits are plain powers of two, then the longest for ever."""
    assert list(islice(backoff(0.2, 1.0, lambda: 0.0), 6)) == [0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_a_first_wait_above_the_longest_is_cut() -> None:
    """The longest wait is a promise."""
    assert next(backoff(5.0, 1.0, lambda: 0.0)) == 1.0


@given(st.integers(), st.floats(0.001, 10), st.floats(0.001, 1000))
def test_jitter_shortens_by_at_most_a_half(seed: int, first: float, longest: float) -> None:
    """Whatever the dice say, a wait is never above its step nor below half of it."""
    plain = backoff(first, longest, lambda: 0.0)
    dice = random.Random(seed)  # noqa: S311  a seeded test
    for wait, step in zip(backoff(first, longest, dice.random), islice(plain, 50), strict=False):
        assert step / 2 <= wait <= step


def test_waits_go_on_for_ever_without_growing() -> None:
    """A daemon that tries for a year does not overflow."""
    assert next(islice(backoff(0.2, 10.0, lambda: 0.0), 100_000, None)) == 10.0

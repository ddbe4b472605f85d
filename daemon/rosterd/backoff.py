"""How long to wait before the next try. Pure: randomness comes in as a callable."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def backoff(first: float, longest: float, jitter: Callable[[], float]) -> Iterator[float]:
    """Yield waits in seconds, for ever: doubling from `first` up to `longest`, each shortened by up to a half.

    `jitter` returns a number in [0, 1), as `random.Random.random` does; it keeps many daemons that lost the same peer
    from coming back in step.
    """
    wait = first
    while True:
        yield min(wait, longest) * (1.0 - jitter() / 2.0)
        wait = min(wait * 2.0, longest)

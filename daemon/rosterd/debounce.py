"""When to act: after a quiet time, at the latest after a longest wait, never sooner than a least interval.

Pure: every method takes `now` (monotonic seconds); only the controller asks a clock. Three clocks decide `due_at`:

- quiet: each `touch` moves it; it passes when nothing more has come for `quiet_s`;
- longest: set by the first touch; it caps how far the touches can move the first clock;
- least interval: counted from the last `fired`; a burst that has just been served does not start a storm.

`press` asks for action at once, whatever the clocks say: for the first complete state, and for the way back from a
reload that should not have been.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient to be, in seconds; 0 for `quiet_s` acts at the first touch."""

    quiet_s: float
    longest_s: float
    least_interval_s: float


class Debounce:
    """One debounced action."""

    def __init__(self, pace: Pace) -> None:
        """Start idle: nothing is due."""
        self.pace = pace
        self._first: float | None = None
        self._last = 0.0
        self._pressed = False
        self._fired: float | None = None

    @property
    def due_at(self) -> float | None:
        """When to act; None while nothing waits."""
        if self._first is None:
            return None
        settled = self._last + self.pace.quiet_s
        if self._pressed:
            return self._first
        due = min(settled, self._first + self.pace.longest_s)
        if self._fired is None:
            return due
        return max(due, self._fired + self.pace.least_interval_s)

    def touch(self, now: float) -> None:
        """Something changed that the action must take up."""
        if self._first is None:
            self._first = now
        self._last = now

    def press(self, now: float) -> None:
        """Act without waiting for quiet."""
        self.touch(now)
        self._pressed = True

    def is_due(self, now: float) -> bool:
        """Whether to act now."""
        due = self.due_at
        return due is not None and due <= now

    def fired(self, now: float) -> None:
        """The action was taken (or tried): nothing waits any more, and the least interval starts."""
        self.calm()
        self._fired = now

    def calm(self) -> None:
        """What waited went away by itself."""
        self._first = None
        self._pressed = False

"""What every fault is: done to a place, undone after a while, and over when it shows nowhere any more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from compose.waiting import WaitedInVainError
from tests.soak.ledger import Excuse, Span

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.soak.place import Place
    from tests.soak.schedule import Part


class Fault(ABC):
    """One fault, once. `dice` makes its choices: the same ones from the same seed.

    `what` is what happens, for people; `lasts` for how long at least and at most, in seconds. `excuse` says why
    requests may fail, from when to when the fault says (`excused_since`); `cut` why an answer may end in its middle, at
    one moment (`cut_since`). `needs_disk`: only where the balancer's configuration lies on a disk of its own.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    parts: ClassVar[frozenset[Part]]
    nodes: ClassVar[int] = 0
    excuse: ClassVar[str] = ""
    cut: ClassVar[str] = ""
    lasts: ClassVar[tuple[float, float]] = (0.0, 0.0)
    needs_disk: ClassVar[bool] = False

    def __init__(self, place: Place, dice: random.Random) -> None:
        self.place = place
        self.dice = dice
        self.victims = place.take(dice, self.nodes)
        self.seconds = dice.uniform(*self.lasts)

    @abstractmethod
    async def inject(self) -> None:
        """Break it, and see that it broke."""

    async def heal(self) -> None:  # noqa: B027  nothing has to be done where it heals by itself
        """Undo it; most things heal by themselves."""

    def excused_since(self, begin: float) -> None:
        """Let requests fail that were under way or due between then and now."""
        self.place.ledger.excuse(Excuse(Span(begin, self.place.now()), self.name))

    def cut_since(self, begin: float) -> None:
        """Let answers be cut short that were under way between then and now."""
        self.place.ledger.excuse(Excuse(Span(begin, self.place.now()), self.name, cut_only=True))

    async def lingers(self) -> str:
        """Say what of it is still there, beside what is looked at after every fault; empty when it is over."""
        return ""


class Replaced:
    """A program that was ended, until another process runs in its place."""

    def __init__(self, program: str, look: Callable[[], list[int]]) -> None:
        self.before = look()
        self._program, self._look = program, look
        if not self.before:
            raise WaitedInVainError(f"there is no process of {program} to be ended")

    def lingers(self) -> str:
        """Say that none has taken its place yet."""
        now = self._look()
        return "" if now and not set(now) & set(self.before) else f"no new {self._program}"

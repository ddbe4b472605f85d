"""One change from what woke us to traffic, under one id.

Pure. A trace begins with the first wake-up after all was level and ends when all is level again. Everything that is
logged and told meanwhile carries its id, so that a line in the log, an event over HTTP and a row on the page can be
matched. The ids of one process begin with the same few characters and are numbered: `7f3a.12`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, TypeAlias, get_args

from rosterd.model import Change

SHOWN = 20
"""How many members a line names."""

Word: TypeAlias = Literal["agent", "failure", "file", "look", "machine", "operator", "rejection", "reload"]
"""What can wake the loop, bounded so that it can label a metric.

`look` is a turn that found something by itself; `machine` is a change of this machine's addresses.
"""

WORDS: tuple[str, ...] = get_args(Word)


@dataclass(slots=True)
class Trace:
    """What woke the loop since it was last content, which members differed, and when the present plan was made."""

    id: str
    woken_by: list[Word] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    since: float | None = None
    planned_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything has happened that it could be about."""
        return self.since is not None

    def add_word(self, word: Word, now: float) -> None:
        """Note what woke the loop; that it looked, only where nothing else did."""
        if word not in self.woken_by and (word != "look" or not self.woken_by):
            self.woken_by.append(word)
        if self.since is None:
            self.since = now

    def add_changes(self, changes: tuple[Change, ...]) -> None:
        """Note which members changed, as far as there is room."""
        room = SHOWN - len(self.members)
        self.members += [f"{change.name} {change.transition.value}" for change in changes[:room]]

    def absorb(self, later: Trace) -> None:
        """Take over what woke the loop, and who changed, while this one was thought to be done."""
        self.woken_by += [word for word in later.woken_by if word not in self.woken_by]
        self.members += later.members[: SHOWN - len(self.members)]

    def note_plan(self, now: float) -> None:
        """Note that it has just been planned what to do."""
        self.planned_at = now

    def seconds_to_plan(self, now: float) -> float:
        """From the wake-up to the plan that was carried out until `now`."""
        return (now if self.planned_at is None else self.planned_at) - self._start(now)

    def seconds_to_applied(self, now: float) -> float:
        """From the wake-up to `now`, when the plan was carried out."""
        return now - self._start(now)

    def _start(self, now: float) -> float:
        return now if self.since is None else self.since


def traces(process: str) -> Iterator[Trace]:
    """Fresh traces without end; `process` tells those of this process from others'."""
    for number in count(1):
        yield Trace(f"{process}.{number}")

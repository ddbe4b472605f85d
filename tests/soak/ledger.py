"""What became of every request, second by second, and which failures have an excuse. Pure.

Nothing grows with the number of requests but what failed: a soak may last for days.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.samples import WORDS, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.bench.samples import Sample


CUT = WORDS[Outcome.CLOSED]
"""How an answer fails that ends in the middle."""


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when; monotonic seconds."""

    begin: float
    end: float

    def holds(self, moment: float) -> bool:
        """Whether the moment is in it; the end is not."""
        return self.begin <= moment < self.end


@dataclass(frozen=True, slots=True)
class Excuse:
    """A time in which requests may fail, and the fault that gave it; `cut_only` where they may only be cut short."""

    span: Span
    fault: str
    cut_only: bool = False

    def covers(self, failure: Failure) -> bool:
        """Whether a request was under way or due in that time: one that was due after it has no excuse."""
        is_such = failure.what == CUT or not self.cut_only
        return is_such and failure.due <= self.span.end and failure.done >= self.span.begin


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that had no whole answer of status 200: when it was due, when that was known, and how it ended."""

    due: float
    done: float
    what: str


@dataclass(slots=True)
class Second:
    """The requests that were due in one second; `slowest_s` is the longest wait of those that were answered."""

    requests: int = 0
    failed: int = 0
    slowest_s: float = 0.0


@dataclass
class Ledger:
    """Takes samples as they come, and excuses as they end; `begin` is when the first second began."""

    begin: float
    seconds: list[Second] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    excuses: list[Excuse] = field(default_factory=list)
    _latest: dict[int, float] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(second.requests for second in self.seconds)

    def take(self, sample: Sample) -> None:
        """Count one request."""
        second = self._second(sample.due)
        second.requests += 1
        if sample.failed:
            second.failed += 1
            self.failures.append(Failure(sample.due, sample.done, words_of(sample)))
            return
        second.slowest_s = max(second.slowest_s, sample.latency_s)
        self._latest[sample.backend] = max(sample.sent, self._latest.get(sample.backend, 0.0))

    def latest(self, backend: int) -> float:
        """When the last request was sent that this backend answered; 0 before the first."""
        return self._latest.get(backend, 0.0)

    def excuse(self, excuse: Excuse) -> None:
        """Let requests fail in its time, afterwards."""
        self.excuses.append(excuse)

    def _second(self, due: float) -> Second:
        number = max(0, int(due - self.begin))
        while len(self.seconds) <= number:
            self.seconds.append(Second())
        return self.seconds[number]


def words_of(sample: Sample) -> str:
    """How a request failed, for people."""
    outcome = Outcome(sample.outcome)
    return f"status {sample.status}" if outcome is Outcome.STATUS else WORDS[outcome]


def kinds(failures: Iterable[Failure]) -> dict[str, int]:
    """Return how often each kind of failure was there, the most frequent first."""
    counts: dict[str, int] = {}
    for failure in failures:
        counts[failure.what] = counts.get(failure.what, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def excused(failures: Iterable[Failure], excuses: Iterable[Excuse]) -> Iterator[tuple[Failure, Excuse | None]]:
    """Yield each failure with the excuse that it has."""
    known = tuple(excuses)
    for failure in failures:
        yield failure, next((excuse for excuse in known if excuse.covers(failure)), None)

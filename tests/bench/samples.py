"""What became of one request, and how that crosses from the load generator's process to the one that measures.

Pure. Times are seconds of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Outcome(IntEnum):
    """How a request ended. Only a whole answer of status 200 is none of the failures."""

    ANSWERED = 0
    REFUSED = 1
    RESET = 2
    CLOSED = 3
    LATE = 4
    GARBLED = 5
    STATUS = 6
    UNSENT = 7


WORDS = {
    Outcome.ANSWERED: "answered",
    Outcome.REFUSED: "connection refused",
    Outcome.RESET: "connection reset",
    Outcome.CLOSED: "closed before the answer was whole",
    Outcome.LATE: "no answer in time",
    Outcome.GARBLED: "not an HTTP answer",
    Outcome.STATUS: "status other than 200",
    Outcome.UNSENT: "too many requests were open",
}


class Sample(NamedTuple):
    """One request; a named tuple, because a run has hundreds of thousands.

    `due` is when it should have been sent and `sent` when it was. `backend` is the number of the IPv4 address in the
    header `x-backend-ip` of its answer, 0 without one.
    """

    due: float
    sent: float
    done: float
    backend: int
    status: int
    outcome: int
    kept: int

    @property
    def latency_s(self) -> float:
        """How long its client waited, from when it was due: a generator that is held up must not hide that."""
        return self.done - self.due

    @property
    def failed(self) -> bool:
        """Whether it was anything but a whole answer of status 200."""
        return self.outcome != Outcome.ANSWERED


_RECORD = struct.Struct("<dddIHBB")
RECORD_SIZE = _RECORD.size


def packed(sample: Sample) -> bytes:
    """Return the sample as bytes."""
    return _RECORD.pack(*sample)


def unpacked(data: bytes) -> Iterator[Sample]:
    """Yield the samples of some whole records."""
    return map(Sample._make, _RECORD.iter_unpack(data))


def number_of(address: str) -> int:
    """Return an IPv4 address as samples have it."""
    return int(IPv4Address(address))


def failures(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return each kind of failure with its number, the most frequent first, for people."""
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.failed:
            is_status = sample.outcome == Outcome.STATUS
            text = f"status {sample.status}" if is_status else WORDS[Outcome(sample.outcome)]
            counts[text] = counts.get(text, 0) + 1
    return tuple(f"{number} x {text}" for text, number in sorted(counts.items(), key=lambda pair: -pair[1]))

"""A steady load, half on kept connections and half on new ones, that counts every request honestly.

Rules:

- Open loop: a request is due every 1/rate seconds, whatever became of the ones before.
- No retry of any kind. A request that was begun and did not end with a whole answer of status 200 has failed: refused,
  reset, closed in the middle, too late, garbled, another status. A kept connection that the server closed *before*
  the next request was written on it is replaced; that is no retry, for nothing was sent.
- Raw asyncio streams, because HTTP clients hide failures by sending again.
- Bounded: in count, in time, and to one network, 127.0.0.0/8 unless a test has hosts of its own.
- `Load` acts and only collects `Sample`s; the functions below it are pure and say what the samples mean.

Times are seconds of the event loop's clock, the monotonic one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from compose.http import LARGEST_ANSWER, Answer, GarbledAnswerError, read_answer, request_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LAST_ANSWERS_S = 6.0


class Failure(Enum):
    """Why a request failed."""

    REFUSED = "connection refused"
    RESET = "connection reset"
    CLOSED = "closed before the answer was whole"
    LATE = "no answer in time"
    GARBLED = "not an HTTP answer"
    STATUS = "status other than 200"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. `backend` and `mark` are headers of the answer; `failure` is None for a whole answer of 200."""

    sent: float
    done: float
    kept: bool
    failure: Failure | None
    status: int | None = None
    backend: str | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to ask for, how often, and for how long at most.

    `path` is asked for, with the request's number in place of `{number}`; `mark_header` names a header of the answer
    that each sample keeps. `address` has to be in `network`.
    """

    address: str
    port: int
    path: str = "/"
    network: str = "127.0.0.0/8"
    rate: float = 100.0
    timeout_s: float = 5.0
    most: int = 30_000
    longest_s: float = 300.0
    backend_header: str = "x-backend-ip"
    mark_header: str = "x-demo"

    def __post_init__(self) -> None:
        if ip_address(self.address) not in ip_network(self.network):
            raise ValueError(f"{self.address}: the load goes to {self.network} only")


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """Sends requests from `run` until it is stopped or a bound is reached; `samples` grows meanwhile."""

    def __init__(self, plan: LoadPlan) -> None:
        self.samples: list[Sample] = []
        self.plan = plan
        self._idle: deque[_Connection] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let `run` send nothing more, and return when the last answers are in."""
        self._stopping.set()

    @property
    def in_flight(self) -> int:
        """How many requests wait for their answer."""
        return len(self._in_flight)

    async def answers(self) -> None:
        """Wait for the answers to all that was sent so far, while more is sent; each comes or is late (`timeout_s`)."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=_LAST_ANSWERS_S)

    async def run(self) -> None:
        """Send, and wait for the last answers."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            for number in range(self.plan.most):
                due = begin + number / self.plan.rate
                await self._sleep_until(due)
                if self._stopping.is_set() or due - begin > self.plan.longest_s:
                    break
                self._send(number)
            if self._in_flight:
                await asyncio.wait(self._in_flight, timeout=_LAST_ANSWERS_S)
        finally:
            await self._close()

    async def _sleep_until(self, due: float) -> None:
        wait = due - asyncio.get_running_loop().time()
        if wait <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(wait):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _send(self, number: int) -> None:
        path = self.plan.path.replace("{number}", str(number))
        task = asyncio.create_task(self._one(path, kept=number % 2 == 0))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _one(self, path: str, *, kept: bool) -> None:
        """One request and the sample of it."""
        clock = asyncio.get_running_loop().time
        sent = clock()
        answer: Answer | None = None
        failure: Failure | None = None
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                answer = await self._ask(path, kept=kept)
        except TimeoutError:
            failure = Failure.LATE
        except ConnectionRefusedError:
            failure = Failure.REFUSED
        except asyncio.IncompleteReadError:
            failure = Failure.CLOSED
        except OSError:
            failure = Failure.RESET
        except GarbledAnswerError:
            failure = Failure.GARBLED
        self.samples.append(self._sample(sent, clock(), answer, failure, kept=kept))

    def _sample(
        self, sent: float, done: float, answer: Answer | None, failure: Failure | None, *, kept: bool
    ) -> Sample:
        if answer is None:
            return Sample(sent, done, kept, failure)
        if answer.status != 200:
            failure = Failure.STATUS
        get = answer.headers.get
        return Sample(
            sent, done, kept, failure, answer.status, get(self.plan.backend_header), get(self.plan.mark_header)
        )

    async def _ask(self, path: str, *, kept: bool) -> Answer:
        connection = (self._take_idle() if kept else None) or await self._connect()
        reader, writer = connection
        reusable = False
        try:
            writer.write(request_of(self.plan.address, self.plan.port, path))
            await writer.drain()
            answer = await read_answer(reader)
            reusable = kept and not answer.ends_connection
        finally:
            if not reusable:
                writer.close()
        if reusable:
            self._idle.append(connection)
        return answer

    def _take_idle(self) -> _Connection | None:
        """A kept connection on which nothing has arrived since: no end of stream, no stray byte."""
        while self._idle:
            reader, writer = self._idle.popleft()
            if not reader.at_eof() and reader.exception() is None and not writer.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _connect(self) -> _Connection:
        return await asyncio.open_connection(self.plan.address, self.plan.port, limit=LARGEST_ANSWER)

    async def _close(self) -> None:
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        while self._idle:
            self._idle.popleft()[1].close()
        await asyncio.sleep(0)  # let the transports end before the loop may


# --- what the samples mean --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of a span of time, by when they were sent; `slowest_s` is the longest wait of any of them."""

    requests: int
    failed: int
    slowest_s: float


def tally(samples: Iterable[Sample], since: float, until: float) -> Tally:
    """Count the requests sent in [since, until)."""
    span = [sample for sample in samples if since <= sample.sent < until]
    return Tally(
        requests=len(span),
        failed=sum(sample.failure is not None for sample in span),
        slowest_s=max((sample.done - sample.sent for sample in span), default=0.0),
    )


def first_answer(samples: Iterable[Sample], backend: str, since: float) -> float | None:
    """When the backend gave its first whole answer to a request sent since then."""
    times = [sample.done for sample in _answers(samples) if sample.backend == backend and sample.sent >= since]
    return min(times, default=None)


def last_answer(samples: Iterable[Sample], backend: str) -> float | None:
    """When the last request was sent that the backend answered."""
    return max((sample.sent for sample in _answers(samples) if sample.backend == backend), default=None)


def first_mark(samples: Iterable[Sample], mark: str, since: float) -> float | None:
    """When the first request since then was answered with that mark."""
    times = [sample.done for sample in _answers(samples) if sample.mark == mark and sample.sent >= since]
    return min(times, default=None)


def share(samples: Iterable[Sample], backend: str, since: float, until: float) -> float:
    """Which part of the answers to requests of [since, until) the backend gave; 0 when there are none."""
    span = [sample for sample in _answers(samples) if since <= sample.sent < until]
    return sum(sample.backend == backend for sample in span) / len(span) if span else 0.0


def settled_below(samples: Sequence[Sample], backend: str, since: float, window_s: float, limit: float) -> float | None:
    """When the first whole window of requests began in which the backend's share was below the limit."""
    answers = sorted((sample.sent, sample.backend) for sample in _answers(samples) if sample.sent >= since)
    end = 0
    ours = 0
    for begin, (sent, _) in enumerate(answers):
        while end < len(answers) and answers[end][0] < sent + window_s:
            ours += answers[end][1] == backend
            end += 1
        if end == len(answers):
            return None
        if ours < limit * (end - begin):
            return sent
        ours -= answers[begin][1] == backend
    return None


def failures(samples: Iterable[Sample], since: float, until: float) -> tuple[str, ...]:
    """Each kind of failure in the span with its number, the most frequent first, for people."""
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.failure is not None and since <= sample.sent < until:
            text = f"status {sample.status}" if sample.failure is Failure.STATUS else sample.failure.value
            counts[text] = counts.get(text, 0) + 1
    return tuple(f"{number} x {text}" for text, number in sorted(counts.items(), key=lambda pair: -pair[1]))


def recent(samples: Sequence[Sample], since: float) -> tuple[Sample, ...]:
    """The samples done since then; looks from the end, so that its cost does not grow with the run."""
    found: list[Sample] = []
    for sample in reversed(samples):
        if sample.done < since:
            break
        found.append(sample)
    return tuple(found)


def _answers(samples: Iterable[Sample]) -> Iterable[Sample]:
    return (sample for sample in samples if sample.failure is None)

"""The load: an open loop of GET requests that counts every one, as a process of its own.

`python -m tests.bench.generator ADDRESS PORT RATE [SECONDS]` sends until its standard input ends, for so many seconds
at most, waits for the last answers, and writes each request as a record (`samples`) to standard output.

Rules:

- Open loop: a request is due every 1/RATE seconds, whatever became of the ones before, and its wait counts from when
  it was due. So a proxy that stalls is charged for all requests that should have been sent meanwhile.
- Every second request goes on a kept connection, of which there are `_KEPT`, used in turn; the others each open one.
- No retry of any kind. A request that was begun and did not end with a whole answer of status 200 has failed. A kept
  connection that the server closed before the next request was written on it is replaced; nothing was sent on that.
- Bounded in time, and so in count, in open requests, and to 127.0.0.0/8.

Existing tools fall short of that: `wrk` is a closed loop and counts no connection that ends early, `ab` is a closed
loop, and of the open ones in Debian none tells which server answered each request and when.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import re
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import cycle

from tests.bench.event_loop import READABLE, WRITABLE, Poller, leave_the_end_to_the_parent
from tests.bench.samples import Outcome, Sample, number_of, packed

TIMEOUT_S = 5.0
LONGEST_S = 600.0
PIPE_SIZE = 1024 * 1024

_LOOPBACK = ip_network("127.0.0.0/8")
_KEPT = 64
_MOST_OPEN = 4_000
_ORDERS = 0
_RECORDS = 1
_FLUSH_S = 0.005
_LARGEST_READ = 65_536
_LARGEST_ANSWER = 1_000_000
# Each has 28,000 ports of its own: connections that were closed keep theirs for a minute.
_SOURCES = tuple(f"127.0.1.{number}" for number in range(1, 65))

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BACKEND = re.compile(rb"\r\nx-backend-ip: *([0-9.]+)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")

_RESULT_OF = {errno.ECONNREFUSED: Outcome.REFUSED, errno.ECONNRESET: Outcome.RESET, errno.EPIPE: Outcome.RESET}


@dataclass(slots=True, eq=False)
class _Line:
    """A connection, and the request on it while `busy`."""

    socket: socket.socket
    kept: bool
    busy: bool = True
    connected: bool = False
    due: float = 0.0
    sent: float = 0.0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class _Answer:
    outcome: Outcome
    status: int
    backend: int
    closes: bool


def read_answer(data: bytes, *, ended: bool) -> _Answer | None:
    """Understand an answer; `None` while it is not whole. `ended` says that nothing will follow."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return _Answer(Outcome.CLOSED, 0, 0, closes=True) if ended or len(data) > _LARGEST_ANSWER else None
    head = data[: head_end + 2]
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if status is None or (length is None and not _CLOSE.search(head)):
        return _Answer(Outcome.GARBLED, 0, 0, closes=True)
    if length is None and not ended:
        return None
    if length is not None and len(data) < head_end + 4 + int(length[1]):
        return _Answer(Outcome.CLOSED, int(status[1]), 0, closes=True) if ended else None
    backend = _BACKEND.search(head)
    return _Answer(
        Outcome.ANSWERED if status[1] == b"200" else Outcome.STATUS,
        int(status[1]),
        number_of(backend[1].decode()) if backend else 0,
        closes=_CLOSE.search(head) is not None,
    )


class Generator:
    """Sends, and writes what became of it."""

    def __init__(self, address: str, port: int, rate: float, longest_s: float = LONGEST_S) -> None:
        if ip_address(address) not in _LOOPBACK:
            raise ValueError(f"{address}: the load goes to {_LOOPBACK} only")
        self._longest_s = longest_s
        self._target = (address, port)
        self._interval = 1.0 / rate
        self._request = f"GET / HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: bench\r\n\r\n".encode()
        self._poller = Poller()
        self._lines: dict[int, _Line] = {}
        self._idle: deque[_Line] = deque()
        self._kept = 0
        self._in_flight: deque[tuple[float, _Line]] = deque()
        self._open = 0
        self._sources = cycle(_SOURCES)
        self._records = bytearray()
        self._flush_at = 0.0

    def run(self) -> None:
        """Send until told to stop, then wait for the last answers, but no longer than for any."""
        self._poller.watch(_ORDERS)
        begin = time.monotonic()
        due, number, stopping = begin, 0, False
        while True:
            now = time.monotonic()
            while not stopping and due <= now:
                self._launch(due, kept=number % 2 == 0)
                number += 1
                due = begin + number * self._interval
            stopping = stopping or now - begin > self._longest_s
            self._expire(now)
            self._flush(now)
            if stopping and not self._open:
                break
            wait = min(due - time.monotonic(), _FLUSH_S) if not stopping else _FLUSH_S
            for file, _ in self._poller.ready(wait):
                if file == _ORDERS:
                    self._poller.forget(_ORDERS)
                    stopping = True
                elif file in self._lines:
                    self._progress(self._lines[file])
        self._flush(float("inf"))

    # --- one request --------------------------------------------------------------------------------------------

    def _launch(self, due: float, *, kept: bool) -> None:
        if self._open >= _MOST_OPEN:
            now = time.monotonic()
            self._record(Sample(due, now, now, 0, 0, Outcome.UNSENT, kept))
            return
        line = self._idle.popleft() if kept and self._idle and self._kept >= _KEPT else None
        try:
            line = line or self._connect(kept=kept)
        except OSError as error:
            now = time.monotonic()
            self._record(Sample(due, now, now, 0, 0, _RESULT_OF.get(error.errno or 0, Outcome.RESET), kept))
            return
        line.busy, line.due, line.sent, line.data = True, due, time.monotonic(), b""
        self._open += 1
        self._in_flight.append((due, line))
        self._send(line)

    def _connect(self, *, kept: bool) -> _Line:
        connection = socket.socket()
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The port is chosen at connect, where it need be free only towards this target.
            connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((next(self._sources), 0))
            with suppress(BlockingIOError):
                connection.connect(self._target)
            self._poller.watch(connection)
        except OSError:
            connection.close()
            raise
        line = self._lines[connection.fileno()] = _Line(connection, kept)
        self._kept += kept
        return line

    def _send(self, line: _Line) -> None:
        """Send now: over loopback a connection usually stands when `connect` returns. Where not, when it does."""
        try:
            line.socket.send(self._request)
        except BlockingIOError:
            self._poller.change(line.socket, WRITABLE)
        except OSError as error:
            self._end(line, _RESULT_OF.get(error.errno or 0, Outcome.RESET))
        else:
            line.connected = True

    def _progress(self, line: _Line) -> None:
        if not line.connected:
            self._poller.change(line.socket, READABLE)
            self._send(line)
            return
        try:
            data = line.socket.recv(_LARGEST_READ)
        except BlockingIOError:
            return
        except OSError as error:
            if line.busy:
                self._end(line, _RESULT_OF.get(error.errno or 0, Outcome.RESET))
            else:
                self._drop(line)
            return
        if not line.busy:
            self._drop(line)  # closed, or spoke, before anything was asked
            return
        line.data += data
        answer = read_answer(line.data, ended=not data)
        if answer is not None:
            self._finish(line, answer, ended=not data)

    def _finish(self, line: _Line, answer: _Answer, *, ended: bool) -> None:
        self._record_end(line, answer.outcome, answer)
        if line.kept and not ended and not answer.closes:
            line.busy = False
            self._idle.append(line)
        else:
            self._drop(line)

    def _end(self, line: _Line, outcome: Outcome) -> None:
        self._record_end(line, outcome, None)
        self._drop(line)

    def _record_end(self, line: _Line, outcome: Outcome, answer: _Answer | None) -> None:
        self._open -= 1
        status, backend = (answer.status, answer.backend) if answer else (0, 0)
        self._record(Sample(line.due, line.sent, time.monotonic(), backend, status, outcome, line.kept))

    def _drop(self, line: _Line) -> None:
        if self._lines.pop(line.socket.fileno(), None) is None:
            return
        self._kept -= line.kept
        line.socket.close()
        if not line.busy:
            self._idle.remove(line)
        line.busy = False

    def _expire(self, now: float) -> None:
        """Give up on what has been open for too long; they stand in the order in which they were due."""
        while self._in_flight:
            due, line = self._in_flight[0]
            if line.busy and line.due == due:
                if now - due < TIMEOUT_S:
                    return
                self._end(line, Outcome.LATE)
            self._in_flight.popleft()

    # --- records ------------------------------------------------------------------------------------------------

    def _record(self, sample: Sample) -> None:
        self._records += packed(sample)

    def _flush(self, now: float) -> None:
        if self._records and now >= self._flush_at:
            self._flush_at = now + _FLUSH_S
            data = memoryview(bytes(self._records))
            self._records.clear()
            while data:
                data = data[os.write(_RECORDS, data) :]


_IP_BIND_ADDRESS_NO_PORT = 24
"""Linux' number; the socket module of Python 3.11 has no name for it."""


def main(address: str, port: str, rate: str, longest_s: str = str(LONGEST_S)) -> None:
    """Send to this address at this rate, for so many seconds at most."""
    leave_the_end_to_the_parent()
    gc.disable()  # nothing here makes circles, and a collection is a pause
    fcntl.fcntl(_RECORDS, fcntl.F_SETPIPE_SZ, PIPE_SIZE)  # so that a busy reader does not hold us up
    Generator(address, int(port), float(rate), float(longest_s)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The bench's own processes, as the one that measures sees them: the web servers, and the load."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import IO, AnyStr, Self

from tests.bench.samples import RECORD_SIZE, Sample, number_of, unpacked

WEB_PORT = 3000
"""Where every web node listens, each on its own address."""

STOP_S = 15.0
_RECORDS_AT_ONCE = 2048


class WebFarm:
    """Web servers that share one process; `with WebFarm() as farm: farm.open("127.77.0.1")`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.web", str(WEB_PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._one_at_a_time = threading.Lock()

    def open(self, address: str) -> None:
        """Start a web server on this address."""
        self._order(f"open {address}")

    def close_site(self, address: str) -> None:
        """Stop the one on this address in order."""
        self._order(f"close {address}")

    def _order(self, line: str) -> None:
        with self._one_at_a_time:
            orders, answers = _piped(self._process.stdin), _piped(self._process.stdout)
            orders.write(f"{line}\n")
            orders.flush()
            answer = answers.readline().strip()
        if answer != "done":
            raise RuntimeError(f"web servers: {line}: {answer or 'ended'}")

    def kill(self) -> None:
        """End all of them at once, as a crash would."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End the process; twice is fine."""
        _ask_to_end(self._process)
        _piped(self._process.stdout).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Traffic:
    """A load on one address while the context lasts; `samples` grows meanwhile and is whole afterwards."""

    def __init__(self, target: tuple[str, int], rate: float) -> None:
        self.samples: list[Sample] = []
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.generator", *map(str, target), str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)

    def first_answer(self, address: str) -> float | None:
        """When this backend's first answer came; `None` as long as there is none."""
        return self._first.get(number_of(address))

    def last_request(self, address: str) -> float | None:
        """When the last request was sent that this backend answered."""
        return self._last.get(number_of(address))

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _ask_to_end(self._process)
        self._reader.join(STOP_S)
        _piped(self._process.stdout).close()
        if self._process.returncode and kind is None:
            raise RuntimeError(f"the load generator ended with exit code {self._process.returncode}")

    def _read(self) -> None:
        records = _piped(self._process.stdout).fileno()
        rest = b""
        # From the file itself, which gives what is there: an answer should be known when it came.
        while data := os.read(records, _RECORDS_AT_ONCE * RECORD_SIZE):
            data = rest + data
            whole = len(data) - len(data) % RECORD_SIZE
            rest = data[whole:]
            for sample in unpacked(data[:whole]):
                self._take(sample)

    def _take(self, sample: Sample) -> None:
        self.samples.append(sample)
        if not sample.failed:
            self._first.setdefault(sample.backend, sample.done)
            self._last[sample.backend] = max(sample.sent, self._last.get(sample.backend, 0.0))


def wait_for_answers(traffic: Traffic, within_s: float) -> None:
    """Wait until requests are answered.

    Raises:
        TimeoutError: none was.
    """
    give_up_at = time.monotonic() + within_s
    while not any(not sample.failed for sample in traffic.samples[-50:]):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"no request was answered within {within_s:g} s")
        time.sleep(0.01)


def _piped(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    """A stream that was asked for as a pipe."""
    if stream is None:
        raise RuntimeError("not a pipe")
    return stream


def _ask_to_end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Close its input, which asks it to finish, and kill it if it does not."""
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

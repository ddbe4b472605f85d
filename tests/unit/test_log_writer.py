"""The writer of log lines, on a real pipe whose reader stands still."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import structlog
from structlog.testing import capture_logs

from rosterd.log_writer import MAX_QUEUED_BYTES, LogWriter, report_dropped

LINE = "x" * 99 + "\n"
PIPE_BYTES = 4096
WITHIN_S = 30.0


@dataclass
class Pipe:
    """A pipe that holds one page, and the writers that the test has put on it."""

    read_end: int
    write_end: int
    writers: list[LogWriter] = field(default_factory=list)

    def writer(self, max_queued_bytes: int = MAX_QUEUED_BYTES) -> LogWriter:
        """Start a writer."""
        writer = LogWriter(self.write_end, max_queued_bytes)
        self.writers.append(writer)
        return writer

    def fill(self) -> None:
        """Leave no room, so that the first line waits already."""
        os.write(self.write_end, b"-" * PIPE_BYTES)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe; in the end no thread writes to it any more, or it would write to what has its number next."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    made = Pipe(read_end, write_end)
    yield made
    os.close(read_end)  # a write that waits fails now
    for writer in made.writers:
        writer.close(WITHIN_S)
        assert writer.has_ended
    os.close(write_end)


def read_all(descriptor: int, size: int) -> bytes:
    """Read exactly so many bytes."""
    found = b""
    while len(found) < size:
        readable, _, _ = select.select([descriptor], [], [], WITHIN_S)
        assert readable, f"{len(found)} of {size} bytes have come"
        found += os.read(descriptor, size - len(found))
    return found


def test_lines_arrive_whole_and_in_order(pipe: Pipe) -> None:
    read_end, writer = pipe.read_end, pipe.writer()
    lines = [f"line {number} ü\n" for number in range(2000)]
    expected = "".join(lines).encode()
    reading: list[bytes] = []
    reader = threading.Thread(target=lambda: reading.append(read_all(read_end, len(expected))))
    reader.start()
    for line in lines:
        writer.write(line)
    writer.close(WITHIN_S)
    reader.join(WITHIN_S)
    assert reading == [expected]
    assert writer.take_dropped() == 0


def test_reader_that_stands_still_blocks_no_writer(pipe: Pipe) -> None:
    """The queue takes what it has room for; the rest is dropped, counted once, and later lines are written again."""
    pipe.fill()
    read_end, writer = pipe.read_end, pipe.writer(10 * len(LINE))
    sent = 500
    for _ in range(sent):
        assert writer.write(LINE) == len(LINE)
    assert writer.is_congested
    dropped = writer.take_dropped()
    assert 0 < dropped < sent
    assert writer.take_dropped() == 0
    kept = read_all(read_end, PIPE_BYTES + (sent - dropped) * len(LINE))
    assert kept[PIPE_BYTES:] == LINE.encode() * (sent - dropped)
    writer.write("after\n")
    assert read_all(read_end, 6) == b"after\n"


def test_close_gives_up_on_a_reader_that_stands_still(pipe: Pipe) -> None:
    writer = pipe.writer()
    for _ in range(PIPE_BYTES // len(LINE) + 10):
        writer.write(LINE)
    began = time.monotonic()
    writer.close(0.2)
    assert time.monotonic() - began < 10.0
    writer.write(LINE)
    assert writer.take_dropped() == 1


def test_closed_pipe_loses_lines_and_not_the_caller() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    writer = LogWriter(write_end)
    writer.write(LINE)
    writer.write(LINE)
    writer.close(WITHIN_S)
    assert writer.has_ended
    assert writer.take_dropped() == 2
    os.close(write_end)


async def test_dropped_lines_are_counted_and_reported(pipe: Pipe) -> None:
    """One event when it begins, one with the number of missing lines when the log is written again."""
    pipe.fill()
    read_end, writer = pipe.read_end, pipe.writer(10 * len(LINE))
    counted: list[int] = []
    structlog.reset_defaults()
    with capture_logs() as events:
        task = asyncio.create_task(report_dropped(writer, counted.append, every_s=0.01))
        for _ in range(500):
            writer.write(LINE)
        await until(lambda: len(events) == 1)
        dropped = sum(counted)
        await asyncio.to_thread(read_all, read_end, PIPE_BYTES + (500 - dropped) * len(LINE))
        await until(lambda: len(events) == 2)
        task.cancel()
    assert [event["event"] for event in events] == ["log.dropped", "log.dropped"]
    assert events[1]["lines"] == dropped > 0


async def until(holds: object) -> None:
    """Wait until it holds."""
    assert callable(holds)
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110  the writer's thread sets no event of the loop
            await asyncio.sleep(0.01)

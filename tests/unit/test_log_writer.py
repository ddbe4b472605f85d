"""The writer of log lines, on a real pipe whose reader stands still."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from rosterd.log_writer import LogWriter, report_dropped

LINE = "x" * 99 + "\n"
PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that holds one page; the test closes neither end."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def read_all(descriptor: int, size: int) -> bytes:
    """Read exactly so many bytes."""
    found = b""
    while len(found) < size:
        found += os.read(descriptor, size - len(found))
    return found


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    writer = LogWriter(write_end)
    lines = [f"line {number} ü\n" for number in range(2000)]
    expected = "".join(lines).encode()
    reading: list[bytes] = []
    reader = threading.Thread(target=lambda: reading.append(read_all(read_end, len(expected))))
    reader.start()
    for line in lines:
        writer.write(line)
    writer.close(30.0)
    reader.join(30.0)
    assert reading == [expected]
    assert writer.take_dropped() == 0


def test_reader_that_stands_still_blocks_no_writer(pipe: tuple[int, int]) -> None:
    """The queue takes what it has room for; the rest is dropped, counted once, and later lines are written again."""
    read_end, write_end = pipe
    writer = LogWriter(write_end, max_queued_bytes=10 * len(LINE))
    sent = 500
    for _ in range(sent):
        assert writer.write(LINE) == len(LINE)
    assert writer.is_congested
    dropped = writer.take_dropped()
    assert 0 < dropped < sent
    assert writer.take_dropped() == 0
    kept = read_all(read_end, (sent - dropped) * len(LINE))
    assert kept == LINE.encode() * (sent - dropped)
    writer.write("after\n")
    assert read_all(read_end, 6) == b"after\n"


def test_close_gives_up_on_a_reader_that_stands_still(pipe: tuple[int, int]) -> None:
    _, write_end = pipe
    writer = LogWriter(write_end)
    for _ in range(PIPE_BYTES // len(LINE) + 10):
        writer.write(LINE)
    began = time.monotonic()
    writer.close(0.2)
    assert time.monotonic() - began < 10.0
    writer.write(LINE)
    assert writer.take_dropped() == 1


def test_closed_pipe_loses_lines_and_not_the_caller(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    copy = os.dup(write_end)
    other_read, other_write = os.pipe()
    os.close(other_read)
    os.dup2(other_write, copy)
    writer = LogWriter(copy)
    writer.write(LINE)
    writer.write(LINE)
    writer.close(10.0)
    assert writer.take_dropped() == 2
    os.close(other_write)
    os.close(copy)
    del read_end


async def test_dropped_lines_are_counted_and_reported(pipe: tuple[int, int]) -> None:
    """One event when it begins, one with the number of missing lines when the log is written again."""
    read_end, write_end = pipe
    os.write(write_end, b"-" * PIPE_BYTES)  # full: the first line waits already
    writer = LogWriter(write_end, max_queued_bytes=10 * len(LINE))
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
    async with asyncio.timeout(30.0):
        while not holds():  # noqa: ASYNC110  the writer's thread sets no event of the loop
            await asyncio.sleep(0.01)

"""A reader of the daemon's log that stands still: the daemon serves on, and ends when it is asked to."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.balancer import Balancer

ENDS_WITHIN_S = 30.0


@contextmanager
def reader_that_stands_still(path: Path) -> Iterator[int]:
    """Make a full pipe at `path`; return its read end, which only the test reads."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        while True:
            try:
                os.write(descriptor, b"-" * 4096)
            except BlockingIOError:
                break
        yield descriptor
    finally:
        os.close(descriptor)


def test_daemon_serves_and_stops_while_its_log_reader_stands_still(tmp_path: Path) -> None:
    pipe = tmp_path / "log-pipe"
    with reader_that_stands_still(pipe), Balancer(tmp_path) as balancer:
        balancer.daemon.prefix = ("sh", "-c", 'exec "$@" 2>"$0"', str(pipe))
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        with balancer.traffic():
            late = balancer.add_web()
            balancer.wait_served(web, late)
            assert balancer.daemon.status()["ready"] is True
        assert balancer.daemon.end(signal.SIGTERM, ENDS_WITHIN_S) == 0

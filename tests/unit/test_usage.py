"""What a process uses, beside what else tells of it."""

from __future__ import annotations

import os
import resource
import time

from rosterd.usage import usage


def test_it_agrees_with_the_system() -> None:
    """Processor time, descriptors, their limit; memory is some, and the start lies in the past."""
    before = time.process_time()
    found = usage()
    after = time.process_time()
    assert found is not None
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert before - 2 * tick <= found.cpu_s <= after + 2 * tick
    assert found.most_fds == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 1_000_000 < found.resident_bytes < found.virtual_bytes
    assert 0 < time.time() - found.started_at < 24 * 3600


def test_an_open_descriptor_is_one_more() -> None:
    """The one by which they are listed does not count."""
    before = usage()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        after = usage()
    finally:
        os.close(descriptor)
    assert before is not None
    assert after is not None
    assert after.open_fds == before.open_fds + 1

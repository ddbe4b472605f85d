"""Processes that stand still, as those of a machine that is being moved."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

STANDS_WITHIN_S = 10.0


def freeze(pid: int) -> None:
    """Stop a process (SIGSTOP), and return when none of its threads runs any more.

    The kernel stops each thread by itself: right after the signal, an agent with many of them still answers.

    Raises:
        TimeoutError: a thread runs after `STANDS_WITHIN_S`.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + STANDS_WITHIN_S
    while not _stands_still(pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} still runs {STANDS_WITHIN_S} s after SIGSTOP")
        time.sleep(0.002)


def _stands_still(pid: int) -> bool:
    tasks = (Path("/proc") / str(pid) / "task").glob("*/stat")
    return all(task.read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "TtZX" for task in tasks)

"""What a process has used, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds of a process, and of those of its children that have ended and were waited for."""

    own_s: float
    children_s: float


def usage(pid: int) -> Usage:
    """Read what a process has used so far; the kernel counts in hundredths of a second."""
    # The name, in parentheses, may hold anything; the fields after it are numbered from 3.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    user, system, children_user, children_system = (int(fields[number - 3]) for number in (14, 15, 16, 17))
    return Usage((user + system) / _TICKS_PER_S, (children_user + children_system) / _TICKS_PER_S)


def rss_mb(pid: int) -> float:
    """Read how much memory a process holds, in millions of bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / _BYTES_PER_MB
    raise ProcessLookupError(f"process {pid} has no memory any more")


def children_of(pid: int) -> frozenset[int]:
    """Read the pids of a process' children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return frozenset(map(int, text.split()))

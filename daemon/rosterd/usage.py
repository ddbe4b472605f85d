"""What this process uses, as the kernel counts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds, memory and descriptors; `started_at` is in seconds since 1970."""

    cpu_s: float
    resident_bytes: int
    virtual_bytes: int
    open_fds: int
    most_fds: int
    started_at: float


def usage() -> Usage | None:
    """Read it; None where there is no /proc to read."""
    try:
        # The name, in parentheses, may hold anything; the fields after it are numbered from 3.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        kernel = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208  names are enough
    except OSError:
        return None
    booted_at = next(int(line.split()[1]) for line in kernel if line.startswith("btime "))
    user, system, started, virtual, resident = (int(fields[number - 3]) for number in (14, 15, 22, 23, 24))
    return Usage(
        cpu_s=(user + system) / _TICKS_PER_S,
        resident_bytes=resident * _PAGE_BYTES,
        virtual_bytes=virtual,
        open_fds=len(descriptors) - 1,  # without the one that listed them
        most_fds=getrlimit(RLIMIT_NOFILE)[0],
        started_at=booted_at + started / _TICKS_PER_S,
    )

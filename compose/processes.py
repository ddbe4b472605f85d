"""The processes of a node, found and ended by their ids.

A node's supervisord is started as the leader of a session, and every process below it stays in that session, so the
session is the node. A process counts only if it was also started with the node's `NODE_RUN`: a session number that
the kernel has given to somebody else since then is never touched. Linux only: it reads /proc.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")

_KILLED_WITHIN_S = 5.0
"""A process that is killed ends within milliseconds, unless it waits for a disk."""


def processes_of(session: int, run: Path) -> tuple[int, ...]:
    """The living processes of a node, its supervisord first; none when the node is gone."""
    marker = b"NODE_RUN=" + os.fsencode(run)
    found = [pid for pid in _pids() if _session_of(pid) == session and marker in _environment(pid)]
    return tuple(sorted(found, key=lambda pid: (pid != session, pid)))


def executables_of(session: int, run: Path) -> frozenset[Path]:
    """The program files that the living processes of a node run."""
    found: set[Path] = set()
    for pid in processes_of(session, run):
        with contextlib.suppress(OSError):  # a process may have ended since
            found.add((_PROC / str(pid) / "exe").readlink())
    return frozenset(found)


def signal_process(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that has just ended is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_processes(session: int, run: Path) -> None:
    """SIGKILL to every process of a node, supervisord first so that it starts nothing anew; waits for the ends."""
    give_up_at = time.monotonic() + _KILLED_WITHIN_S
    while pids := processes_of(session, run):  # a process may be born between the look and the signal
        for pid in pids:
            signal_process(pid, signal.SIGKILL)
        if time.monotonic() > give_up_at:
            return
        time.sleep(0.01)


def socket_inodes(pids: Iterable[int]) -> frozenset[int]:
    """The sockets that these processes have open; a process that has just ended has none."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    name = str(file.readlink())
                    if name.startswith("socket:["):
                        found.add(int(name[len("socket:[") : -1]))
    return frozenset(found)


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _session_of(pid: int) -> int | None:
    """The session of a process, None when it is gone or only waits to be reaped."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; after it come state, parent, group, session.
    state, _parent, _group, session = stat.rpartition(")")[2].split()[:4]
    return None if state in "ZX" else int(session)


def _environment(pid: int) -> list[bytes]:
    """The variables that a process was started with."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []

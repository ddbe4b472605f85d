"""HAProxy's master process as the kernel of this machine shows it: whether it lives, what it sees and may do.

Rules:

- The process is found by the socket that it listens on, not by the number that it has in its own process namespace.
- What the kernel does not show (another machine's process, `hidepid`, a lack of rights) stays unknown, and an unknown
  value is never a reason to act.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_PROC = Path("/proc")
_CREDENTIALS = struct.Struct("3i")
_ENDED = frozenset("ZX")
_STOPPED = "T"


@dataclass(frozen=True, slots=True)
class MasterProcess:
    """One process: its number here, and the moment of its start, which no later process of the same number has."""

    pid: int
    started: str

    @property
    def has_ended(self) -> bool:
        """True if the kernel has ended this process, also when its parent has not taken its exit status yet."""
        found = _state_and_start(self.pid)
        return found is None or found[0] in _ENDED or found[1] != self.started

    @property
    def stderr(self) -> str:
        """What its standard error is, as the kernel names it: a path, `pipe:[…]`; empty where that is not shown."""
        return _target(_PROC / str(self.pid) / "fd" / "2")


def listening_process(path: Path) -> MasterProcess | None:
    """Return the process that listens on the unix socket at `path`; None where this machine does not show it."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(str(path))
            packed = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    pid = _CREDENTIALS.unpack(packed)[0]
    found = _state_and_start(pid) if pid > 0 else None
    return None if found is None or found[0] in _ENDED else MasterProcess(pid, found[1])


def continue_stopped(pids: Iterable[int]) -> tuple[int, ...]:
    """Let stopped processes go on, so that they receive the signal that waits for them; return those it was sent to.

    A stopped worker that was asked to end keeps its listeners, and clients that it accepts wait without an answer.
    """
    continued = []
    for pid in pids:
        found = _state_and_start(pid)
        if found is not None and found[0] == _STOPPED:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)
                continued.append(pid)
    return tuple(continued)


def _state_and_start(pid: int) -> tuple[str, str] | None:
    """Return the state and the start time of a process; None when the kernel shows no such process."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses, and may itself hold blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else None


# --- what it sees and may do ------------------------------------------------------------------------------------


class Capability(IntEnum):
    """Rights of a process that the start of HAProxy may need; the numbers are those of the kernel."""

    SETGID = 6
    SETUID = 7
    NET_BIND_SERVICE = 10
    SYS_CHROOT = 18
    SYS_RESOURCE = 24


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process sees and may do. None is what the kernel does not show."""

    root: Path
    """Where its root directory is, as this process sees it."""
    directory: Path | None
    uid: int | None
    gid: int | None
    capabilities: int | None
    max_open_files: int | None
    is_in_other_network: bool

    def path(self, text: str) -> Path | None:
        """Where the path of the process is to be found from here; None where that is not known."""
        if text.startswith("/"):
            return self.root / text.lstrip("/")
        return None if self.directory is None else self.directory / text

    def lacks(self, right: Capability) -> bool:
        """True if the process certainly does not have this right."""
        return self.capabilities is not None and not self.capabilities >> right & 1

    def cannot_write(self, folder: str) -> bool:
        """True if the process certainly may not create files there: known only for one of the same user as this."""
        path = self.path(folder)
        if path is None or self.uid is None or self.uid != os.geteuid() or self.uid == 0:
            return False
        return not os.access(path, os.W_OK | os.X_OK)


def surroundings_of(process: MasterProcess) -> Surroundings:
    """Look at what a process sees and may do."""
    home = _PROC / str(process.pid)
    status = _status(home)
    return Surroundings(
        # Without the right to follow these links, its root is taken for ours: services rarely have another one.
        root=home / "root" if _target(home / "root") else Path("/"),
        directory=home / "cwd" if _target(home / "cwd") else None,
        uid=_first_number(status.get("Uid", "")),
        gid=_first_number(status.get("Gid", "")),
        capabilities=int(status["CapEff"], 16) if "CapEff" in status else None,
        max_open_files=_max_open_files(home),
        is_in_other_network=_target(home / "ns" / "net") not in ("", _target(_PROC / "self" / "ns" / "net")),
    )


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _status(home: Path) -> dict[str, str]:
    try:
        lines = (home / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _first_number(text: str) -> int | None:
    first = text.split()[:1]
    return int(first[0]) if first and first[0].isdecimal() else None


def _max_open_files(home: Path) -> int | None:
    """The hard limit; None where the kernel does not show it, or sets none."""
    try:
        lines = (home / "limits").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("Max open files")]
    return int(found[0][4]) if found and found[0][4].isdecimal() else None

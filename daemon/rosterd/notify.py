"""What the daemon tells the service manager that started it: systemd, or whoever speaks its protocol.

Rules:

- Without NOTIFY_SOCKET in the environment nothing is told.
- Told once: a state or a status that has not changed is no news. A sign of life is no state.
- A manager that does not listen costs nothing: datagrams that cannot be sent are dropped.

Source: sd_notify(3). The protocol is one datagram of KEY=VALUE lines, less than what a library for it would cost.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping

_MICROSECONDS = 1_000_000


class Notifier:
    """Tells the service manager how the daemon is."""

    def __init__(self, environ: Mapping[str, str], pid: int, clock: Callable[[], float]) -> None:
        """Take address and deadline from the environment of the process `pid`; `clock` is monotonic seconds."""
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.alive_every_s = _watchdog_s(environ, pid) / 2
        """How often `alive` should be told; 0 for never."""
        self._clock = clock
        self._state = ""
        self._status = ""

    def ready(self) -> None:
        """The first complete state is in force; or settings were read again."""
        self._enter("READY=1")

    def reloading(self) -> None:
        """Settings and template are being read again."""
        self._enter(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock() * _MICROSECONDS)}")

    def stopping(self) -> None:
        """The daemon is on its way out."""
        self._enter("STOPPING=1")

    def status(self, text: str) -> None:
        """How things are, as one line for people."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """The loop turns."""
        self._send("WATCHDOG=1")

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._send(state)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)
            manager.sendto(text.encode(), self._address)


def _address(text: str) -> str:
    """The path of a socket, or one in the abstract name space, which begins with `@`."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """How often at least a sign of life is awaited of this process; 0 for never."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    try:
        return max(0, int(environ.get("WATCHDOG_USEC", "0"))) / _MICROSECONDS
    except ValueError:
        return 0.0

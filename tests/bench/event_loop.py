"""Waiting on many sockets with a deadline finer than a millisecond, for the bench's own generator and web servers.

asyncio costs some 100 µs a request, which at 3,000 requests a second would be a third of a core for each side: these
processes share two cores with what they measure. `epoll` itself counts in milliseconds, which is several requests at
that rate; but an epoll is a file too, and `select` counts in microseconds.
"""

from __future__ import annotations

import select
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT


class Poller:
    """The sockets that are waited for, by file number."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def watch(self, file: socket.socket | int, events: int = READABLE) -> None:
        """Wait for this from now on."""
        self._epoll.register(file, events)

    def change(self, file: socket.socket | int, events: int) -> None:
        """Wait for something else on it."""
        self._epoll.modify(file, events)

    def forget(self, file: socket.socket | int) -> None:
        """Wait for it no longer; one that is closed is forgotten by itself."""
        self._epoll.unregister(file)

    def ready(self, wait_s: float | None) -> list[tuple[int, int]]:
        """Return what is ready, at the latest after so many seconds; `None` waits for ever."""
        if wait_s is None or wait_s > 0:
            select.select([self._epoll], [], [], wait_s)
        return self._epoll.poll(0)


def leave_the_end_to_the_parent() -> None:
    """Ignore Ctrl-C, which reaches the whole group: the parent closes our standard input when it is done with us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""What the service manager is told, on a socket that is its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosterd.notify import Notifier

PID = 7


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def told(manager: socket.socket) -> list[str]:
    """Return what has arrived."""
    found = []
    try:
        while True:
            found.append(manager.recv(4096).decode())
    except BlockingIOError:
        return found


def notifier(manager: socket.socket, clock: Clock, **environ: str) -> Notifier:
    """Return one that tells this manager."""
    return Notifier({"NOTIFY_SOCKET": manager.getsockname(), **environ}, PID, clock)


def test_states_are_told_once(manager: socket.socket, clock: Clock) -> None:
    """In the manager's words; the time of a reload lets it tell this one from another."""
    tells = notifier(manager, clock)
    for _ in range(2):
        tells.ready()
    tells.reloading()
    tells.ready()
    tells.stopping()
    assert told(manager) == ["READY=1", "RELOADING=1\nMONOTONIC_USEC=100000000", "READY=1", "STOPPING=1"]


def test_a_status_is_told_when_it_is_news(manager: socket.socket, clock: Clock) -> None:
    """One line."""
    tells = notifier(manager, clock)
    for text in ("2 servers", "2 servers", "3 servers"):
        tells.status(text)
    assert told(manager) == ["STATUS=2 servers", "STATUS=3 servers"]


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({"WATCHDOG_USEC": "2000000"}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_signs_of_life(manager: socket.socket, clock: Clock, environ: dict[str, str], every_s: float) -> None:
    """Twice in each deadline; never where nobody waits for them, or for another process."""
    tells = notifier(manager, clock, **environ)
    assert tells.alive_every_s == every_s
    tells.alive()
    tells.alive()
    assert told(manager) == ["WATCHDOG=1", "WATCHDOG=1"]


@pytest.mark.parametrize("address", ["", "relative", "/nobody/listens/here"])
def test_a_manager_that_is_not_there(clock: Clock, address: str) -> None:
    """It costs nothing."""
    tells = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}, PID, clock)
    tells.ready()
    tells.alive()


def test_a_manager_in_the_abstract_name_space(clock: Clock) -> None:
    """Its address begins with an at sign."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0rosterd-test-notify")
        listener.setblocking(False)
        Notifier({"NOTIFY_SOCKET": "@rosterd-test-notify"}, PID, clock).ready()
        assert told(listener) == ["READY=1"]

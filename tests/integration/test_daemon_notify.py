"""The service manager is told how the daemon is: on a socket of its own, by a daemon that really runs."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer import WITHIN_S, Balancer


class Manager:
    """A service manager's socket, and everything that was told on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(path))

    def wait_for(self, text: str) -> None:
        """Wait until a datagram that begins like this has come."""
        give_up_at = time.monotonic() + WITHIN_S
        while not any(told.startswith(text) for told in self.told):
            self._listener.settimeout(max(0.01, give_up_at - time.monotonic()))
            self.told.append(self._listener.recv(4096).decode())

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Return a service manager."""
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_what_the_service_manager_is_told(tmp_path: Path, manager: Manager) -> None:
    """Ready with the first complete state and not before, alive meanwhile, reloading on SIGHUP, stopping at the end."""
    with Balancer(tmp_path) as balancer:
        balancer.daemon.environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000000"}
        balancer.agent.start()
        balancer.daemon.start()
        manager.wait_for("STATUS=0 servers; HAProxy: ")
        manager.wait_for("WATCHDOG=1")
        assert "READY=1" not in manager.told
        balancer.start_haproxy()
        manager.wait_for("READY=1")
        web = balancer.add_web()
        manager.wait_for("STATUS=1 servers")
        balancer.wait_served(web)

        manager.told.clear()
        balancer.daemon.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
        manager.wait_for("READY=1")
        assert balancer.daemon.end() == 0
        manager.wait_for("STOPPING=1")
        balancer.daemon.environ = {}
        balancer.daemon.start()
        balancer.remove(web)

"""A real HAProxy for tests: master and worker in a directory of their own, stopped by pid.

`HAPROXY` in the environment names another program than `haproxy`, so that the same tests run on another version.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rosterd.proxy.versions import version_of
from tests.loopback import free_address, free_port
from tests.versions import require_haproxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rosterd.proxy.versions import Version
    from tests.island import Island

BINARY = os.environ.get("HAPROXY", "haproxy")
ISLAND_PORT = 8000
"""Nobody else is there."""

_START_S = 10.0
_STOP_S = 5.0


def version_under_test() -> Version:
    """Return the version of the program that the tests run."""
    said = subprocess.run([BINARY, "-v"], capture_output=True, text=True, check=True).stdout
    return version_of(said.partition("version ")[2])


class HAProxyProcess:
    """HAProxy in master-worker mode. Files and sockets live in `directory`; traffic listens on `address:port`.

    On an island where there is one.
    """

    def __init__(self, directory: Path, island: Island | None = None) -> None:
        self.config = directory / "haproxy.cfg"
        self.runtime_socket = directory / "run.sock"
        self.master_socket = directory / "master.sock"
        self.address = island.address if island else free_address()
        self.port = ISLAND_PORT if island else free_port(self.address)
        self._prefix = island.prefix if island else ()
        self._log = directory / "haproxy.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The master's pid."""
        if self._process is None:
            raise RuntimeError("HAProxy was not started")
        return self._process.pid

    @property
    def log(self) -> str:
        """What master and workers wrote on standard error."""
        return self._log.read_text(encoding="utf-8")

    def text(self, structure: str, *lines: str) -> str:
        """Return a small configuration: a `structure` mark, the runtime socket, one frontend and backend `nodes`.

        `lines` end the backend's section: servers, or anything else.
        """
        return (
            "global\n"
            f"    description rosterd:{structure}\n"
            f"    stats socket {self.runtime_socket} mode 660 level admin expose-fd listeners\n"
            "    hard-stop-after 5s\n"
            "defaults\n"
            "    mode http\n"
            "    timeout connect 1s\n"
            "    timeout client 5s\n"
            "    timeout server 5s\n"
            "frontend traffic\n"
            f"    bind {self.address}:{self.port}\n"
            "    default_backend nodes\n"
            "backend nodes\n" + "".join(f"    {line}\n" for line in lines)
        )

    def has_ended(self) -> bool:
        """Whether the master was started and is gone."""
        return self._process is not None and self._process.poll() is not None

    @property
    def version(self) -> tuple[int, int]:
        """The version of the running worker, as (3, 2)."""
        found = re.search(r"(?m)^Version: (\d+)\.(\d+)", self.ask("show info"))
        assert found is not None
        return int(found[1]), int(found[2])

    def start(self) -> None:
        """Start HAProxy from its file and return when both sockets answer."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, BINARY, "-W", "-db", "-S", str(self.master_socket), "-f", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"HAProxy did not start:\n{self.log}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        # The master executes itself anew once its worker runs: a connection that it accepted before is reset.
        try:
            info = self.ask("show info") if "worker" in self.ask("show proc", self.master_socket) else ""
        except OSError:
            return False
        if "Pid" not in info:
            return False
        require_haproxy(info)
        return True

    def ask(self, line: str, path: Path | None = None) -> str:
        """Ask the runtime socket (or the one at `path`) one line and return the answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path or self.runtime_socket))
            client.sendall(line.encode() + b"\n")
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        return answer.decode()

    def stop(self) -> None:
        """Stop the master, which takes its workers with it; kill what does not go."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_haproxy(directory: Path, *lines: str) -> Iterator[HAProxyProcess]:
    """Run a HAProxy whose backend `nodes` holds `lines`, with the structure `first`."""
    haproxy = HAProxyProcess(directory)
    haproxy.config.write_text(haproxy.text("first", *lines), encoding="utf-8")
    try:
        haproxy.start()
        yield haproxy
    finally:
        haproxy.stop()

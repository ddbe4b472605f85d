"""rosterd as it is shipped, and once more with every change as a reload.

Its settings are those of `haproxy/rosterd.toml` with paths and addresses of the bench; its template is the shipped one.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from tests.balancer import ADMIN_PORT, TEMPLATE
from tests.bench.accounting import usage
from tests.bench.contenders.contender import Contender, end, replace
from tests.bench.contenders.shipped import master_reloads, settings_text, worker_pid
from tests.bench.waiting import until
from tests.haproxy_process import HAProxyProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.bench.cluster import Node

_ANSWER_S = 2.0


class DaemonProcess:
    """`rosterd run` beside a HAProxy, with everything in `directory`."""

    def __init__(
        self, directory: Path, haproxy: HAProxyProcess, rpc: tuple[str, int], environ: Mapping[str, str]
    ) -> None:
        self.haproxy = haproxy
        # A folder of their own, as on a real balancer: rosterd watches it, and logs are not written there.
        etc = directory / "etc"
        etc.mkdir()
        self.template = etc / "haproxy.cfg.j2"
        self._settings = etc / "rosterd.toml"
        self._log = directory / "rosterd.log"
        self._admin = (haproxy.address, ADMIN_PORT)
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self.template.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
        self._settings.write_text(settings_text(haproxy, self.template, rpc, self._admin), encoding="utf-8")

    @property
    def pid(self) -> int:
        """The running process."""
        if self._process is None:
            raise RuntimeError("rosterd was not started")
        return self._process.pid

    def spawn(self) -> None:
        """Start it and return at once."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rosterd", "run", "--settings", str(self._settings)],
                env=os.environ | dict(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def is_ready(self) -> bool:
        """Whether it says that a first complete state is in force."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"rosterd ended:\n{self._log.read_text(encoding='utf-8')[-2000:]}")
        connection = http.client.HTTPConnection(*self._admin, timeout=_ANSWER_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def start_both(self) -> None:
        """Start the daemon, and HAProxy from the file that it writes; return when it says that all is well."""
        self.spawn()
        until(self.haproxy.config.exists, "rosterd to write the configuration")
        self.haproxy.start()
        until(self.is_ready, "rosterd to be ready")

    def end(self) -> None:
        """End the daemon and leave HAProxy alone."""
        end(self._process)


class Rosterd(Contender):
    """rosterd."""

    name = "rosterd"
    environ: ClassVar[Mapping[str, str]] = {}

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        super().__init__(directory, joins)
        self._haproxy = HAProxyProcess(directory)
        self._daemon = DaemonProcess(directory, self._haproxy, self.agent.rpc_address, self.environ)

    @property
    @override
    def target(self) -> tuple[str, int]:
        return self._haproxy.address, self._haproxy.port

    @override
    def start(self, nodes: Sequence[Node]) -> None:
        self._daemon.start_both()

    @override
    def stop(self) -> None:
        self._daemon.end()
        self._haproxy.stop()

    @override
    def edit(self, number: int) -> None:
        text = TEMPLATE.read_text(encoding="utf-8")
        replace(self._daemon.template, f"{text}# edit {number}\n")

    @override
    def proxy_pid(self) -> int:
        return worker_pid(self._haproxy)

    @override
    def reloads(self) -> int:
        return master_reloads(self._haproxy)

    @override
    def control_cpu_s(self) -> float:
        used = usage(self._daemon.pid)
        # Its children are the checks of a configuration (`haproxy -c`).
        return used.own_s + used.children_s


class RosterdReload(Rosterd):
    """rosterd with the runtime API unused."""

    name = "rosterd_reload"
    environ: ClassVar[Mapping[str, str]] = {"ROSTERD_PROXY__APPLY": "reload"}

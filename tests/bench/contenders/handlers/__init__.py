"""Serf event handlers that render and restart, as in the lab that rosterd grew from.

The balancer's agent calls `event.sh` for each event; it keeps a file for each node, puts them together with the head of
the configuration, and starts a new HAProxy that takes over from the one before (`-sf`). Two things are better than in
the lab, so that the comparison is about handlers and not about slips: the configuration is the one that rosterd ships
(its retries and checks), and the new HAProxy gets the listeners from the old one (`-x`), which loses no connection.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from tests.bench.accounting import usage
from tests.bench.contenders.contender import Contender, replace
from tests.bench.contenders.shipped import rendered, worker_pid
from tests.bench.waiting import until
from tests.haproxy_process import BINARY, HAProxyProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.cluster import Node

SCRIPT = Path(__file__).with_name("event.sh")
_SCRIPT_S = 20.0
_END_S = 5.0


class Handlers(Contender):
    """Serf event handlers."""

    name = "handlers"

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        super().__init__(directory, joins)
        # Only its addresses, paths and sockets: the scripts start it.
        self._haproxy = HAProxyProcess(directory)
        (directory / "nodes").mkdir()
        self._head = rendered(self._haproxy, directory, ())
        replace(directory / "head", self._head)

    @override
    def agent_settings(self) -> Mapping[str, object]:
        command = shlex.join([str(SCRIPT), BINARY, str(self.directory)])
        return {"event_handlers": [f"member-join,member-leave,member-failed={command}"]}

    @property
    @override
    def target(self) -> tuple[str, int]:
        return self._haproxy.address, self._haproxy.port

    @override
    def start(self, nodes: Sequence[Node]) -> None:
        self._run_script()
        until(self._answers, "HAProxy to start")

    def _answers(self) -> bool:
        with suppress(OSError):
            return worker_pid(self._haproxy) != 0
        return False

    def _run_script(self) -> None:
        """Render and restart, as somebody does who edited the head."""
        subprocess.run(
            [SCRIPT, BINARY, self.directory],
            env=os.environ | {"SERF_EVENT": "edited"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SCRIPT_S,
            check=True,
        )

    @override
    def stop(self) -> None:
        (self.directory / "stopped").touch()
        for pid in self._started():
            if self._is_ours(pid):
                os.kill(pid, signal.SIGTERM)
        with suppress(TimeoutError):
            until(lambda: not any(map(self._is_ours, self._started())), "each HAProxy to end", _END_S)
        for pid in self._started():
            if self._is_ours(pid):
                os.kill(pid, signal.SIGKILL)

    @override
    def edit(self, number: int) -> None:
        replace(self.directory / "head", f"{self._head}    # edit {number}\n")
        self._run_script()

    @override
    def proxy_pid(self) -> int:
        return worker_pid(self._haproxy)

    @override
    def reloads(self) -> int:
        return len(self._started()) - 1

    @override
    def control_cpu_s(self) -> float:
        # The handlers are children of the agent; each HAProxy leaves them, once it has read its configuration.
        return usage(self.agent.pid).children_s

    def _started(self) -> list[int]:
        """Every HAProxy that the scripts have started."""
        path = self.directory / "pids"
        return [int(line) for line in path.read_text(encoding="ascii").split()] if path.exists() else []

    def _is_ours(self, pid: int) -> bool:
        """Whether the process still is the HAProxy that was started: a pid may be given to another one later."""
        with suppress(OSError):
            return str(self._haproxy.config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

"""HAProxy that takes its servers from DNS: `server-template` and dnsmasq.

As a competent operator has it: the configuration is the one that rosterd ships, with as many slots as there may be
nodes; HAProxy asks five times a second (once is its default), keeps no answer longer than that, and takes a server out
as soon as an answer lacks it. A reload takes the addresses over in a state file; without it the new worker serves
nobody until it has asked. dnsmasq reads a hosts file again on SIGHUP and lets nobody keep its answers.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from typing_extensions import override

from tests.bench.children import WEB_PORT
from tests.bench.contenders.contender import end, found, replace
from tests.bench.contenders.driven import Driven
from tests.bench.contenders.shipped import master_reloads, rendered, worker_pid
from tests.bench.waiting import until
from tests.haproxy_process import BINARY, HAProxyProcess
from tests.loopback import is_free

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.cluster import Node

SLOTS = 64
_PORT = 5353
_NAME = "nodes.bench"
_CHECK_S = 10.0
# Longer than the answer with an address for every slot, which must fit into one datagram.
_DATAGRAM = 4096


class Dns(Driven):
    """HAProxy with `server-template`, and dnsmasq."""

    name = "dns"

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        super().__init__(directory, joins)
        self._haproxy = HAProxyProcess(directory)
        self._hosts = directory / "hosts"
        self._dnsmasq: subprocess.Popen[bytes] | None = None
        self._state = directory / "state"
        self._state.touch()
        text = rendered(self._haproxy, directory, ()).replace(
            "global\n", f"global\n    server-state-file {self._state}\n", 1
        )
        self._text = text + self._backend_lines()
        replace(self._haproxy.config, self._text)

    @classmethod
    @override
    def missing(cls) -> str:
        return "" if found("dnsmasq") else "dnsmasq is not installed (compose/setup bench installs it)"

    @classmethod
    @override
    def ports(cls) -> tuple[int, ...]:
        return (_PORT,)

    @property
    @override
    def target(self) -> tuple[str, int]:
        return self._haproxy.address, self._haproxy.port

    def _backend_lines(self) -> str:
        """The servers of the last section, `backend nodes`, and where their addresses come from."""
        return (
            "    load-server-state-from-file global\n"
            f"    server-template node {SLOTS} {_NAME}:{WEB_PORT} resolvers local init-addr last,none\n"
            "\n"
            "resolvers local\n"
            f"    nameserver dnsmasq {self.address}:{_PORT}\n"
            f"    accepted_payload_size {_DATAGRAM}\n"
            "    timeout resolve 200ms\n"
            "    timeout retry 200ms\n"
            "    hold valid 200ms\n"
            "    hold obsolete 0s\n"
        )

    @override
    def start(self, nodes: Sequence[Node]) -> None:
        self._hosts.touch()
        self._dnsmasq = subprocess.Popen(
            [
                found("dnsmasq"),
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                f"--addn-hosts={self._hosts}",
                f"--listen-address={self.address}",
                "--bind-interfaces",
                f"--port={_PORT}",
                "--local=/bench/",
                f"--edns-packet-max={_DATAGRAM}",
                "--user=root",
                "--group=root",
                f"--pid-file={self.directory}/dnsmasq.pid",
                f"--log-facility={self.directory}/dnsmasq.log",
            ],
            stdin=subprocess.DEVNULL,
        )
        until(lambda: not is_free(self.address, _PORT), "dnsmasq to listen")
        self.begin_following()
        self._haproxy.start()

    @override
    def serve(self) -> None:
        replace(self._hosts, "".join(f"{row.address} {_NAME}\n" for row in self.servers))
        if self._dnsmasq is not None:
            self._dnsmasq.send_signal(signal.SIGHUP)

    @override
    def stop(self) -> None:
        self.end_following()
        self._haproxy.stop()
        end(self._dnsmasq)

    @override
    def edit(self, number: int) -> None:
        replace(self._haproxy.config, f"{self._text}# edit {number}\n")
        command = [BINARY, "-c", "-f", str(self._haproxy.config)]
        subprocess.run(command, capture_output=True, timeout=_CHECK_S, check=True)
        replace(self._state, self._haproxy.ask("show servers state"))
        os.kill(self._haproxy.pid, signal.SIGUSR2)

    @override
    def proxy_pid(self) -> int:
        return worker_pid(self._haproxy)

    @override
    def reloads(self) -> int:
        return master_reloads(self._haproxy)

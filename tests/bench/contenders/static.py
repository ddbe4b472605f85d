"""A HAProxy that nobody changes: what the machine itself gives. Its configuration is the one that rosterd ships."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from tests.bench.contenders.contender import Contender
from tests.bench.contenders.shipped import master_reloads, rendered, worker_pid
from tests.haproxy_process import HAProxyProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.cluster import Node


class Static(Contender):
    """The physical reference: the servers that are there at the start, for ever."""

    name = "static"
    never_changes = True

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        super().__init__(directory, joins)
        self._haproxy = HAProxyProcess(directory)

    @property
    @override
    def target(self) -> tuple[str, int]:
        return self._haproxy.address, self._haproxy.port

    @override
    def start(self, nodes: Sequence[Node]) -> None:
        text = rendered(self._haproxy, self.directory, [(node.name, node.address) for node in nodes])
        self._haproxy.config.write_text(text, encoding="utf-8")
        self._haproxy.start()

    @override
    def stop(self) -> None:
        self._haproxy.stop()

    @override
    def proxy_pid(self) -> int:
        return worker_pid(self._haproxy)

    @override
    def reloads(self) -> int:
        return master_reloads(self._haproxy)

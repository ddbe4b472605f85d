"""Contenders without a Serf client: the bench's watcher writes the servers for them, at the moment it sees a change.

So their clock has Serf in it, as everybody's, and an ideal watcher that costs nothing. A real set-up would have a
program there (consul-template, a control plane), with its own delay and its own processor time; neither is counted.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import TYPE_CHECKING

from typing_extensions import override

from tests.bench.contenders.contender import Contender, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.watcher import Row, Table


class Driven(Contender):
    """Knows its servers from `serve`, which is called with all of them whenever they differ from before."""

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        super().__init__(directory, joins)
        self.servers: tuple[Row, ...] = ()
        # The watcher's thread brings changes, the scenario's thread starts, edits and stops.
        self.one_at_a_time = threading.RLock()
        self._is_following = False

    @override
    def follow(self, table: Table) -> None:
        with self.one_at_a_time:
            found = serving(table)
            if self._is_following and found != self.servers:
                self.servers = found
                self.serve()

    def begin_following(self) -> None:
        """Take up the members that there are, and every change from now on."""
        with self.one_at_a_time:
            self._is_following = True
        self.follow(self.watcher.table)

    def end_following(self) -> None:
        """Take no more changes."""
        with self.one_at_a_time:
            self._is_following = False

    @abstractmethod
    def serve(self) -> None:
        """Make `servers` the ones that get requests."""

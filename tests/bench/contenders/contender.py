"""What every contender is: a balancer's place in the cluster, and something that follows the members.

    with contender_type(directory, joins) as contender:
        contender.start(nodes)

Entering the context starts its Serf agent and a watcher on that agent; `start` starts the rest. Leaving it ends every
process. Contenders are set up as a competent operator would, and each module says how.
"""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from tests.bench.watcher import Row, Table, Watcher
from tests.loopback import free_address
from tests.serf_agent import AgentFailed, SerfAgent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.cluster import Node

STOP_S = 5.0
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Daemons lie there, which is not in every user's PATH."""


class Contender(ABC):
    """One of those that are compared."""

    name: ClassVar[str]
    never_changes: ClassVar[bool] = False

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.address = free_address(*self.ports())
        self.agent = SerfAgent(
            self.address,
            directory / "serf",
            tags={"role": "balancer"},
            join=joins,
            settings=self.agent_settings(),
        )
        self.watcher: Watcher

    def __enter__(self) -> Self:
        self.agent.start()
        try:
            self.watcher = Watcher(self.agent.rpc_address, self.follow).__enter__()
        except BaseException:
            self.agent.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
            self.watcher.__exit__()
            self.agent.leave()
        except AgentFailed:
            pass  # it had ended before
        finally:
            self.agent.close()

    # --- what a contender says of itself ------------------------------------------------------------------------

    @classmethod
    def missing(cls) -> str:
        """Say what is not installed; empty when all is there."""
        return ""

    @classmethod
    def ports(cls) -> tuple[int, ...]:
        """What it listens on, at an address of its own."""
        return ()

    def agent_settings(self) -> Mapping[str, object]:
        """What its Serf agent needs to be told."""
        return {}

    # --- what it does -------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def target(self) -> tuple[str, int]:
        """Where its traffic comes in."""

    @abstractmethod
    def start(self, nodes: Sequence[Node]) -> None:
        """Start everything but the agent. `nodes` are those that are there already."""

    @abstractmethod
    def stop(self) -> None:
        """End what `start` started; safe when that went wrong half way."""

    def follow(self, table: Table) -> None:  # noqa: B027  most contenders do nothing here
        """Learn of a change of the member table: only for contenders that have no Serf client of their own."""

    def edit(self, number: int) -> None:
        """Change something that is not a server, so that the proxy must load its configuration anew.

        Raises:
            NotImplementedError: it is not compared in that.
        """
        raise NotImplementedError(f"{self.name}: edit {number}")

    # --- what is read off it ------------------------------------------------------------------------------------

    @abstractmethod
    def proxy_pid(self) -> int:
        """The process that serves now; another one after a reload."""

    @abstractmethod
    def reloads(self) -> int:
        """How often the proxy has loaded its configuration since the start."""

    def control_cpu_s(self) -> float | None:
        """Processor seconds so far of what follows the members; `None` where the bench's watcher stands in for it."""
        return None


def serving(table: Table) -> tuple[Row, ...]:
    """The members that a balancer should give requests to, by name."""
    return tuple(sorted((row for row in table.values() if row.serves), key=lambda row: row.name))


def found(program: str) -> str:
    """Return the program's path, or an empty text when it is not installed."""
    places = (Path(place) / program for place in (*os.environ.get("PATH", "").split(":"), *SBIN) if place)
    return next((str(path) for path in places if os.access(path, os.X_OK)), "")


def end(process: subprocess.Popen[bytes] | None, how: signal.Signals = signal.SIGTERM) -> None:
    """Ask a process to end, and kill it when it does not."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def replace(path: Path, text: str) -> None:
    """Write a file beside itself and then in its place, so that nobody reads half of it."""
    beside = path.with_name(f"{path.name}~")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)

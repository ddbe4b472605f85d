"""The cluster that things are done to: a balancer and web nodes, each under its supervisord, and the requests to it.

The balancer is the shipped one, with these differences: its configuration lies on a small disk of its own, where one
may be mounted, its state in a folder that may be removed, `haproxy -c` is a script that may be replaced, and has three
seconds, so that one that hangs does not hold up the soak.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compose.cluster import ClusterError, Kind, LocalCluster, Node
from compose.http import GarbledAnswerError, get
from compose.processes import signal_process
from compose.run_directory import RunDirectory
from compose.waiting import WaitedInVainError
from rosterd.errors import ProxyError
from rosterd.proxy.commands import OBSERVE
from rosterd.proxy.socket import HAProxySocket, observe
from tests.bench.samples import number_of
from tests.soak import census
from tests.soak.ledger import Ledger
from tests.soak.load import Load
from tests.soak.wellbeing import ailments

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from rosterd.model import Running

WEB_NODES = 6
DISK_SIZE = "256k"
SEEN_WITHIN_S = 60.0
"""How long what a fault does may take to show; more than enough, since the machine may be busy."""

_UP_WITHIN_S = 120.0
_STAYS_S = 1.0
_POLL_S = 0.1
_ANSWER_S = 5.0
_CHECKER = '#!/bin/sh\nexec haproxy "$@"\n'

Json = dict[str, Any]


class SoakCluster(LocalCluster):
    """A local cluster whose balancers can be broken in more ways."""

    def node_environment(self, node: Node) -> dict[str, str]:
        """The usual environment, with files of the balancer in places of their own."""
        environ = super().node_environment(node)
        if node.kind is Kind.WEB:
            return environ
        return environ | {
            "NODE_STATE": str(node.directory / "disk"),
            "ROSTERD_PROXY__CONFIG_FILE": str(node.directory / "disk" / "haproxy.cfg"),
            "ROSTERD_PROXY__STATE_DIR": str(node.directory / "state"),
            "ROSTERD_PROXY__BINARY": str(node.directory / "checker"),
            "ROSTERD_PROXY__CHECK_TIMEOUT_S": "3",
        }


class Place:
    """The running cluster, and what faults ask of it."""

    def __init__(self, cluster: SoakCluster) -> None:
        self.cluster = cluster
        self.balancer = cluster.register(Kind.BALANCER, "balancer")
        self.webs = [cluster.register(Kind.WEB) for _ in range(WEB_NODES)]
        self.disk = self.balancer.directory / "disk"
        self.state = self.balancer.directory / "state"
        self.checker = self.balancer.directory / "checker"
        self.config = self.disk / "haproxy.cfg"
        self.ledger = Ledger(self.now())
        self.first_file = ""
        self.load: Load | None = None
        self.left_over: list[str] = []
        self._files = RunDirectory(cluster.directory)
        self._socket = HAProxySocket(self.balancer.runtime_socket, 2.0)
        self._taken: set[str] = set()

    # --- life ---------------------------------------------------------------------------------------------------

    @classmethod
    @asynccontextmanager
    async def open(cls, directory: Path, longest_s: float) -> AsyncIterator[Place]:
        """Start everything, with requests flowing for so long at most; whatever is left at the end is killed.

        Raises:
            ClusterError: it cannot run here.
            WaitedInVainError: it did not come up.
        """
        cluster = SoakCluster.create(directory, first_network=os.getpid() * 37 % 200 + 50)
        cluster.require_programs()
        place = cls(cluster)
        async with AsyncExitStack() as stack:
            stack.callback(place.unmount)
            stack.callback(cluster.kill_all)
            place.mount()
            place.state.mkdir()
            place.write_checker(_CHECKER)
            for node in (*place.webs, place.balancer):
                cluster.start(node)
            await place.until_well(None, _UP_WITHIN_S)
            place.first_file = place.config.read_text(encoding="utf-8")
            target = place.balancer.address, cluster.ports.http
            place.ledger.begin = place.now()
            async with Load(target, longest_s, place.ledger.take) as load:
                place.load = load
                yield place
            await place.stop()

    async def stop(self) -> None:
        """Stop every node in order, and see what is left over then."""
        try:
            await self.cluster.down()
        except ClusterError as error:
            self.left_over.append(str(error))
        self.left_over += [f"{process.program} ({process.pid}) of {process.run}" for process in self.processes()]

    def mount(self) -> None:
        """Give the balancer's configuration a disk of its own, or else a plain folder."""
        self.disk.mkdir()
        if can_mount():
            mount_disk(self.disk)

    def unmount(self) -> None:
        """Take it away; lazily, since a process that is being killed may still have a file open."""
        if self.disk.is_mount():
            run_mount("umount", "-l", str(self.disk))

    def write_checker(self, script: str = _CHECKER) -> None:
        """Replace the program that rosterd checks its texts with; without a script, by the right one."""
        beside = self.checker.with_name("checker~")
        beside.write_text(script, encoding="utf-8")
        beside.chmod(0o755)
        beside.replace(self.checker)

    def write_template(self, text: str) -> None:
        """Replace the template as most editors do."""
        beside = self.balancer.template.with_name("template~")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.balancer.template)

    @staticmethod
    def now() -> float:
        """The clock of everything here: monotonic, the same in all processes."""
        return asyncio.get_running_loop().time()

    # --- who is broken ------------------------------------------------------------------------------------------

    def take(self, dice: random.Random, number: int) -> list[Node]:
        """Choose so many web nodes that no other fault of this turn has."""
        free = [node for node in self.webs if node.name not in self._taken]
        chosen = dice.sample(free, number)
        self._taken.update(node.name for node in chosen)
        return chosen

    def release(self) -> None:
        """The turn is over: every web node may be taken again."""
        self._taken.clear()

    # --- what is there ------------------------------------------------------------------------------------------

    def processes(self) -> tuple[census.Process, ...]:
        """Every process of the cluster."""
        return census.processes_below(self.cluster.directory)

    def pids(self, program: str, node: Node | None = None) -> list[int]:
        """The pids of a program of a node, by default of the balancer."""
        run = str((node or self.balancer).directory)
        return census.pids_of([process for process in self.processes() if process.run == run], program)

    async def status(self) -> Json:
        """What the daemon says; an empty one while it does not answer."""
        return await self._asked("/v1/status")

    async def members(self) -> Json:
        """The member table as the daemon has it; an empty one while it does not answer."""
        return await self._asked("/v1/members")

    async def running(self) -> Running | None:
        """What HAProxy runs; None while it does not answer."""
        try:
            return await observe(self._socket, OBSERVE)
        except ProxyError:
            return None

    async def tell_haproxy(self, line: str) -> str:
        """Say something on HAProxy's runtime socket, as a person would.

        Raises:
            ProxyError: it does not answer.
        """
        return await self._socket.ask(line)

    async def _asked(self, path: str) -> Json:
        try:
            answer = await get(self.balancer.address, self.cluster.ports.admin, path, _ANSWER_S)
            found: Json = json.loads(answer.body)
        except (OSError, EOFError, GarbledAnswerError, ValueError):
            return {}
        return found

    # --- orders -------------------------------------------------------------------------------------------------

    def signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Send a signal to processes of the cluster."""
        for pid in pids:
            signal_process(pid, number)

    async def supervisorctl(self, *arguments: str, node: Node | None = None) -> None:
        """Have a node's supervisord do something, by default the balancer's; its answer is not looked at."""
        await self.cluster.supervisorctl(node or self.balancer, *arguments)

    async def set_tags(self, node: Node, tags: dict[str, str]) -> None:
        """Set tags of a web node; one that is just starting has no agent to ask yet."""
        for _ in range(5):
            with suppress(ClusterError):
                await self.cluster.set_tags(node, tags)
                return
            await asyncio.sleep(1.0)
        await self.cluster.set_tags(node, tags)

    def secret(self, name: str) -> Path:
        """The file of one of the cluster's keys."""
        return self._files.secret(name)

    # --- waiting ------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], Awaitable[object]], what: str, within: float = SEEN_WITHIN_S) -> None:
        """Wait until something holds.

        Raises:
            WaitedInVainError: it did not in time.
        """
        give_up_at = self.now() + within
        while not await condition():
            if self.now() > give_up_at:
                raise WaitedInVainError(f"waited {within:g} s for {what}")
            await asyncio.sleep(_POLL_S)

    async def ailments(self, since: float | None) -> list[str]:
        """What is not well now; requests that were sent since then count for who answers, None while there are none."""
        status, members, running = await asyncio.gather(self.status(), self.members(), self.running())
        addresses = [node.address for node in self.webs]
        latest = self.ledger.latest
        silent = [] if since is None else [address for address in addresses if latest(number_of(address)) < since]
        return ailments(status, members, running, addresses, silent)

    async def until_well(
        self,
        since: float | None,
        within: float,
        conditions: Sequence[Callable[[], Awaitable[str]]] = (),
    ) -> float:
        """Wait until nothing is amiss, and stays so for a second; when that began. A condition says what is amiss.

        Raises:
            WaitedInVainError: with what was amiss at the last look.
        """
        give_up_at = self.now() + within
        well_at = None
        while True:
            looked_at = self.now()
            amiss = [text for condition in conditions if (text := await condition())]
            amiss += await self.ailments(since)
            well_at = None if amiss else well_at or looked_at
            if well_at is not None and looked_at - well_at >= _STAYS_S:
                return well_at
            if self.now() > give_up_at:
                raise WaitedInVainError(f"not well after {within:g} s: {'; '.join(amiss) or 'not for long enough'}")
            await asyncio.sleep(_POLL_S)


@cache
def can_mount() -> bool:
    """Whether this process may mount a disk: root may, unless it is kept in a container. Tried, to be sure."""
    if os.geteuid() != 0:
        return False
    with TemporaryDirectory() as folder:
        try:
            mount_disk(Path(folder))
        except (OSError, subprocess.SubprocessError):
            return False
        run_mount("umount", folder)
    return True


def mount_disk(folder: Path) -> None:
    """Mount a small empty disk."""
    run_mount("mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder))


def run_mount(*command: str) -> None:
    """Run mount or umount."""
    subprocess.run(command, check=True, timeout=20)

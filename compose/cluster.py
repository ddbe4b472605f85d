"""A cluster as local processes: each node under its own supervisord, on its own loopback address.

    cluster = LocalCluster.create(Path(".run/demo"))
    cluster.add_balancer()
    cluster.add_web()
    ...
    await cluster.down()

Rules:

- Which nodes there are, and whether they live, is decided here. What is known of them is in the run directory
  (run_directory.py), what they are told is in environment.py, what is asked of them in commands.py.
- Another process may `open` the cluster and go on with it.
- No node is special. Each is written into the join list before it starts, and an agent reads the list at each start:
  of any two nodes the later one knows the earlier one, so nodes that start at once still become one cluster.
- Only processes that this cluster started are signalled, by their ids (processes.py).
- Nothing waits without a deadline. Methods that do not wait are plain functions.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from compose import commands
from compose.environment import node_environment
from compose.model import HOME, ClusterError, Kind, Node
from compose.network import Ports, Reservation, free_ports, listeners, reserve, reserve_free_network
from compose.plain_path import plain
from compose.processes import executables_of, kill_processes, processes_of, signal_process, socket_inodes
from compose.programs import find_program, require_node_programs
from compose.run_directory import RunDirectory
from compose.waiting import WaitedInVainError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network
    from pathlib import Path

    from compose.commands import CommandResult

__all__ = ["HOME", "LONGEST_NODE_PATH", "ClusterError", "Kind", "LocalCluster", "Node"]

FIRST_WEB_HOST = 11
LAST_HOST = 254
STOP_DEADLINE_S = 60.0
KILL_DEADLINE_S = 5.0
# The kernel takes socket paths of 107 bytes; HAProxy and supervisord add up to 14 to a name while they bind it.
LONGEST_NODE_PATH = 75

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}")


class LocalCluster:
    """The nodes below one run directory; see the module's docstring."""

    def __init__(
        self, directory: Path, network: IPv4Network, ports: Ports, reservation: Reservation | None = None
    ) -> None:
        self.directory = directory
        self.reservation = reservation
        self.network = network
        self.ports = ports
        self._files = RunDirectory(directory)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def create(cls, directory: Path, first_network: int = 0) -> Self:
        """A new cluster without nodes on the first free network 127.20.x.0/24, x from `first_network` on.

        Raises:
            ClusterError: a cluster runs in that directory already.
            NoNetworkError: all networks are taken.
        """
        directory = directory.resolve()
        files = RunDirectory(directory)
        if files.exists():
            running = [node.name for node in cls.open(directory).running()]
            if running:
                names = ", ".join(running)
                raise ClusterError(f"{directory}: {names} still run; stop them first (python -m compose down)")
            shutil.rmtree(directory)
        reservation = reserve_free_network(first_network)
        network = reservation.network
        ports = free_ports(str(network[1]))
        files.create(network, ports)
        return cls(directory, network, ports, reservation)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """A cluster that this or another process created.

        Raises:
            ClusterError: there is none.
        """
        network, ports = RunDirectory(directory).read()
        return cls(directory.resolve(), network, ports)

    # --- the nodes ----------------------------------------------------------------------------------------------

    def nodes(self) -> tuple[Node, ...]:
        """Every node that was ever added, also those that are stopped, in the order of their addresses."""
        return self._files.nodes()

    def running(self) -> tuple[Node, ...]:
        """The nodes with a living process."""
        return tuple(node for node in self.nodes() if self.is_running(node))

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            ClusterError: there is none; the text lists those that there are.
        """
        nodes = {node.name: node for node in self.nodes()}
        if name not in nodes:
            raise ClusterError(f"no node {name!r}; there are: {', '.join(nodes) or 'none'}")
        return nodes[name]

    def is_running(self, node: Node) -> bool:
        """Whether any process of the node lives."""
        return bool(self._processes(node))

    def executables(self) -> frozenset[Path]:
        """The program files that the nodes' processes run now."""
        sessions = ((self._files.session_of(node), plain(node.directory)) for node in self.nodes())
        found = (executables_of(session, run) for session, run in sessions if session is not None)
        return frozenset().union(*found)

    def strangers(self) -> tuple[str, ...]:
        """Each endpoint on a running node's address that no process of the node listens on, as `address:port`."""
        found = []
        listening = listeners()
        for node in self.running():
            own = socket_inodes(self._processes(node))
            found += [
                f"{one.address}:{one.port}" for one in listening if one.address == node.address and one.inode not in own
            ]
        return tuple(found)

    # --- start --------------------------------------------------------------------------------------------------

    def require_programs(self) -> None:
        """Make sure that a node can run here. ClusterError names all programs that are missing."""
        require_node_programs()

    def add_balancer(self, name: str = "balancer") -> Node:
        """Start a balancer with a template and settings of its own."""
        node = self.register(Kind.BALANCER, name)
        self.start(node)
        return node

    def add_web(self, name: str | None = None) -> Node:
        """Start a web node; without a name it is the next of web1, web2 and so on."""
        node = self.register(Kind.WEB, name)
        self.start(node)
        return node

    def register(self, kind: Kind, name: str | None = None) -> Node:
        """Give a node its address and its place in the join list, without starting it.

        Raises:
            ClusterError: the name is taken or unfit, the addresses are used up, or the path is too long.
        """
        with self._files.locked():
            nodes = self.nodes()
            name = name or _next_name(kind, {node.name for node in nodes})
            directory = self.directory / name
            if not _NAME.fullmatch(name):
                raise ClusterError(f"{name!r} is not a name of letters, digits, '.', '_' and '-'")
            if directory.exists():
                raise ClusterError(f"{name!r} is taken; a node that was stopped starts again with start")
            if len(os.fsencode(directory)) > LONGEST_NODE_PATH:
                raise ClusterError(f"{directory}: too long for socket paths; use a shorter run directory")
            node = Node(name, kind, _next_address(self.network, kind, nodes), directory)
            node.logs.mkdir(parents=True)
            if kind is Kind.BALANCER:
                shutil.copyfile(HOME / "haproxy" / "haproxy.cfg.j2", node.template)
                shutil.copyfile(HOME / "haproxy" / "rosterd.toml", node.settings)
            self._record(node, session=None)
            return node

    def start(self, node: Node) -> None:
        """Start a registered node; returns at once.

        Raises:
            ClusterError: it runs, or supervisord is not installed.
        """
        if self.is_running(node):
            raise ClusterError(f"{node.name} runs already")
        if not self.running():
            self._require_network()
        command = [find_program("supervisord"), "-c", str(node.kind.definition)]
        with (node.logs / "supervisord.out").open("ab") as output:
            process = subprocess.Popen(  # noqa: S603  our own supervisord, no shell
                command,
                env=self.node_environment(node),
                cwd=node.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[node.name] = process
        with self._files.locked():
            self._record(node, session=process.pid)

    # --- stop ---------------------------------------------------------------------------------------------------

    async def stop(self, node: Node) -> float:
        """Stop a node in order (SIGTERM to its supervisord); the seconds it took. One that does not run is fine.

        Raises:
            ClusterError: it did not end within a minute; what was left of it is killed.
        """
        session, processes = self._files.session_of(node), self._processes(node)
        if session in processes:
            signal_process(session, signal.SIGTERM)
        elif processes:  # supervisord is dead: there is nobody who could stop the others in order
            self.kill(node)
        try:
            took = await wait_until(lambda: not self.is_running(node), STOP_DEADLINE_S, f"{node.name} to stop")
        except WaitedInVainError as late:
            self.kill(node)
            raise ClusterError(f"{late}; killed what was left of it") from None
        with self._files.locked():
            self._write_seeds()
        return took

    def kill(self, node: Node) -> None:
        """Crash a node: SIGKILL to all its processes at once."""
        session = self._files.session_of(node)
        if session is not None:
            kill_processes(session, plain(node.directory))
            child = self._children.pop(node.name, None)
            if child is not None:
                child.wait(KILL_DEADLINE_S)  # takes its exit status, so that no zombie stays

    async def down(self) -> None:
        """Stop all nodes at once, each in order."""
        endings = [self.stop(node) for node in self.running()]
        for ending in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(ending, BaseException):
                raise ending

    def kill_all(self) -> None:
        """Crash every node; for the way out when nobody wants to wait."""
        for node in self.running():
            self.kill(node)

    # --- speak to a node ----------------------------------------------------------------------------------------

    def node_environment(self, node: Node) -> dict[str, str]:
        """The environment of a node's supervisord and so of all its programs."""
        return node_environment(node, self._files, self.ports)

    async def set_tags(self, node: Node, tags: Mapping[str, str]) -> None:
        """Set tags of the node's running agent; an empty value deletes the tag. ClusterError if it refuses."""
        await commands.set_serf_tags(self.node_environment(node), tags)

    async def serf(self, node: Node, command: str, *arguments: str) -> CommandResult:
        """Run a `serf` command against the node's agent, such as `members`."""
        return await commands.run_serf(self.node_environment(node), command, *arguments)

    async def supervisorctl(self, node: Node, *arguments: str) -> CommandResult:
        """Ask the node's supervisord, such as `restart rosterd` or `status`."""
        return await commands.run_supervisorctl(self.node_environment(node), *arguments)

    async def rosterd(self, node: Node, *arguments: str) -> CommandResult:
        """Run a `rosterd` command with the settings of a balancer, such as `status --json`."""
        return await commands.run_rosterd(self.node_environment(node), *arguments)

    # --- bookkeeping --------------------------------------------------------------------------------------------

    def _require_network(self) -> None:
        """Make sure that no other cluster took the network while no node of this one ran."""
        # Where it is reserved the process that created this cluster may have done so.
        self.reservation = self.reservation or reserve(self.network)
        if any(ip_address(one.address) in self.network for one in listeners()):
            raise ClusterError(f"{self.network}: another cluster has this network now; begin anew (up)")

    def _record(self, node: Node, session: int | None) -> None:
        """Write a node that starts, and the join list with it."""
        self._files.write_node(node, session)
        self._write_seeds(starting=node)

    def _write_seeds(self, starting: Node | None = None) -> None:
        """The join list: every node that runs or is about to."""
        listed = [node for node in self.nodes() if node == starting or not self._has_stopped(node)]
        self._files.write_seeds(listed, self.ports.gossip)

    def _has_stopped(self, node: Node) -> bool:
        """Whether the node ran and does no more; one that never started is still to come."""
        return self._files.session_of(node) is not None and not self.is_running(node)

    def _processes(self, node: Node) -> tuple[int, ...]:
        self._reap(node)
        session = self._files.session_of(node)
        return () if session is None else processes_of(session, plain(node.directory))

    def _reap(self, node: Node) -> None:
        """Take the exit status of a supervisord that is our child, so that no zombie stays."""
        child = self._children.get(node.name)
        if child is not None and child.poll() is not None:
            del self._children[node.name]


def _next_address(network: IPv4Network, kind: Kind, nodes: tuple[Node, ...]) -> str:
    """The first address above those of the kind so far: gossip remembers an address for long, so none is reused."""
    hosts = [int(node.address.rpartition(".")[2]) for node in nodes if node.kind is kind]
    host = max(hosts, default=0 if kind is Kind.BALANCER else FIRST_WEB_HOST - 1) + 1
    if host > (FIRST_WEB_HOST - 1 if kind is Kind.BALANCER else LAST_HOST):
        raise ClusterError(f"the addresses for another {kind.value} node are used up; begin anew (down, up)")
    return str(network[host])


def _next_name(kind: Kind, taken: set[str]) -> str:
    names = (f"{kind.value}{number}" for number in range(1, 1000))
    return next(name for name in names if name not in taken)

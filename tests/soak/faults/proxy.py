"""HAProxy dies, stands still, loses its socket, starts from an old file, or is changed by hand.

While nobody listens no request can be served: that has an excuse, which ends when a new worker answers.
"""

from __future__ import annotations

from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import ClassVar

from rosterd.errors import ProxyError
from tests.soak.census import AGENT, DAEMON, MASTER, WORKER
from tests.soak.faults.fault import Fault
from tests.soak.schedule import Part
from tests.soak.wellbeing import SERVICE

_PROXY = frozenset({Part.PROXY})
_AWAY = "nobody listens, until supervisord has brought HAProxy back"


class WorkerKilled(Fault):
    """The worker crashes; the master ends with it, and supervisord starts both."""

    name = "haproxy-worker-killed"
    what = "HAProxy's worker gets SIGKILL"
    parts = _PROXY
    excuse = _AWAY
    program: ClassVar[str] = WORKER

    async def inject(self) -> None:
        """Kill it, and wait for another one."""
        before = self.place.pids(WORKER)
        begin = self.place.now()
        try:
            await self.end_it()
            await self.until_back(before)
        finally:
            self.excused_since(begin)

    async def end_it(self) -> None:
        """Kill it."""
        self.place.signal(self.place.pids(self.program)[-1:], SIGKILL)

    async def until_back(self, before: list[int]) -> None:
        """Wait until a worker answers that was not there."""

        async def is_back() -> bool:
            running = await self.place.running()
            return running is not None and running.pid not in before

        await self.place.until(is_back, "a new worker")


class MasterKilled(WorkerKilled):
    """The master crashes, and its worker ends with it."""

    name = "haproxy-master-killed"
    what = "HAProxy's master gets SIGKILL"
    program = MASTER


class OldFile(WorkerKilled):
    """Somebody restores a backup. The file has names of members that are long gone."""

    name = "haproxy-from-old-file"
    what = "HAProxy is stopped, and started from the file that it had at the beginning of the soak"
    parts = frozenset({Part.PROXY, Part.DISK})

    async def end_it(self) -> None:
        """Stop it, replace the file, start it."""
        try:
            await self.place.supervisorctl("stop", "haproxy")
            self.place.config.write_text(self.place.first_file, encoding="utf-8")
        finally:
            await self.place.supervisorctl("start", "haproxy")


class HAProxyStopped(Fault):
    """All of its processes stand still."""

    name = "haproxy-stopped"
    what = "HAProxy stands still (SIGSTOP) for 2 to 10 s"
    parts = _PROXY
    excuse = "nobody serves while HAProxy stands still; clients give up after 5 s"
    lasts: ClassVar[tuple[float, float]] = (2.0, 10.0)
    programs: ClassVar[tuple[str, ...]] = (MASTER, WORKER)

    async def inject(self) -> None:
        """Stop them."""
        self.begin = self.place.now()
        self.pids = [pid for program in self.programs for pid in self.place.pids(program)]
        self.place.signal(self.pids, SIGSTOP)

    async def heal(self) -> None:
        """Let them go on."""
        self.place.signal(self.pids, SIGCONT)
        self.excused_since(self.begin)


class MachinePaused(Fault):
    """As a machine that is being moved: for less long than a client waits."""

    name = "machine-paused"
    what = "rosterd, agent and HAProxy stand still (SIGSTOP) for 1 to 3 s, all at once"
    parts = frozenset(Part)
    lasts: ClassVar[tuple[float, float]] = (1.0, 3.0)

    async def inject(self) -> None:
        """Stop them."""
        self.pids = [pid for program in (DAEMON, AGENT, MASTER, WORKER) for pid in self.place.pids(program)]
        self.place.signal(self.pids, SIGSTOP)

    async def heal(self) -> None:
        """Let them go on."""
        self.place.signal(self.pids, SIGCONT)


class SocketRemoved(Fault):
    """HAProxy runs on and nobody can speak to it."""

    name = "haproxy-socket-removed"
    what = "HAProxy's runtime socket is deleted"
    parts = _PROXY

    async def inject(self) -> None:
        """Delete it."""
        self.place.balancer.runtime_socket.unlink()

    async def lingers(self) -> str:
        """Until there is another one."""
        return "" if self.place.balancer.runtime_socket.exists() else "no runtime socket"


class ChangedByHand(Fault):
    """Somebody types into HAProxy's socket."""

    name = "haproxy-changed-by-hand"
    what = "somebody changes a weight, takes a server out (and in again), or adds one on HAProxy's runtime socket"
    parts = _PROXY
    nodes = 1
    lasts: ClassVar[tuple[float, float]] = (0.5, 3.0)

    async def inject(self) -> None:
        """Say it."""
        self.server = await self._name()
        self.choice = self.dice.choice(("weight", "maint", "added"))
        line = {
            "weight": f"set weight {SERVICE}/{self.server} 7",
            "maint": f"set server {SERVICE}/{self.server} state maint",
            "added": f"add server {SERVICE}/by-hand 127.20.255.254:3000 weight 1",
        }[self.choice]
        await self.place.tell_haproxy(line)

    async def heal(self) -> None:
        """Take back what is for people to take back: who was taken out by hand stays out."""
        if self.choice == "maint":
            await self.place.tell_haproxy(f"set server {SERVICE}/{self.server} state ready")

    async def _name(self) -> str:
        running = await self.place.running()
        if running is None:
            raise ProxyError("HAProxy does not answer")
        servers = running.backends.get(SERVICE, {}).values()
        return next(server.name for server in servers if str(server.address) == self.victims[0].address)

"""Web nodes fail, leave, come back, or seem to."""

from __future__ import annotations

import asyncio
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP
from typing import TYPE_CHECKING, ClassVar

from tests.serf_agent import SerfAgent
from tests.soak.census import AGENT, APP
from tests.soak.faults.fault import Fault, Replaced
from tests.soak.place import WEB_NODES
from tests.soak.schedule import Part
from tests.soak.wellbeing import SERVICE, USUAL_WEIGHT

if TYPE_CHECKING:
    from rosterd.model import RunningServer

_NODES = frozenset({Part.NODES})
_SOME_SECONDS = (0.5, 8.0)
_FLAPS = 4
_CUT = "an answer of which the client has a part when the server dies is cut"
_SECOND_PORTS = (7956, 7383)


class NodeKilled(Fault):
    """Web nodes crash, and come back as new members at the same address."""

    name = "node-killed"
    what = "a web node gets SIGKILL, all its processes at once; it is back after some seconds"
    parts = _NODES
    nodes = 1
    cut = _CUT
    lasts: ClassVar[tuple[float, float]] = _SOME_SECONDS

    async def inject(self) -> None:
        """Kill them."""
        begin = self.place.now()
        for node in self.victims:
            self.place.cluster.kill(node)
        self.cut_since(begin)

    async def heal(self) -> None:
        """Start them again."""
        for node in self.victims:
            self.place.cluster.start(node)


class HalfKilled(NodeKilled):
    """Half of them at once."""

    name = "half-killed"
    what = "half of the web nodes get SIGKILL at once"
    nodes = WEB_NODES // 2


class AllButOneKilled(NodeKilled):
    """One is left."""

    name = "all-but-one-killed"
    what = "all web nodes but one get SIGKILL at once"
    nodes = WEB_NODES - 1


class AllKilled(NodeKilled):
    """None is left, until the first is back."""

    name = "all-killed"
    what = "all web nodes get SIGKILL at once"
    nodes = WEB_NODES
    excuse = "nobody is left to answer, until the first web node is back"
    lasts: ClassVar[tuple[float, float]] = (0.5, 3.0)

    async def inject(self) -> None:
        """Kill them."""
        self.begin = self.place.now()
        await super().inject()

    async def heal(self) -> None:
        """Start them again, and wait until one answers."""
        await super().heal()
        try:
            await self.place.until(self._somebody_is_up, "a server that is up")
        finally:
            self.excused_since(self.begin)

    async def _somebody_is_up(self) -> bool:
        running = await self.place.running()
        servers = running.backends.get(SERVICE, {}).values() if running else ()
        return any(server.up and server.checked and server.weight for server in servers)


class NodeLeft(Fault):
    """Web nodes are stopped in order, and started again."""

    name = "node-left"
    what = "a web node is stopped in order; it is back after some seconds"
    parts = _NODES
    nodes = 1
    lasts: ClassVar[tuple[float, float]] = _SOME_SECONDS

    async def inject(self) -> None:
        """Stop them, all at the same time."""
        await asyncio.gather(*map(self.place.cluster.stop, self.victims))

    async def heal(self) -> None:
        """Start them again."""
        for node in self.victims:
            if not self.place.cluster.is_running(node):
                self.place.cluster.start(node)


class HalfLeft(NodeLeft):
    """Serf loses some of the words."""

    name = "half-left"
    what = "half of the web nodes are stopped in order at once"
    nodes = WEB_NODES // 2


class NodeFlaps(Fault):
    """A web node's agent leaves and joins, over and over."""

    name = "node-flaps"
    what = f"a web node's agent leaves and joins {_FLAPS} times in a row"
    parts = _NODES
    nodes = 1

    async def inject(self) -> None:
        """Restart its agent."""
        for _ in range(_FLAPS):
            await self.place.supervisorctl("restart", "serf", node=self.victims[0])


class NodeSeemsFailed(Fault):
    """Gossip says that a node failed, and it answers all the time."""

    name = "node-seems-failed"
    what = "a web node's agent stands still (SIGSTOP) for 5 to 20 s, as if its packets were lost; the app answers"
    parts = _NODES
    nodes = 1
    lasts: ClassVar[tuple[float, float]] = (5.0, 20.0)

    async def inject(self) -> None:
        """Stop the agent."""
        self.pids = self.place.pids(AGENT, self.victims[0])
        self.place.signal(self.pids, SIGSTOP)

    async def heal(self) -> None:
        """Let it go on."""
        self.place.signal(self.pids, SIGCONT)


class AddressTakenOver(NodeKilled):
    """A new member takes the address of one that Serf holds for failed."""

    name = "address-taken-over"
    what = "a web node gets SIGKILL; once Serf holds it for failed, a new one takes its address"

    lasts: ClassVar[tuple[float, float]] = (0.0, 1.0)

    async def inject(self) -> None:
        """Kill it, and wait for gossip, which another fault may have deaf just now."""
        await super().inject()
        with_address = self.victims[0].address

        async def nobody_is_alive_there() -> bool:
            rows = (await self.place.members()).get("members", [])
            return bool(rows) and not any(row["address"] == with_address and row["status"] == "alive" for row in rows)

        await self.place.until(nobody_is_alive_there, "the member to be held for failed")


class AddressClaimedTwice(Fault):
    """A second member says that it is where a living one serves."""

    name = "address-claimed-twice"
    what = "a second agent claims a web node's address and port, for 1 to 5 s"
    parts = _NODES
    nodes = 1
    lasts: ClassVar[tuple[float, float]] = (1.0, 5.0)

    async def inject(self) -> None:
        """Start an agent that speaks for the same web server."""
        node, ports = self.victims[0], self.place.cluster.ports
        self.agent = SerfAgent(
            node.address,
            node.directory / f"claim-{self.dice.getrandbits(32):x}",
            name=f"claim-{self.dice.getrandbits(32):x}",
            tags={"role": "backend", "port": str(ports.service)},
            join=(f"{node.address}:{ports.gossip}",),
            encrypt_key=self.place.secret("encrypt_key").read_text(encoding="utf-8"),
            ports=_SECOND_PORTS,
        )
        await asyncio.to_thread(self.agent.start)

    async def heal(self) -> None:
        """Have it leave."""
        self.place.signal([self.agent.pid], SIGINT)
        try:
            await asyncio.to_thread(self.agent.wait)
        finally:
            self.agent.close()


class AppKilled(Fault):
    """The web server crashes, and its agent knows nothing of it."""

    name = "app-killed"
    what = "a web node's app gets SIGKILL, its agent does not; supervisord brings the app back"
    parts = _NODES
    nodes = 1
    cut = _CUT

    async def inject(self) -> None:
        """Kill it."""
        self.app = Replaced(APP, lambda: self.place.pids(APP, self.victims[0]))
        begin = self.place.now()
        self.place.signal(self.app.before, SIGKILL)
        self.cut_since(begin)

    async def lingers(self) -> str:
        """Until there is another one."""
        return self.app.lingers()


class TagsChanged(Fault):
    """An operator takes a node out, or gives it less, and takes that back."""

    name = "tags-changed"
    what = "a web node's tags say `weight=10`, `state=drain` or `state=maint` for a while"
    parts = _NODES
    nodes = 1
    lasts: ClassVar[tuple[float, float]] = (0.5, 4.0)

    async def inject(self) -> None:
        """Set one of them, and see it in HAProxy."""
        self.tag, value = self.dice.choice([("weight", "10"), ("state", "drain"), ("state", "maint")])
        await self.place.set_tags(self.victims[0], {self.tag: value})

        async def shows() -> bool:
            server = await self._server()
            return server is None or server.weight != USUAL_WEIGHT or server.state.value != "ready"

        await self.place.until(shows, f"HAProxy to show {self.tag}={value}")

    async def heal(self) -> None:
        """Delete it."""
        await self.place.set_tags(self.victims[0], {self.tag: ""})

    async def _server(self) -> RunningServer | None:
        running = await self.place.running()
        servers = running.backends.get(SERVICE, {}).values() if running else ()
        return next((server for server in servers if str(server.address) == self.victims[0].address), None)

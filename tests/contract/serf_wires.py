"""The two agents that the contract tests run on, behind one face: a real one, and the fake that must act like it."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from typing_extensions import override

from compose.node import state_handler
from rosterd.serf.client import SerfListener
from rosterd.serf.state_change import QUERY
from tests.loopback import free_address
from tests.serf_agent import SerfAgent
from tests.serf_fake import FakeAgent, FakeMember

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rosterd.errors import SerfError
    from rosterd.model import MemberRecord, Snapshot

Seen = TypeVar("Seen")


class Handler(Enum):
    """How an agent handles the query that sets its state."""

    SETS = "sets the tag"
    REFUSES = "says why it cannot"
    LIES = "says that it did, and did not"
    FAILS = "ends without an answer"


class Wire(Protocol):
    """A local agent, and a cluster around it that does as the test says. The local agent's own name is `local`."""

    @property
    def rpc_address(self) -> tuple[str, int]:
        """Where the local agent's RPC listens."""

    async def start(self, auth_key: str | None = None) -> None:
        """Start the local agent, or start it again."""

    async def kill(self) -> None:
        """Crash the local agent."""

    def pause(self) -> None:
        """Freeze the local agent."""

    def resume(self) -> None:
        """Let it go on."""

    async def add(self, name: str, tags: dict[str, str], handler: Handler | None = None) -> None:
        """Start another agent that joins the local one; does not wait for it to be seen."""

    async def leave(self, name: str) -> None:
        """Have another agent leave in order; does not wait for the end."""

    async def set_tags(self, tags: dict[str, str]) -> None:
        """Change tags of the local agent."""

    async def stranger(self, name: str) -> tuple[str, int]:
        """Start an agent that joins nobody, and return where it gossips."""

    async def close(self) -> None:
        """End everything."""


class RealWire(Wire):
    """Real agents, each on an address of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._local = SerfAgent(free_address(), directory / "local", name="local")
        self._others: dict[str, SerfAgent] = {}

    @property
    @override
    def rpc_address(self) -> tuple[str, int]:
        return self._local.rpc_address

    @override
    async def start(self, auth_key: str | None = None) -> None:
        self._local.auth_key = auth_key
        await asyncio.to_thread(self._local.start)

    @override
    async def kill(self) -> None:
        self._local.kill()

    @override
    def pause(self) -> None:
        self._local.pause()

    @override
    def resume(self) -> None:
        self._local.resume()

    @override
    async def add(self, name: str, tags: dict[str, str], handler: Handler | None = None) -> None:
        agent = self._new(name, tags, (self._local.gossip,))
        if handler is not None:
            agent.settings = {"event_handlers": [f"query:{QUERY}={_script(handler, agent)}"]}
        agent.spawn()

    @override
    async def leave(self, name: str) -> None:
        self._others[name].interrupt()

    @override
    async def set_tags(self, tags: dict[str, str]) -> None:
        await asyncio.to_thread(lambda: self._local.set_tags(**tags))

    @override
    async def stranger(self, name: str) -> tuple[str, int]:
        agent = self._new(name, {}, ())
        await asyncio.to_thread(agent.start)
        return agent.address, 7946

    @override
    async def close(self) -> None:
        for agent in (*self._others.values(), self._local):
            agent.close()

    def _new(self, name: str, tags: dict[str, str], join: tuple[str, ...]) -> SerfAgent:
        directory = self._directory / f"agent{len(self._others)}"
        agent = SerfAgent(free_address(), directory, name=name, tags=tags, join=join)
        self._others[name] = agent
        return agent


def _script(handler: Handler, agent: SerfAgent) -> str:
    """What Serf has the shell run for it: the handler that is shipped, or one that is broken in some way."""
    program = shlex.quote(state_handler.__file__)  # as the operations page has it: the file itself
    rpc = f"--rpc-addr={agent.address}:{agent.rpc_address[1]}"
    return {
        Handler.SETS: f"{program} {rpc}",
        Handler.REFUSES: f"{program} {rpc} --rpc-auth-file=/no/such/file",
        Handler.LIES: "echo ok",
        Handler.FAILS: "exit 3",
    }[handler]


class FakeWire(Wire):
    """The fake agent and rows in its table."""

    def __init__(self) -> None:
        self._agent = FakeAgent()
        self._agent.members["local"] = FakeMember("local", "127.77.0.1")

    @property
    @override
    def rpc_address(self) -> tuple[str, int]:
        return self._agent.rpc_address

    @override
    async def start(self, auth_key: str | None = None) -> None:
        self._agent.auth_key = auth_key
        await self._agent.start()

    @override
    async def kill(self) -> None:
        self._agent.kill()

    @override
    def pause(self) -> None:
        self._agent.pause()

    @override
    def resume(self) -> None:
        self._agent.resume()

    @override
    async def add(self, name: str, tags: dict[str, str], handler: Handler | None = None) -> None:
        self._agent.put(FakeMember(name, "127.77.0.2", tags=tags))
        if handler is not None:
            self._agent.handlers[name] = partial(self._answer, handler, name)

    @override
    async def leave(self, name: str) -> None:
        member = self._agent.members[name]
        self._agent.put(replace(member, status="leaving"))
        asyncio.get_running_loop().call_later(0.3, self._agent.put, replace(member, status="left"))

    @override
    async def set_tags(self, tags: dict[str, str]) -> None:
        self._agent.set_tags("local", tags)

    def _answer(self, handler: Handler, name: str, payload: bytes) -> bytes | None:
        if handler is Handler.SETS:
            tags = {key: value for key, value in self._agent.members[name].tags.items() if key != "state"}
            state = payload.decode().strip()
            self._agent.set_tags(name, tags if state == "ready" else tags | {"state": state})
        words = {Handler.REFUSES: b"error: [Errno 2] No such file or directory: '/no/such/file'", Handler.FAILS: None}
        return words.get(handler, b"ok")

    @override
    async def stranger(self, name: str) -> tuple[str, int]:
        self._agent.joinable["127.77.0.3:7946"] = FakeMember(name, "127.77.0.3")
        return "127.77.0.3", 7946

    @override
    async def close(self) -> None:
        await self._agent.close()


async def eventually(seen: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until `seen` holds, for what nobody announces; TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not seen():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.002)


@dataclass
class Heard(SerfListener):
    """A listener that remembers, and on which a test can wait."""

    snapshots: list[Snapshot] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    errors: list[SerfError] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @override
    def snapshot_read(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self._tell("snapshot")

    @override
    def agent_reached(self) -> None:
        self._tell("reached")

    @override
    def agent_lost(self, error: SerfError) -> None:
        self.errors.append(error)
        self._tell("lost")

    @property
    def latest(self) -> Snapshot | None:
        """The newest snapshot."""
        return self.snapshots[-1] if self.snapshots else None

    def record(self, name: str) -> MemberRecord | None:
        """Return the newest row of that name."""
        rows = self.latest.records if self.latest else ()
        return next((row for row in rows if row.name == name.encode(errors="surrogateescape")), None)

    def status(self, name: str) -> str:
        """Return the newest status of the member of that name, `absent` where there is none."""
        row = self.record(name)
        return "absent" if row is None else row.status.decode()

    async def until(self, seen: Callable[[], Seen | None], within: float) -> Seen:
        """Wait until `seen` gives something, and return it; TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            while not (what := seen()):
                self._news.clear()
                await self._news.wait()
            return what

    def _tell(self, what: str) -> None:
        if not (what == "snapshot" and self.story[-1:] == ["snapshot"]):
            self.story.append(what)
        self._news.set()

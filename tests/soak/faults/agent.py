"""The balancer's own Serf agent fails."""

from __future__ import annotations

import base64
import os
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import ClassVar

from tests.soak.census import AGENT
from tests.soak.faults.fault import Fault, Replaced
from tests.soak.schedule import Part


class AgentKilled(Fault):
    """It crashes; supervisord starts another one, which knows nobody at first."""

    name = "agent-killed"
    what = "the balancer's agent gets SIGKILL"
    parts = frozenset({Part.AGENT})

    async def inject(self) -> None:
        """Kill it."""
        self.agent = Replaced(AGENT, lambda: self.place.pids(AGENT))
        self.place.signal(self.agent.before, SIGKILL)

    async def lingers(self) -> str:
        """Until there is another one."""
        return self.agent.lingers()


class AgentStopped(Fault):
    """It stands still: its sockets are open, and nothing answers."""

    name = "agent-stopped"
    what = "the balancer's agent stands still (SIGSTOP) for 3 to 20 s"
    parts = frozenset({Part.AGENT})
    lasts: ClassVar[tuple[float, float]] = (3.0, 20.0)

    async def inject(self) -> None:
        """Stop it."""
        self.pids = self.place.pids(AGENT)
        self.place.signal(self.pids, SIGSTOP)

    async def heal(self) -> None:
        """Let it go on."""
        self.place.signal(self.pids, SIGCONT)


class AgentRestarted(Fault):
    """It leaves in order, and the next one joins."""

    name = "agent-restarted"
    what = "supervisord restarts the balancer's agent"
    parts = frozenset({Part.AGENT})

    async def inject(self) -> None:
        """Restart it."""
        self.agent = Replaced(AGENT, lambda: self.place.pids(AGENT))
        await self.place.supervisorctl("restart", "serf")

    async def lingers(self) -> str:
        """Until there is another one."""
        return self.agent.lingers()


class AgentWithWrongKey(Fault):
    """It cannot hear the others, which is no news of them. A web node that started now would have the wrong key too."""

    name = "agent-with-wrong-key"
    what = "the balancer's agent is restarted with another gossip key, for 3 to 10 s"
    parts = frozenset({Part.AGENT, Part.NODES})
    lasts: ClassVar[tuple[float, float]] = (3.0, 10.0)

    async def inject(self) -> None:
        """Restart it with a key that nobody else has."""
        self.file = self.place.secret("encrypt_key")
        self.key = self.file.read_text(encoding="utf-8")
        self.file.write_text(base64.b64encode(os.urandom(32)).decode(), encoding="utf-8")
        await self.place.supervisorctl("restart", "serf")

    async def heal(self) -> None:
        """Give it the right one."""
        self.file.write_text(self.key, encoding="utf-8")
        await self.place.supervisorctl("restart", "serf")

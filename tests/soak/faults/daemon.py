"""The daemon itself ends, stands still, or is told things."""

from __future__ import annotations

import asyncio
import socket
from signal import SIGCONT, SIGHUP, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import TYPE_CHECKING, ClassVar

import msgpack

from tests.soak.census import DAEMON
from tests.soak.faults.fault import Fault, Replaced
from tests.soak.faults.template import with_header
from tests.soak.schedule import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

_EVENTS = 10_000
_RPC_S = 20.0


class DaemonKilled(Fault):
    """It crashes, and supervisord starts it again."""

    name = "daemon-killed"
    what = "rosterd gets SIGKILL"
    parts = frozenset({Part.DAEMON})
    signal: ClassVar[Signals] = SIGKILL

    async def inject(self) -> None:
        """Send the signal."""
        self.daemon = Replaced(DAEMON, lambda: self.place.pids(DAEMON))
        self.place.signal(self.daemon.before, self.signal)

    async def lingers(self) -> str:
        """Until there is another one."""
        return self.daemon.lingers()


class DaemonTerminated(DaemonKilled):
    """It is stopped in order, and supervisord starts it again."""

    name = "daemon-terminated"
    what = "rosterd gets SIGTERM"
    signal = SIGTERM


class DaemonKilledAgain(DaemonKilled):
    """Also while it starts."""

    name = "daemon-killed-again"
    what = "rosterd gets SIGKILL five times, 0.1 to 3 s after each other"

    async def inject(self) -> None:
        """Kill whichever runs."""
        for _ in range(4):
            self.place.signal(self.place.pids(DAEMON), SIGKILL)
            await asyncio.sleep(self.dice.uniform(0.1, 3.0))
        await self.place.until(self._is_there, "another rosterd")
        await super().inject()

    async def _is_there(self) -> bool:
        return self.place.pids(DAEMON) != []


class DaemonKilledInReload(DaemonKilled):
    """Between write, check, rename and reload."""

    name = "daemon-killed-in-reload"
    what = "rosterd gets SIGKILL up to 0.6 s after an edit of the template"
    parts = frozenset({Part.DAEMON, Part.TEMPLATE})

    async def inject(self) -> None:
        """Edit, and kill."""
        self.text = self.place.balancer.template.read_text(encoding="utf-8")
        self.place.write_template(with_header(self.text, "killed"))
        await asyncio.sleep(self.dice.uniform(0.0, 0.6))
        await super().inject()

    async def heal(self) -> None:
        """Take the edit back."""
        self.place.write_template(self.text)


class DaemonHungUp(Fault):
    """It reads everything again."""

    name = "daemon-hung-up"
    what = "rosterd gets SIGHUP ten times within a second or two"
    parts = frozenset({Part.DAEMON})

    async def inject(self) -> None:
        """Send the signals."""
        for _ in range(10):
            self.place.signal(self.place.pids(DAEMON), SIGHUP)
            await asyncio.sleep(self.dice.uniform(0.0, 0.2))


class DaemonStopped(Fault):
    """It reads nothing while the agent has ten thousand events to tell."""

    name = "daemon-stopped"
    what = f"rosterd stands still (SIGSTOP) for 3 to 10 s, while the agent is sent {_EVENTS:,} events"
    parts = frozenset({Part.DAEMON, Part.AGENT})
    lasts: ClassVar[tuple[float, float]] = (3.0, 10.0)

    async def inject(self) -> None:
        """Stop it, and have the events sent."""
        self.pids = self.place.pids(DAEMON)
        self.place.signal(self.pids, SIGSTOP)
        address, port = self.place.balancer.address, self.place.cluster.ports.rpc
        key = self.place.secret("rpc_auth").read_text(encoding="utf-8")
        await asyncio.to_thread(_fire, (address, port), key, _EVENTS)

    async def heal(self) -> None:
        """Let it go on."""
        self.place.signal(self.pids, SIGCONT)


def _fire(rpc: tuple[str, int], key: str, number: int) -> None:
    """Have an agent send so many user events, at the pace at which it takes them."""
    answers = msgpack.Unpacker(raw=True)
    with socket.create_connection(rpc, timeout=_RPC_S) as line:

        def ask(seq: int, command: str, body: Mapping[str, object]) -> None:
            line.sendall(msgpack.packb({"Command": command, "Seq": seq}) + msgpack.packb(body))

        def wait_for(seq: int) -> None:
            while True:
                for answer in answers:
                    if isinstance(answer, dict) and answer.get(b"Seq") == seq:
                        return
                data = line.recv(65_536)
                if not data:
                    raise ConnectionError("the agent hung up")
                answers.feed(data)

        ask(0, "handshake", {"Version": 1})
        ask(1, "auth", {"AuthKey": key})
        for seq in range(2, number + 2):
            ask(seq, "event", {"Name": f"e{seq % 100}", "Payload": b"x" * 100, "Coalesce": False})
            if seq % 500 == 0:
                wait_for(seq)

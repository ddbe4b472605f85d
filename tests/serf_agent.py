"""A real `serf agent` on an address of its own, for tests and for recording fixtures.

    with SerfAgent(address, directory=tmp_path / "web1", tags={"role": "backend"}) as agent:
        agent.set_tags(weight="10")
        agent.kill()

The agent binds gossip 7946 and RPC 7373 on one 127.x.y.z address, so many run side by side without a port list. Its
settings, secrets among them, are in a file that only its owner may read, and its log is `serf.log` beside it. Every
method waits in the calling thread; inside an event loop use `spawn` (which does not wait) or `asyncio.to_thread`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgpack

from tests.frozen import freeze
from tests.loopback import GOSSIP_PORT, RPC_PORT
from tests.versions import require_serf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.01


class AgentFailed(RuntimeError):
    """The agent ended, or did not do in time what was asked; the text ends with its log."""


@dataclass
class SerfAgent:
    """One agent: what it is told, and the process while it runs.

    `name` defaults to the last two numbers of the address. `join` gets the addresses (or host:port) to join with at
    the start, retried each second. `encrypt_key` is base64 of 16, 24 or 32 bytes. `raw_name` and `raw_tags` go over
    the command line as they are, for names and values that are no UTF-8; they replace `name` and `tags`.
    `settings` is merged last into the configuration file, for everything else that Serf knows. `prefix` goes before the
    command, such as that of an island. `ports` are those of gossip and RPC, for a second agent at one address.
    """

    address: str
    directory: Path
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    join: tuple[str, ...] = ()
    auth_key: str | None = None
    encrypt_key: str | None = None
    raw_name: bytes | None = None
    raw_tags: Mapping[bytes, bytes] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    ports: tuple[int, int] = (GOSSIP_PORT, RPC_PORT)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.name = self.name or "n" + "-".join(self.address.replace(":", "-").split(".")[-2:])

    # --- where it is --------------------------------------------------------------------------------------------

    @property
    def rpc_address(self) -> tuple[str, int]:
        """Where the RPC listens."""
        return self.address, self.ports[1]

    @property
    def gossip(self) -> str:
        """What another agent's `join` or a seed setting takes."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.ports[0]}"

    @property
    def pid(self) -> int:
        """The running process."""
        return self._running().pid

    @property
    def log(self) -> str:
        """Everything the agent has logged so far, over all its lives."""
        path = self.directory / "serf.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the agent and wait until its RPC answers; where it does not, nothing is left running."""
        self.spawn()
        try:
            self.wait_ready()
        except AgentFailed:
            self.close()
            raise
        return self

    def spawn(self) -> None:
        """Start the agent and return at once."""
        if self.process is not None and self.process.poll() is None:
            raise AgentFailed(f"{self.name} runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self._write_config()
        with (self.directory / "serf.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, "serf", "agent", f"-config-file={config}", *self._raw_arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until the RPC answers a handshake."""
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._running().poll() is not None:
                raise AgentFailed(f"{self.name} ended by itself\n{self.log}")
            if time.monotonic() > deadline:
                raise AgentFailed(f"{self.name}: no answer from the RPC after {timeout} s\n{self.log}")
            time.sleep(POLL_S)
        require_serf(self.pid)

    def leave(self) -> int:
        """Leave the cluster in order (SIGINT), wait for the end and return the exit status."""
        self.interrupt()
        return self.wait()

    def interrupt(self) -> None:
        """Ask for a graceful leave (SIGINT) and return at once."""
        self._running().send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Crash (SIGKILL)."""
        self._running().kill()
        self.wait()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): its sockets stay open and nothing answers."""
        freeze(self._running().pid)

    def resume(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def wait(self, timeout: float = STOP_TIMEOUT_S) -> int:
        """Wait for the end of the process and return its exit status."""
        try:
            return self._running().wait(timeout)
        except subprocess.TimeoutExpired:
            raise AgentFailed(f"{self.name} did not end within {timeout} s\n{self.log}") from None

    def close(self) -> None:
        """End the process, whatever its state; safe to call twice."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.kill()  # ends a stopped process too
        self.process.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- orders -------------------------------------------------------------------------------------------------

    def set_tags(self, *remove: str, **tags: str) -> None:
        """Change tags of the running agent: `set_tags("state", weight="10")` deletes one and sets one."""
        changes = [f"-set={key}={value}" for key, value in tags.items()]
        self.command("tags", *changes, *(f"-delete={key}" for key in remove))

    def join_now(self, *addresses: str) -> None:
        """Join these agents now."""
        self.command("join", *addresses)

    def command(self, name: str, *arguments: str) -> str:
        """Run `serf NAME ARGUMENTS` against this agent and return what it printed."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        done = subprocess.run(
            [*self.prefix, "serf", name, f"-rpc-addr={host}:{self.ports[1]}", *arguments],
            # The key in the environment, not in the arguments, where every user of the machine could read it.
            env=os.environ | ({"SERF_RPC_AUTH": self.auth_key} if self.auth_key else {}),
            capture_output=True,
            timeout=STOP_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            output = (done.stdout + done.stderr).decode(errors="replace")
            raise AgentFailed(f"serf {name} {' '.join(arguments)}: {output}")
        return done.stdout.decode(errors="replace")

    # --- inside -------------------------------------------------------------------------------------------------

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise AgentFailed(f"{self.name} was never started")
        return self.process

    def _write_config(self) -> Path:
        host = f"[{self.address}]" if ":" in self.address else self.address
        config: dict[str, object] = {
            "bind": f"{host}:{self.ports[0]}",
            "rpc_addr": f"{host}:{self.ports[1]}",
            "profile": "lan",
            "retry_join": list(self.join),
            "retry_interval": "1s",
        }
        if self.raw_name is None:
            config["node_name"] = self.name
        if not self.raw_tags:
            config["tags"] = dict(self.tags)
        if self.auth_key is not None:
            config["rpc_auth"] = self.auth_key
        if self.encrypt_key is not None:
            config["encrypt_key"] = self.encrypt_key
        path = self.directory / "serf.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config | dict(self.settings)))
        return path

    def _raw_arguments(self) -> list[bytes]:
        name = [] if self.raw_name is None else [b"-node=" + self.raw_name]
        return name + [b"-tag=" + key + b"=" + value for key, value in self.raw_tags.items()]

    def _answers(self) -> bool:
        handshake = msgpack.packb({"Command": "handshake", "Seq": 0}) + msgpack.packb({"Version": 1})
        try:
            with socket.create_connection(self.rpc_address, timeout=1.0) as rpc:
                rpc.sendall(handshake)
                return rpc.recv(64) != b""
        except OSError:
            return False

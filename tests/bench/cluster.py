"""The Serf cluster that contenders are put on: real agents, each with an address of its own.

A web node is an agent with `role=backend` and a site of the web farm. It stops as a node under supervisord does: the
agent leaves, and a second after it is gone the web server stops in order. Names and addresses are never used twice.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from tests.bench.children import WEB_PORT, WebFarm
from tests.bench.waiting import until
from tests.loopback import free_address
from tests.serf_agent import AgentFailed, SerfAgent

if TYPE_CHECKING:
    from pathlib import Path

WEB_STOPS_AFTER_S = 1.0
_STARTERS = 8
_LEAVE_S = 15.0


@dataclass
class Node:
    """A web node; `started_at` and `left_at` are when its agent was started and told to leave."""

    agent: SerfAgent
    farm: WebFarm
    started_at: float = 0.0
    left_at: float = 0.0
    farewell: threading.Thread | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Its Serf name."""
        return self.agent.name

    @property
    def address(self) -> str:
        """Where it listens, and what `x-backend-ip` of its answers says."""
        return self.agent.address

    def start(self) -> None:
        """Start its agent; its web server answers already."""
        self.started_at = time.monotonic()
        self.agent.spawn()

    def wait_joined(self) -> None:
        """Wait until its agent has done joining: Serf loses a leave that comes before."""
        until(lambda: "Join completed" in self.agent.log, f"{self.name} to have joined")

    def leave(self) -> None:
        """Tell its agent to leave, and return at once; the web server follows by itself."""
        self.left_at = time.monotonic()
        self.agent.interrupt()
        self.farewell = threading.Thread(target=self._follow, daemon=True)
        self.farewell.start()

    def _follow(self) -> None:
        try:
            self.agent.wait(_LEAVE_S)
        except AgentFailed:
            self.agent.close()
        time.sleep(WEB_STOPS_AFTER_S)
        self.farm.close_site(self.address)

    def wait_gone(self) -> None:
        """Wait until nothing of it is left."""
        if self.farewell is not None:
            self.farewell.join(_LEAVE_S + 2 * WEB_STOPS_AFTER_S)


class Cluster:
    """Agents that know each other. `anchor` is the first, which serves nothing and stays."""

    def __init__(self, directory: Path, farm: WebFarm) -> None:
        self._directory = directory
        self._farm = farm
        self._agents: list[SerfAgent] = []
        self.anchor = self._agent({"role": "spare"}, joins=())

    def __enter__(self) -> Self:
        self.anchor.start()
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self._agents:
            agent.close()

    def seed(self) -> str:
        """Whom a new agent joins."""
        return self.anchor.address

    def node(self, farm: WebFarm | None = None) -> Node:
        """Make a web node whose web server answers and whose agent is not started yet."""
        farm = farm or self._farm
        agent = self._agent({"role": "backend", "port": str(WEB_PORT)}, joins=(self.seed(),))
        farm.open(agent.address)
        return Node(agent, farm)

    def start_nodes(self, count: int) -> list[Node]:
        """Start some web nodes and wait until they have joined."""
        nodes = [self.node() for _ in range(count)]
        self.start_all([node.agent for node in nodes])
        return nodes

    def start_spares(self, count: int) -> None:
        """Make the cluster larger by agents that serve nothing."""
        self.start_all([self._agent({"role": "spare"}, joins=(self.seed(),)) for _ in range(count)])

    def start_all(self, agents: list[SerfAgent]) -> None:
        """Start agents, some at a time, and wait until they have joined."""
        with ThreadPoolExecutor(_STARTERS) as pool:
            list(pool.map(SerfAgent.start, agents))
        for agent in agents:
            until(partial(_has_joined, agent), f"{agent.name} to have joined")

    def _agent(self, tags: dict[str, str], joins: tuple[str, ...]) -> SerfAgent:
        address = free_address(WEB_PORT)
        agent = SerfAgent(address, self._directory / f"agent-{address}", tags=tags, join=joins)
        self._agents.append(agent)
        return agent


def _has_joined(agent: SerfAgent) -> bool:
    return "Join completed" in agent.log

"""Where the demo plays: the few things that a step does to a cluster, whatever it is made of.

`local.py` plays with processes, `containers.py` with containers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compose.haproxy_view import Endpoint, Master
    from compose.logs import Line


class Spot(Protocol):
    """A node as the steps and the display see it."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def address(self) -> str:
        """Where its web server listens: the header `x-backend-ip` of its answers."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the balancer's doors are, as this machine reaches them, and the template to be edited."""

    traffic: tuple[str, int]
    stats: tuple[str, int]
    admin: tuple[str, int]
    runtime: Endpoint
    template: Path


class Stage(Protocol):
    """A cluster with one balancer, to be changed. Everything that waits has a deadline."""

    site: Site
    made_of: str
    """What a node is here, as a sentence."""
    deadline_s: float
    """For all steps together."""
    close_within_s: float

    async def start(self) -> Sequence[Spot]:
        """Start two web nodes and then the balancer; the web nodes."""

    def require_own(self) -> None:
        """Make sure that the cluster's own processes answer. ClusterError names the endpoints of others."""

    async def add_web(self, number: int) -> Sequence[Spot]:
        """Start so many web nodes more."""

    async def stop(self, spot: Spot) -> float:
        """Stop a web node in order; the seconds it took."""

    async def kill(self, spot: Spot) -> None:
        """Crash a web node."""

    async def set_tags(self, spot: Spot, tags: dict[str, str]) -> None:
        """Set tags of a web node's agent."""

    async def tell(self, spot: Spot, command: str) -> None:
        """Run `rosterd drain`, `maint` or `ready` for a web node, on the balancer; returns when the cluster knows."""

    async def restart_daemon(self) -> None:
        """Have supervisord restart rosterd."""

    async def master(self) -> Master:
        """HAProxy's master process; HAProxyUnreadableError while it does not tell."""

    def executables(self) -> Sequence[str]:
        """The program files that the nodes' processes run now; none where this machine cannot see them."""

    async def problems(self, most: int) -> Sequence[Line]:
        """The last warnings and errors of all programs."""

    async def hints(self) -> Sequence[tuple[str, str]]:
        """Commands to try on a cluster that stays up, each with its purpose."""

    async def keep_logs(self) -> str:
        """Keep all logs for when the cluster is gone: where they are read then, empty where there are none."""

    async def close(self) -> None:
        """Stop everything in order."""

    def close_at_once(self) -> None:
        """End what is left, without waiting for it."""

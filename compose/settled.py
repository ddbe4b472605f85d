"""Whether a local cluster has come to rest: every node that runs is known, and HAProxy does what the files want of it.

Asked of each balancer's rosterd. A node that is tagged out, or serves elsewhere, is known and need not serve.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from compose import http
from compose.cluster import ClusterError, Kind, LocalCluster
from compose.waiting import WaitedInVainError, ask_until

if TYPE_CHECKING:
    from collections.abc import Collection

    from compose.model import Node

DEADLINE_S = 60.0
ASK_TIMEOUT_S = 2.0


async def wait_settled(cluster: LocalCluster, deadline_s: float = DEADLINE_S) -> float:
    """Wait until each balancer that runs serves the nodes that run; how many seconds it took.

    Raises:
        ClusterError: no balancer runs, or it was not so in time.
    """
    running = cluster.running()
    balancers = [node for node in running if node.kind is Kind.BALANCER]
    if not balancers:
        raise ClusterError("no balancer runs; start one (start balancer)")
    addresses = {node.address for node in running}

    async def all_are_settled() -> bool:
        return all([await _is_settled(balancer, cluster.ports.admin, addresses) for balancer in balancers])

    try:
        took = await ask_until(all_are_settled, deadline_s, "the balancer to serve all nodes that run")
    except WaitedInVainError as late:
        raise ClusterError(f"{late}; rosterd status and make logs tell more") from None
    require_own(cluster)
    return took


def require_own(cluster: LocalCluster) -> None:
    """Make sure that what answers on the nodes' addresses is the cluster's own.

    Raises:
        ClusterError: another program listens there; the text names the endpoints.
    """
    strangers = cluster.strangers()
    if strangers:
        endpoints = ", ".join(strangers)
        raise ClusterError(
            f"{endpoints}: another program listens there, perhaps another cluster's; stop it, or this one"
        )


async def _is_settled(balancer: Node, port: int, addresses: Collection[str]) -> bool:
    status = await _ask(balancer, port, "/v1/status")
    members = await _ask(balancer, port, "/v1/members")
    alive = {row["address"] for row in members.get("members", ()) if row["status"] == "alive"}
    return (
        bool(status)
        and status["ready"]
        and status["plan"]["action"] == "nothing"
        and not status["blueprint"]["error"]
        and alive >= set(addresses)
    )


async def _ask(balancer: Node, port: int, path: str) -> dict[str, Any]:
    """What the balancer's rosterd answers; nothing while it does not."""
    try:
        answer = json.loads((await http.get(balancer.address, port, path, ASK_TIMEOUT_S)).body)
    except (OSError, asyncio.IncompleteReadError, http.GarbledAnswerError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}

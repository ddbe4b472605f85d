"""Whether all is well: what the daemon says, what HAProxy really runs, and who answers, beside what should be. Pure.

Between two turns the cluster is always the same: every web node alive, served once at its usual weight, nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from rosterd.model import Running

Json = dict[str, Any]

SERVICE = "nodes"
USUAL_WEIGHT = 100


def ailments(
    status: Json, members: Json, running: Running | None, wanted: Collection[str], silent: Collection[str]
) -> list[str]:
    """Return what is not well, for people; nothing of it means that all is.

    `wanted` are the addresses of the web nodes that should serve, `silent` those among them that have answered nothing
    since the fault. `status` and `members` are empty, and `running` is None, where nobody answered.
    """
    return [
        *_of_daemon(status),
        *_of_members(members, wanted),
        *_of_proxy(running, wanted),
        *(f"{address} has answered no request" for address in sorted(silent)),
    ]


def _of_daemon(status: Json) -> Iterator[str]:
    if not status:
        yield "rosterd does not answer"
        return
    if not status["ready"]:
        yield f"rosterd is not ready: {status['agent']['error'] or status['proxy']['error'] or 'no complete state yet'}"
    if status["plan"]["action"] != "nothing":
        yield f"rosterd has something to do: {status['plan']}"
    if not status["file"]["level"]:
        yield "the file lags behind"
    for name, text in (("edit", status["blueprint"]["error"]), ("action", status["action_error"])):
        if text:
            yield f"an {name} failed: {text}"
    for kind in ("damped", "quarantined"):
        if status[kind]:
            yield f"{kind}: {status[kind]}"


def _of_members(members: Json, wanted: Collection[str]) -> Iterator[str]:
    alive = {row["address"] for row in members.get("members", ()) if row["status"] == "alive"}
    for address in sorted(set(wanted) - alive):
        yield f"no member at {address} is alive"


def _of_proxy(running: Running | None, wanted: Collection[str]) -> Iterator[str]:
    if running is None:
        yield "HAProxy does not answer"
        return
    found: dict[str, list[str]] = {}
    for server in running.backends.get(SERVICE, {}).values():
        state = f"{server.state.value}, weight {server.weight}, {'up' if server.up else 'down'}"
        found.setdefault(str(server.address), []).append(state)
    usual = {address: [f"ready, weight {USUAL_WEIGHT}, up"] for address in wanted}
    for address in sorted(found.keys() | usual.keys()):
        if found.get(address) != usual.get(address):
            yield f"HAProxy's servers at {address}: {'; '.join(found.get(address, ())) or 'none'}"


def totals(rows: Mapping[str, int]) -> str:
    """Return counts as a sentence: `3 x status 503, 1 x connection reset`."""
    return ", ".join(f"{number} x {what}" for what, number in rows.items())

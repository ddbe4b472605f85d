"""What a daemon may have to say: statuses and events for the stage, in the daemon's own form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rosterd.answers import status_answer
from tests.unit.test_report import TRAFFIC, at_work

Json = Mapping[str, Any]

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>'\"&amp;{{7*7}}"
"""What a member could call itself, if names were not parsed; shown as it is, it is harmless."""


def server(name: str, **fields: object) -> Json:
    """Return a row of a server that is up, with these fields otherwise."""
    return {
        "name": name,
        "id": 1,
        "address": "10.0.0.1",
        "port": 3000,
        "weight": 100,
        "state": "ready",
        "up": True,
        "held": "",
        "by_hand": False,
        "out_by_agent": None,
        "sessions": 7,
        "queue": 0,
        "rate_per_s": 40,
        "errors": 0,
        "check": "L7OK",
        "since_s": 65,
        **fields,
    }


def service(name: str, *servers: Json, **fields: object) -> Json:
    """Return a service of these servers."""
    figures = {"sessions": 7, "queue": 0, "rate_per_s": 40, "errors": 0}
    return {"name": name, "servers": list(servers), "leaving": [], **figures, **fields}


def quiet(*services: Json) -> Json:
    """Return the status of a balancer where all is well, with these services or two servers."""
    report = replace(at_work(), agent_error="", proxy_error="", action_error="", blueprint_error="")
    calm = {"guard": "", "guard_overridden": "", "displaced": [], "barred": [], "damped": [], "quarantined": []}
    found = services or (service("nodes", server("web-1"), server("web-2", address="10.0.0.2")),)
    return {**status_answer(report, TRAFFIC), **calm, "services": list(found)}


def troubled() -> Json:
    """Return the status of a balancer that has every trouble there is."""
    report = replace(
        at_work(),
        agent_error="no agent at 127.0.0.1:7373",
        proxy_error="HAProxy's socket /run/haproxy.sock cannot be reached",
        action_error="the disk is full",
        blueprint_error="haproxy.cfg.j2:3: 'nonsense' is undefined",
        encrypted=False,
    )
    status = status_answer(report, TRAFFIC)
    by_hand = server("web-9", state="drain", by_hand=True, address="2001:db8::1")
    nodes: dict[str, Any] = {**status["services"][0], "leaving": [{"name": "web-0", "since_s": 3.5, "sessions": 2}]}
    return {
        **status,
        "guard": "more than half of nodes failed at once",
        "services": [{**nodes, "servers": [*nodes["servers"], by_hand]}],
    }


def event(number: int, name: str, *, trace: str = "", level: str = "info", **fields: object) -> Json:
    """Return an event."""
    time = f"2026-11-25T16:{number // 60 % 60:02}:{number % 60:02}.115128Z"
    envelope = {"id": f"ab12-{number}", "time": time, "level": level, "event": name}
    return {**envelope, **({"trace": trace} if trace else {}), **fields}


def joined(number: int, member: str, trace: str = "") -> Json:
    """Return the event of a member that joins."""
    return event(number, "member.joined", trace=trace, member=member, node="shop", detail="10.0.0.1 port 3000")


def changed(number: int, member: str, trace: str = "") -> Json:
    """Return the event of the change that follows."""
    return event(
        number,
        "servers.changed",
        trace=trace,
        woken_by=["agent"],
        members=[f"{member} joined"],
        commands=[f"add server nodes/{member} 10.0.0.1:3000 id 17 weight 100", f"enable health nodes/{member}"],
        actions_total=1,
        waits=[f"nodes/{member}: its first check"],
        pid=99,
        wake_to_applied_s=0.0046,
    )

"""What the daemon tells of itself: one frozen value a moment, and its JSON.

Pure. The controller makes a `Report`, the admin interface and the commands show it; nobody else looks inside the loop.
The JSON's field names are stable; durations are seconds and end in `_s`. `records_of` is the way back: what
`rosterd members --json` prints is what `rosterd render --members` takes, through the same parser as the network's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from rosterd.damping import Penalties, points_of
from rosterd.errors import MembersFileError
from rosterd.generation import digest_of_desired, digest_of_running
from rosterd.model import (
    Action,
    Address,
    Desired,
    Entry,
    Member,
    MemberRecord,
    Nothing,
    Plan,
    Quarantined,
    Reload,
    Running,
    Runtime,
    Wait,
)
from rosterd.parse import raw_of
from rosterd.policy import Decision
from rosterd.proxy.actions import lines_of
from rosterd.proxy.traffic import NOT_ASKED, Figures, Reading
from rosterd.roster import Table
from rosterd.settings import ServiceSettings

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LastReload:
    """The last reload that was tried. `error` is empty when it was proven; times are monotonic seconds."""

    at: float
    reasons: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything worth knowing at `now`.

    `agent_since` and `proxy_since` say since when the other side has (or has not) been answering; `agent_error` and
    `proxy_error` are empty while it does. `penalties` and their half-life are what is left of members' departures.
    `desired`, `on_disk` and `running` are the three generations, each with since when it is so; None while that is
    not known. `stale_limit_s` is for how long the agent may be silent before that makes the balancer not ready.
    `blueprint_error` says why the newest edit is not in force.
    """

    version: str
    pid: int
    now: float
    started_at: float
    complete: bool
    table: Table
    decision: Decision | None
    plan: Plan | None
    desired: Desired | None
    desired_since: float
    on_disk: Desired | None
    on_disk_since: float
    running: Running | None
    running_since: float
    health_score: int
    own_address: Address | None
    agent_since: float
    agent_error: str
    proxy_since: float
    proxy_error: str
    blueprint_error: str
    action_error: str
    file_lags: bool
    departed: Mapping[tuple[str, str], float]
    penalties: Penalties
    flap_half_life_s: float
    services: tuple[ServiceSettings, ...]
    stale_limit_s: float
    reloads: int
    reloads_failed: int
    last_reload: LastReload | None

    @property
    def stale_s(self) -> float:
        """How old the knowledge of the members is; 0 while the agent answers."""
        return self.now - self.agent_since if self.agent_error else 0.0

    @property
    def is_stale(self) -> bool:
        """Whether the agent has been silent for longer than it may."""
        return bool(self.agent_error) and self.stale_s >= self.stale_limit_s

    @property
    def not_ready(self) -> tuple[str, ...]:
        """Why the balancer is not ready; empty when it is.

        An agent that is silent for a moment is no reason: all serve on, and to take balancers out of service for that
        would make two outages of one.
        """
        agent_counts = self.is_stale or not self.complete
        reasons = (
            "" if self.complete else "no complete state has been applied yet",
            self.agent_error if agent_counts else "",
            self.proxy_error,
        )
        return tuple(reason for reason in reasons if reason)

    @property
    def ready(self) -> bool:
        """Whether a first complete state is in force, HAProxy answers, and the agent has not been silent for long."""
        return not self.not_ready


def status_json(report: Report, reading: Reading = NOT_ASKED) -> Json:
    """What `/v1/status` and `rosterd status --json` say; `reading` has the traffic, where somebody asked for it."""
    return {
        "version": report.version,
        "pid": report.pid,
        "uptime_s": round(report.now - report.started_at, 3),
        "ready": report.ready,
        "agent": {
            "reachable": not report.agent_error,
            "since_s": round(report.now - report.agent_since, 3),
            "stale_s": round(report.stale_s, 3),
            "stale": report.is_stale,
            "health_score": report.health_score,
            "address": str(report.own_address) if report.own_address else None,
            "error": report.agent_error,
        },
        "proxy": _proxy_json(report),
        "services": _services_json(report, reading),
        "traffic": {
            "age_s": None if reading.at is None else max(0.0, round(report.now - reading.at, 3)),
            "error": reading.error,
        },
        "guard": report.decision.guard if report.decision else "",
        "guard_overridden": report.decision.guard_overridden if report.decision else "",
        "displaced": [
            {"service": lost.service, "server": lost.name, "by": lost.by}
            for lost in (report.decision.displaced if report.decision else ())
        ],
        "barred": [
            {"service": out.service, "server": out.name, "reason": out.reason}
            for out in (report.decision.barred if report.decision else ())
        ],
        "damped": [
            {"service": out.service, "server": out.name, "for_s": round(max(0.0, out.until - report.now), 3)}
            for out in (report.decision.damped if report.decision else ())
        ],
        "quarantined": [
            {"name": member.name, "reason": member.reason}
            for member in (report.decision.quarantined if report.decision else ())
        ],
        "plan": plan_json(report.plan),
        "file": {"level": not report.file_lags},
        "generations": _generations_json(report),
        "blueprint": {"structure": report.desired.structure if report.desired else "", "error": report.blueprint_error},
        "action_error": report.action_error,
        "reloads": report.reloads,
        "reloads_failed": report.reloads_failed,
        "last_reload": _last_reload_json(report),
    }


def members_json(report: Report) -> Json:
    """What `/v1/members` and `rosterd members --json` say."""
    entries = (report.table.entries[name] for name in sorted(report.table.entries))
    return {"members": [_member_json(entry, report) for entry in entries]}


def plan_json(plan: Plan | None) -> Json:
    """A plan as `{action, reasons, commands, waits}`; the action is `unknown` while HAProxy has not been seen."""
    shown: Json = {"action": "unknown", "reasons": [], "commands": [], "waits": []}
    match plan:
        case None:
            return shown
        case Nothing():
            return shown | {"action": "nothing"}
        case Runtime(actions, waits):
            return shown | {"action": "runtime", "commands": _commands(actions), "waits": _waits(waits)}
        case Reload(reasons, actions, waits):
            why = [{"kind": reason.kind.value, "detail": reason.detail} for reason in reasons]
            return shown | {"action": "reload", "reasons": why, "commands": _commands(actions), "waits": _waits(waits)}


def _waits(waits: Iterable[Wait]) -> list[Json]:
    return [{"service": wait.service, "server": wait.name, "for": wait.what} for wait in waits]


def _commands(actions: Iterable[Action]) -> list[str]:
    return [line for action in actions for line in lines_of(action)]


def records_of(text: str, label: str) -> tuple[MemberRecord, ...]:
    """Read back what `members_json` printed; MembersFileError names the file and the member."""
    try:
        answer = json.loads(text)
    except json.JSONDecodeError as error:
        raise MembersFileError(f"{label}: is not JSON: {error}") from error
    rows = answer.get("members") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise MembersFileError(f"{label}: is not what `rosterd members --json` prints: no list 'members'")
    return tuple(_record(row, f"{label}: member {number}") for number, row in enumerate(rows, 1) if _is_whole(row))


def _is_whole(row: object) -> bool:
    """Whether the daemon itself had the member in full; an inherited server is only a name."""
    return not isinstance(row, dict) or row.get("address", "") is not None


def _record(row: object, label: str) -> MemberRecord:
    try:
        fields = _object(row, "it")
        tags = _object(fields.get("tags"), "tags")
        return MemberRecord(
            name=raw_of(_text(fields, "name")),
            address=ip_address(_text(fields, "address")).packed,
            port=0,
            tags={raw_of(tag): raw_of(_text(tags, tag)) for tag in tags},
            status=raw_of(_text(fields, "status")),
        )
    except ValueError as error:
        raise MembersFileError(f"{label}: {error}; a member has name, address, status and tags") from error


def _object(value: object, label: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{label} should be an object")  # noqa: TRY004  one kind of error for all that is wrong in a file
    return value


def _text(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} should be text")  # noqa: TRY004  as above
    return value


def _member_json(entry: Entry, report: Report) -> Json:
    departures = points_of(report.penalties, entry, report.flap_half_life_s, report.now)
    shown: Json = {
        "name": entry.name,
        "node": entry.name,
        "address": None,
        "role": None,
        "status": entry.status.value,
        "since_s": round(report.now - entry.since, 3),
        "departures": round(departures, 1),
        "quarantined": "",
        "tags": {},
    }
    match entry.subject:
        case Member() as member:
            known = {"node": member.node, "address": str(member.address), "role": member.role, "tags": member.tags}
            return shown | known
        case Quarantined() as quarantined:
            return shown | {"quarantined": quarantined.reason}
        case None:
            return shown


def _proxy_json(report: Report) -> Json:
    running = report.running
    return {
        "reachable": not report.proxy_error,
        "since_s": round(report.now - report.proxy_since, 3),
        "error": report.proxy_error,
        "version": running.version if running else None,
        "pid": running.pid if running else None,
        "structure": running.structure if running else None,
        "servers_digest": digest_of_running(running) if running else None,
    }


def _generations_json(report: Report) -> Json:
    """What should be, what HAProxy would start from, and what it runs: the same digest where all is level."""
    desired, on_disk, running = report.desired, report.on_disk, report.running
    return {
        "desired": desired and _generation(desired.structure, digest_of_desired(desired), report, report.desired_since),
        "file": on_disk and _generation(on_disk.structure, digest_of_desired(on_disk), report, report.on_disk_since),
        "running": running and _generation(running.structure, digest_of_running(running), report, report.running_since),
    }


def _generation(structure: str, digest: str, report: Report, since: float) -> Json:
    return {"structure": structure, "servers_digest": digest, "age_s": round(report.now - since, 3)}


def _services_json(report: Report, reading: Reading) -> list[Json]:
    if report.decision is None:
        return []
    held = {(held.service, held.name): held for held in report.decision.held}
    running = report.running.backends if report.running else {}
    services: list[Json] = []
    for backend in report.decision.backends:
        servers: list[Json] = []
        for server in backend.servers:
            seen = running.get(backend.service, {}).get(server.name)
            hold = held.get((backend.service, server.name))
            servers.append(
                {
                    "name": server.name,
                    "id": server.id,
                    "address": str(server.address),
                    "port": server.port,
                    "weight": server.weight,
                    "state": server.state.value,
                    "up": seen.up if seen else None,
                    "held": hold.why if hold else "",
                    "by_hand": server.is_by_hand,
                    **_server_figures(reading.of_server(backend.service, server.name)),
                }
            )
        leaving = _leaving_json(report, reading, backend.service)
        whole = _service_figures(reading.of_service(backend.service))
        services.append({"name": backend.service, "servers": servers, "leaving": leaving, **whole})
    return services


def _service_figures(figures: Figures | None) -> Json:
    """The traffic of a service, or what it shares with that of a server; null while it is not known."""
    return {
        "sessions": figures.sessions if figures else None,
        "queue": figures.queue if figures else None,
        "rate_per_s": figures.rate if figures else None,
        "errors": figures.errors if figures else None,
    }


def _server_figures(figures: Figures | None) -> Json:
    """The traffic of a server, the result of its last check, and since when it is up or down."""
    return _service_figures(figures) | {
        "check": figures.check if figures else None,
        "since_s": figures.since_s if figures else None,
    }


def _leaving_json(report: Report, reading: Reading, service: str) -> list[Json]:
    """The servers that HAProxy still has of those that are on their way out; sessions are null until counted."""
    running = report.running.backends.get(service, {}) if report.running else {}
    return [
        {"name": name, "since_s": round(report.now - since, 3), "sessions": _unfinished(report, reading, service, name)}
        for (of, name), since in sorted(report.departed.items())
        if of == service and name in running
    ]


def _unfinished(report: Report, reading: Reading, service: str, name: str) -> int | None:
    """Requests that a server still has, queued ones included: by the traffic, or by what the loop has seen."""
    if (figures := reading.of_server(service, name)) is not None:
        return figures.sessions + figures.queue
    return report.running.sessions.get((service, name)) if report.running else None


def _last_reload_json(report: Report) -> Json | None:
    last = report.last_reload
    if last is None:
        return None
    return {"age_s": round(report.now - last.at, 3), "reasons": list(last.reasons), "error": last.error}

"""Everything worth knowing as an answer: what `/v1/status` and `/readyz` say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rosterd.answers import shapes
from rosterd.answers.plan import plan_answer, refused_answer
from rosterd.generation import Generation
from rosterd.model import AdminState, Backend, RunningServer, Server
from rosterd.policy import Held
from rosterd.proxy.traffic import NOT_ASKED, Figures, Reading
from rosterd.report import Report


def ready_answer(report: Report) -> shapes.Ready:
    """What `/readyz` says."""
    return {"ready": report.ready, "reasons": list(report.not_ready)}


def status_answer(report: Report, reading: Reading = NOT_ASKED) -> shapes.Status:
    """What `/v1/status` and `rosterd status --json` say; `reading` has the traffic, where somebody asked for it."""
    decision = report.decision
    return {
        "version": report.version,
        "pid": report.pid,
        "uptime_s": _age(report, report.started_at),
        "ready": report.ready,
        "agent": _agent(report),
        "proxy": _proxy(report),
        "services": [_service(report, reading, each, decision.held) for each in decision.backends] if decision else [],
        "traffic": {
            "age_s": None if reading.at is None else max(0.0, _age(report, reading.at)),
            "error": reading.error,
        },
        "guard": decision.guard if decision else "",
        "guard_overridden": decision.guard_overridden if decision else "",
        "displaced": [
            {"service": lost.service, "server": lost.name, "by": lost.by}
            for lost in (decision.displaced if decision else ())
        ],
        "barred": [
            {"service": out.service, "server": out.name, "reason": out.reason}
            for out in (decision.barred if decision else ())
        ],
        "damped": [
            {"service": out.service, "server": out.name, "for_s": max(0.0, -_age(report, out.until))}
            for out in (decision.damped if decision else ())
        ],
        "quarantined": [
            {"name": member.name, "reason": member.reason} for member in (decision.quarantined if decision else ())
        ],
        "plan": plan_answer(report.planned),
        "refused": refused_answer(report.refused),
        "file": {"level": not report.file_lags},
        "generations": _generations(report),
        "blueprint": {"structure": report.desired.structure if report.desired else "", "error": report.blueprint_error},
        "action_error": report.action_error,
        "reloads": report.reloads,
        "reloads_failed": report.reloads_failed,
        "last_reload": _last_reload(report),
    }


def _age(report: Report, since: float) -> float:
    return round(report.now - since, 3)


def _agent(report: Report) -> shapes.Agent:
    return {
        "reachable": not report.agent_error,
        "since_s": _age(report, report.agent_since),
        "stale_s": round(report.stale_s, 3),
        "stale": report.is_stale,
        "health_score": report.health_score,
        "address": str(report.own_address) if report.own_address else None,
        "encrypted": report.encrypted,
        "admits_anyone": report.admits_anyone,
        "error": report.agent_error,
    }


def _proxy(report: Report) -> shapes.Proxy:
    running = report.running
    return {
        "reachable": not report.proxy_error,
        "since_s": _age(report, report.proxy_since),
        "error": report.proxy_error,
        "version": running.version if running else None,
        "pid": running.pid if running else None,
        "structure": running.structure if running else None,
        "servers_digest": report.runs.servers_digest if running and report.runs else None,
    }


def _generations(report: Report) -> shapes.Generations:
    def shown(generation: Generation | None) -> shapes.Generation | None:
        if generation is None:
            return None
        structure, digest = generation.structure, generation.servers_digest
        return {"structure": structure, "servers_digest": digest, "age_s": _age(report, generation.since)}

    return {"desired": shown(report.desired), "file": shown(report.on_disk), "running": shown(report.runs)}


def _last_reload(report: Report) -> shapes.LastReload | None:
    if (last := report.last_reload) is None:
        return None
    return {"age_s": _age(report, last.at), "reasons": list(last.reasons), "error": last.error}


# --- the services -----------------------------------------------------------------------------------------------


def _service(report: Report, reading: Reading, backend: Backend, held: Iterable[Held]) -> shapes.Service:
    why = {hold.name: hold.why for hold in held if hold.service == backend.service}
    return {
        "name": backend.service,
        "servers": [
            _server(report, reading, backend.service, server, why.get(server.name, "")) for server in backend.servers
        ],
        "leaving": _leaving(report, reading, backend.service),
        "template_servers": _template_servers(report, reading, backend.service),
        **_traffic(reading.of_service(backend.service)),
    }


def _server(report: Report, reading: Reading, service: str, server: Server, held: str) -> shapes.Server:
    seen = report.running.backends.get(service, {}).get(server.name) if report.running else None
    figures = reading.of_server(service, server.name)
    return {
        "name": server.name,
        "id": server.id,
        "address": str(server.address),
        "port": server.port,
        "weight": server.weight,
        "state": server.state.value,
        "up": seen.up if seen else None,
        "held": held,
        "by_hand": server.is_by_hand,
        "out_by_agent": _out_by_agent(seen),
        **_traffic(figures),
        "check": figures.check if figures else None,
        "since_s": figures.since_s if figures else None,
    }


def _out_by_agent(seen: RunningServer | None) -> Literal["drain", "maint"] | None:
    match seen.out_by_agent if seen else AdminState.READY:
        case AdminState.DRAIN:
            return "drain"
        case AdminState.MAINT:
            return "maint"
        case _:
            return None


def _traffic(figures: Figures | None) -> shapes.Traffic:
    return {
        "sessions": figures.sessions if figures else None,
        "queue": figures.queue if figures else None,
        "rate_per_s": figures.rate if figures else None,
        "errors": figures.errors if figures else None,
    }


def _leaving(report: Report, reading: Reading, service: str) -> list[shapes.Leaving]:
    """The servers that HAProxy still has of those that are on their way out."""
    running = report.running.backends.get(service, {}) if report.running else {}
    return [
        {"name": name, "since_s": _age(report, since), "sessions": _unfinished(report, reading, service, name)}
        for (of, name), since in sorted(report.departed.items())
        if of == service and name in running
    ]


def _template_servers(report: Report, reading: Reading, service: str) -> list[shapes.TemplateServer]:
    """The template's own servers that HAProxy runs."""
    running = report.running.backends.get(service, {}) if report.running else {}
    return [
        _template_server(running[name], reading.of_server(service, name))
        for of, name in sorted(report.template_servers)
        if of == service and name in running
    ]


def _template_server(server: RunningServer, figures: Figures | None) -> shapes.TemplateServer:
    return {
        "name": server.name,
        "address": None if server.address is None else str(server.address),
        "port": server.port,
        "weight": server.weight,
        "state": server.state.value,
        "up": server.up,
        **_traffic(figures),
        "check": figures.check if figures else None,
    }


def _unfinished(report: Report, reading: Reading, service: str, name: str) -> int | None:
    """Requests that a server still has, queued ones included: by the traffic, or by what the loop has seen."""
    if (figures := reading.of_server(service, name)) is not None:
        return figures.sessions + figures.queue
    return report.running.sessions.get((service, name)) if report.running else None

"""Writes docs/monitoring/dashboard.json, a dashboard for Grafana: `python -m tests.monitoring.dashboard`.

A dashboard's JSON is nothing that a person edits. What is worth reading of it stands here: the panels, and what each
asks Prometheus for. `test_monitoring.py` holds the file level and each question valid.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "monitoring" / "dashboard.json"

HEIGHT: Final = 7
ROW_WIDTH: Final = 24

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Panel:
    """One panel: its questions by what the legend calls their answers, and how they are drawn."""

    title: str
    asks: dict[str, str]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    about: str = ""


# Each question is about the balancers that are chosen at the top.
PANELS: Final = (
    Panel("Ready", {"{{instance}}": "rosterd_ready{instance=~'$instance'}"}, kind="stat", width=4),
    Panel("Guard engaged", {"{{instance}}": "rosterd_guard_engaged{instance=~'$instance'}"}, kind="stat", width=4),
    Panel(
        "Servers up",
        {"{{instance}} {{service}}": "rosterd_servers_up{instance=~'$instance'}"},
        kind="stat",
        width=8,
    ),
    Panel("Version", {"{{instance}} {{version}}": "rosterd_build_info{instance=~'$instance'}"}, kind="stat"),
    Panel(
        "Members",
        {"{{status}}": "max by (status) (sum by (instance, status) (rosterd_members{instance=~'$instance'}))"},
    ),
    Panel("Servers", {"{{service}} {{state}}": "max by (service, state) (rosterd_servers{instance=~'$instance'})"}),
    Panel(
        "Set aside",
        {
            "held {{service}}": "max by (service) (rosterd_servers_held{instance=~'$instance'})",
            "damped {{service}}": "max by (service) (rosterd_servers_damped{instance=~'$instance'})",
            "barred {{service}}": "max by (service) (rosterd_servers_barred{instance=~'$instance'})",
            "displaced {{service}}": "max by (service) (rosterd_servers_displaced{instance=~'$instance'})",
            "quarantined": "max(rosterd_members_quarantined{instance=~'$instance'})",
        },
    ),
    Panel(
        "Changes of members",
        {
            "{{transition}}": "sum by (transition) "
            "(rate(rosterd_member_changes_total{instance=~'$instance'}[$__rate_interval]))"
        },
        unit="cps",
    ),
    Panel(
        "From wake-up to applied",
        {
            f"{share} {{{{by}}}}": f"histogram_quantile({quantile}, sum by (le, by) "
            "(rate(rosterd_wake_to_applied_seconds_bucket{instance=~'$instance'}[$__rate_interval])))"
            for share, quantile in (("median", 0.5), ("99 of 100", 0.99))
        },
        unit="s",
        about="A server that joins counts twice: when it is added, and when its first check has let it in.",
    ),
    Panel(
        "Reloads",
        {"{{instance}} {{result}}": "increase(rosterd_reloads_total{instance=~'$instance'}[$__rate_interval])"},
        about="Changes of servers need none.",
    ),
    Panel(
        "Runtime actions",
        {
            "{{action}} {{result}}": "sum by (action, result) "
            "(rate(rosterd_runtime_actions_total{instance=~'$instance'}[$__rate_interval]))"
        },
        unit="cps",
    ),
    Panel("Old workers", {"{{instance}}": "rosterd_proxy_old_workers{instance=~'$instance'}"}),
    Panel(
        "Age of what is known",
        {
            "{{instance}} members": "rosterd_agent_stale_seconds{instance=~'$instance'}",
            "{{instance}} loop": "rosterd_loop_lag_seconds{instance=~'$instance'}",
        },
        unit="s",
    ),
    Panel(
        "Memory of rosterd",
        {"{{instance}}": "process_resident_memory_bytes{job='rosterd',instance=~'$instance'}"},
        unit="bytes",
    ),
    Panel(
        "Processor time of rosterd",
        {"{{instance}}": "rate(process_cpu_seconds_total{job='rosterd',instance=~'$instance'}[$__rate_interval])"},
        unit="percentunit",
    ),
    Panel(
        "Conversations with the agent",
        {"{{instance}}": "increase(rosterd_agent_connections_total{instance=~'$instance'}[$__rate_interval])"},
    ),
    Panel(
        "Requests, by HAProxy",
        {"{{proxy}} {{code}}": "sum by (proxy, code) (rate(haproxy_backend_http_responses_total[$__rate_interval]))"},
        unit="reqps",
        width=12,
    ),
    Panel(
        "Sessions of each server, by HAProxy",
        {"{{proxy}}/{{server}}": "sum by (proxy, server) (haproxy_server_current_sessions)"},
        width=12,
    ),
)


def dashboard() -> dict[str, Any]:
    """The whole dashboard, as Grafana imports it."""
    return {
        "title": "rosterd",
        "uid": "rosterd",
        "tags": ["haproxy", "serf"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_SOURCE_CHOICE, _INSTANCE_CHOICE]},
        "panels": list(_placed()),
    }


_SOURCE_CHOICE: Final = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
_INSTANCE_CHOICE: Final = {
    "name": "instance",
    "label": "Balancer",
    "type": "query",
    "datasource": _SOURCE,
    "query": "label_values(rosterd_build_info, instance)",
    "includeAll": True,
    "multi": True,
    "current": {"text": "All", "value": "$__all"},
    "refresh": 2,
}


def _placed() -> Iterator[dict[str, Any]]:
    """The panels, from left to right and from top to bottom."""
    x = y = 0
    for number, panel in enumerate(PANELS, 1):
        if x + panel.width > ROW_WIDTH:
            x, y = 0, y + HEIGHT
        yield {
            "id": number,
            "type": panel.kind,
            "title": panel.title,
            "description": panel.about,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + place), "expr": ask, "legendFormat": legend, "datasource": _SOURCE}
                for place, (legend, ask) in enumerate(panel.asks.items())
            ],
        }
        x += panel.width


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"wrote {FILE}\n")

"""`/metrics`: what has happened and what is so just now, for Prometheus.

The counts are metrics.py's; the rest is read from one report. Labels are services and words of ours, never the name of
a member or a server. HAProxy tells of its own traffic itself: its exporter is at the statistics page, path `/metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from platform import python_version

from rosterd.exposition import Family, Kind, Sample, Values, gauge
from rosterd.metrics import Metrics
from rosterd.model import Member, Status
from rosterd.report import Report
from rosterd.usage import Usage

NO_SERVICE = ""
"""The label of members that serve nowhere, such as the balancers."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All metrics at the moment of one report.

    `usage` is what the process uses, None where that cannot be told; `old_workers` is None where HAProxy's master does
    not say.
    """

    metrics: Metrics
    report: Report
    usage: Usage | None
    old_workers: int | None

    def families(self) -> Iterator[Family]:
        """Each family, once."""
        yield from self.metrics.families()
        if self.usage is not None:
            yield from _of_process(self.usage)
        yield from self._now()

    def _now(self) -> Iterator[Family]:
        report = self.report
        version: Values = {(report.version, python_version()): 1}
        yield _gauge("build_info", "The versions that run; always 1.", version, "version", "python")
        yield from _sides(report)
        yield _gauge("members", "Members, by service and status.", _members(report), "service", "status")
        yield _gauge("servers", "Servers that should be, and those that leave.", _servers(report), "service", "state")
        yield _gauge("servers_up", "Servers whose check passes, as HAProxy sees it.", _up(report), "service")
        yield from _set_aside(report)
        generations = {"desired": report.desired, "file": report.on_disk, "running": report.runs}
        ages: Values = {(name,): report.now - each.since for name, each in generations.items() if each is not None}
        yield _gauge("generation_age_seconds", "Since when what is served is as it is.", ages, "generation")
        if self.old_workers is not None:
            yield _plain("proxy_old_workers", "Old workers that still finish their connections.", self.old_workers)


def _of_process(usage: Usage) -> Iterator[Family]:
    """By the names that the processes of all languages have."""
    cpu = "process_cpu_seconds_total", Kind.COUNTER, "Processor time used, in user and system mode."
    yield Family(*cpu, (Sample({}, usage.cpu_s),))
    for name, text, value in (
        ("resident_memory_bytes", "Memory that the process holds.", usage.resident_bytes),
        ("virtual_memory_bytes", "Addresses that the process has taken.", usage.virtual_bytes),
        ("open_fds", "Open descriptors.", usage.open_fds),
        ("max_fds", "Descriptors that may be open at once.", usage.most_fds),
        ("start_time_seconds", "When the process was started, in seconds since 1970.", usage.started_at),
    ):
        yield gauge(f"process_{name}", text, {(): value})


def _sides(report: Report) -> Iterator[Family]:
    decision = report.decision
    yield _plain("ready", "Whether a complete state is in force and fresh enough.", report.ready)
    yield _plain("agent_up", "Whether the Serf agent answers.", not report.agent_error)
    yield _plain("agent_health_score", "The agent's health score, 0 to 7; 0 is well.", report.health_score)
    yield _plain("agent_stale_seconds", "How old the knowledge of the members is; 0 while it is fresh.", report.stale_s)
    yield _plain("proxy_up", "Whether HAProxy answers on its runtime socket.", not report.proxy_error)
    yield _plain(
        "guard_engaged", "Whether the isolation guard keeps failed members.", bool(decision and decision.guard)
    )
    overridden = bool(decision and decision.guard_overridden)
    yield _plain("guard_overridden", "Whether an operator has overridden the guard.", overridden)
    yield _plain(
        "edit_rejected",
        "Whether the newest edit of settings or template is not in force.",
        bool(report.blueprint_error),
    )
    yield _plain("apply_failing", "Whether what is in force cannot be brought about.", bool(report.action_error))
    yield _plain("file_lags", "Whether the file waits to be brought level.", report.file_lags)


def _set_aside(report: Report) -> Iterator[Family]:
    decision = report.decision
    quarantined = len(decision.quarantined) if decision else 0
    yield _plain("members_quarantined", "Members that do not parse.", quarantined)
    held, damped, barred, displaced = (
        (decision.held, decision.damped, decision.barred, decision.displaced) if decision else ((), (), (), ())
    )
    for kind, text, services in (
        ("held", "Servers that stay although their member is not alive.", [each.service for each in held]),
        ("damped", "Servers that wait outside: they come and go too often.", [each.service for each in damped]),
        ("barred", "Servers that may not be where they are.", [each.service for each in barred]),
        ("displaced", "Servers whose address and port another one has.", [each.service for each in displaced]),
    ):
        yield _gauge(f"servers_{kind}", text, _by_service(report, services), "service")


def _members(report: Report) -> Values:
    """By each service that a member's tags match; quarantined ones match none."""
    counted: Counter[tuple[str, ...]] = Counter(
        {(service.name, status.value): 0 for service in report.services for status in Status}
    )
    for entry in report.table.entries.values():
        tags = entry.subject.tags if isinstance(entry.subject, Member) else {}
        names = [service.name for service in report.services if service.matches(tags)]
        counted.update((name, entry.status.value) for name in names or [NO_SERVICE])
    return counted


def _servers(report: Report) -> Values:
    states = ("ready", "drain", "maint", "leaving")
    counted: Counter[tuple[str, ...]] = Counter(
        {(service.name, state): 0 for service in report.services for state in states}
    )
    for backend in report.decision.backends if report.decision else ():
        counted.update((backend.service, server.state.value) for server in backend.servers)
    running = report.running.backends if report.running else {}
    counted.update((service, "leaving") for service, name in report.departed if name in running.get(service, {}))
    return counted


def _up(report: Report) -> Values:
    running = report.running.backends if report.running else {}
    up = ((service, server) for service, servers in running.items() for server in servers.values())
    return _by_service(report, (service for service, server in up if server.up))


def _by_service(report: Report, services: Iterable[str]) -> Values:
    counted: Counter[tuple[str, ...]] = Counter({(service.name,): 0 for service in report.services})
    counted.update((service,) for service in services)
    return counted


def _plain(name: str, text: str, value: float) -> Family:
    return _gauge(name, text, {(): value})


def _gauge(name: str, text: str, values: Values, *labels: str) -> Family:
    return gauge(f"rosterd_{name}", text, values, *labels)

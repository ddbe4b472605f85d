"""What has happened, counted, by the conventions of Prometheus.

What is so just now is read from a report when somebody asks: that is admin/metrics.py. Rules:

- Every label has a bounded set of values, all of them words of ours. No name of a member or a server is ever a label.
- All that can be counted stands at zero from the start, so that the first of its kind is seen as a rise.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product

import prometheus_client as prometheus

from rosterd.model import (
    Action,
    AddServer,
    Change,
    CutSessions,
    EnableChecks,
    Nothing,
    Plan,
    Reason,
    ReasonKind,
    Reload,
    RemoveServer,
    Runtime,
    SetEndpoint,
    SetState,
    SetWeight,
    Transition,
)
from rosterd.trace import WORDS, Word

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From a change on a quiet machine to a reload that waits for its pace."""

RESULTS = ("done", "failed")


class Metrics:
    """Counts what happens."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = prometheus.CollectorRegistry()
        self._changes = self._counter(
            "member_changes", "Changes of members, by what happened.", transition=[each.value for each in Transition]
        )
        self._wakeups = self._counter("wakeups", "What woke the loop.", by=WORDS)
        self._plans = self._counter("plans", "Plans that were made, by what they do.", kind=tuple(_KINDS.values()))
        self._actions = self._counter(
            "runtime_actions",
            "Actions on HAProxy's runtime socket. One that failed was refused, and a reload follows.",
            action=tuple(_ACTIONS.values()),
            result=RESULTS,
        )
        self._cut = self._counter("sessions_cut", "Sessions that were ended when the drain of their server was over.")
        self._reloads = self._counter("reloads", "Reloads of HAProxy.", result=RESULTS)
        self._reasons = self._counter(
            "reload_reasons",
            "Kinds of reasons of reloads, each kind once for a reload.",
            reason=[kind.value for kind in ReasonKind],
            result=RESULTS,
        )
        self._connections = self._counter("agent_connections", "Conversations with the Serf agent that began.")
        self._bugs = self._counter("turns_failed", "Turns of the loop that ended in a bug.")
        self._applied = prometheus.Histogram(
            "rosterd_wake_to_applied_seconds",
            "From the wake-up to the change in HAProxy, answered and read back, by the way it took.",
            ["by"],
            registry=self.registry,
            buckets=BUCKETS_S,
        )
        self._at_run_time, self._by_reload = self._applied.labels("runtime"), self._applied.labels("reload")
        self._lag = prometheus.Gauge(
            "rosterd_loop_lag_seconds", "How late the loop was when it was last measured.", registry=self.registry
        )
        prometheus.ProcessCollector(registry=self.registry)

    def woken(self, word: Word) -> None:
        """Count what woke the loop."""
        self._wakeups.labels(word).inc()

    def changed(self, changes: Iterable[Change]) -> None:
        """Count changes of members."""
        for change in changes:
            self._changes.labels(change.transition.value).inc()

    def planned(self, plan: Plan | None) -> None:
        """Count a plan; None is one that waits for HAProxy to be seen."""
        self._plans.labels(_KINDS[type(plan)]).inc()

    def acted(self, done: Sequence[Action], seconds: float) -> None:
        """Count what HAProxy did at run time, so long after the wake-up."""
        for action, number in Counter(_ACTIONS[type(action)] for action in done).items():
            self._actions.labels(action, "done").inc(number)
        self._at_run_time.observe(seconds)

    def refused(self, action: Action) -> None:
        """Count what HAProxy would not do."""
        self._actions.labels(_ACTIONS[type(action)], "failed").inc()

    def cut(self, sessions: int) -> None:
        """Count sessions that did not end by themselves."""
        self._cut.inc(sessions)

    def reloaded(self, reasons: Iterable[Reason], seconds: float) -> None:
        """Count a reload that had its effect, so long after the wake-up."""
        self._reload(reasons, "done")
        self._by_reload.observe(seconds)

    def reload_failed(self, reasons: Iterable[Reason]) -> None:
        """Count a reload that failed, or had no effect."""
        self._reload(reasons, "failed")

    def agent_reached(self) -> None:
        """Count a conversation with the agent."""
        self._connections.inc()

    def turn_failed(self) -> None:
        """Count a bug."""
        self._bugs.inc()

    def lagged(self, seconds: float) -> None:
        """Note how late the loop is."""
        self._lag.set(seconds)

    def _reload(self, reasons: Iterable[Reason], result: str) -> None:
        self._reloads.labels(result).inc()
        for kind in {reason.kind for reason in reasons}:
            self._reasons.labels(kind.value, result).inc()

    def _counter(self, name: str, text: str, **labels: Sequence[str]) -> prometheus.Counter:
        counter = prometheus.Counter(f"rosterd_{name}", text, list(labels), registry=self.registry)
        if labels:
            for values in product(*labels.values()):
                counter.labels(*values)
        return counter


_ACTIONS: dict[type[Action], str] = {
    AddServer: "add_server",
    EnableChecks: "enable_checks",
    SetWeight: "set_weight",
    SetEndpoint: "set_endpoint",
    SetState: "set_state",
    CutSessions: "cut_sessions",
    RemoveServer: "remove_server",
}

_KINDS: dict[type, str] = {Nothing: "nothing", Runtime: "runtime", Reload: "reload", type(None): "unknown"}

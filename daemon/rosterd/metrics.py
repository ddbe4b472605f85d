"""What has happened, counted, by the conventions of Prometheus.

What is so just now is read from a report when somebody asks: that is admin/metrics.py. Rules:

- Every label has a bounded set of values, all of them words of ours. No name of a member or a server is ever a label.
- All that can be counted stands at zero from the start.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rosterd.exposition import Counter, Family, Histogram, gauge
from rosterd.model import (
    Action,
    AddServer,
    Change,
    CutSessions,
    DisableAgent,
    EnableAgent,
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
        self._changes = Counter(
            "rosterd_member_changes",
            "Changes of members, by what happened.",
            transition=[each.value for each in Transition],
        )
        self._wakeups = Counter("rosterd_wakeups", "What woke the loop.", by=WORDS)
        self._plans = Counter("rosterd_plans", "Plans that were made, by what they do.", kind=tuple(_KINDS.values()))
        self._actions = Counter(
            "rosterd_runtime_actions",
            "Actions on HAProxy's runtime socket. One that failed was refused, and a reload follows.",
            action=tuple(_ACTIONS.values()),
            result=RESULTS,
        )
        self._cut = Counter("rosterd_sessions_cut", "Sessions that were ended when the drain of their server was over.")
        self._reloads = Counter("rosterd_reloads", "Reloads of HAProxy.", result=RESULTS)
        self._reasons = Counter(
            "rosterd_reload_reasons",
            "Kinds of reasons of reloads, each kind once for a reload.",
            reason=[kind.value for kind in ReasonKind],
            result=RESULTS,
        )
        self._connections = Counter("rosterd_agent_connections", "Conversations with the Serf agent that began.")
        self._bugs = Counter("rosterd_turns_failed", "Turns of the loop that ended in a bug.")
        self._lines_dropped = Counter(
            "rosterd_log_lines_dropped", "Log lines that were lost because the reader of the log stood still."
        )
        self._applied = Histogram(
            "rosterd_wake_to_applied_seconds",
            "From the wake-up to the change in HAProxy, answered and read back, by the way it took.",
            BUCKETS_S,
            by=("runtime", "reload"),
        )
        self._lag_s = 0.0

    def families(self) -> Iterator[Family]:
        """All of it, up to now."""
        for counter in (
            self._changes,
            self._wakeups,
            self._plans,
            self._actions,
            self._cut,
            self._reloads,
            self._reasons,
            self._connections,
            self._bugs,
            self._lines_dropped,
            self._applied,
        ):
            yield counter.family()
        late = "How late the loop was when it was last measured."
        yield gauge("rosterd_loop_lag_seconds", late, {(): self._lag_s})

    def woken(self, word: Word) -> None:
        """Count what woke the loop."""
        self._wakeups.add(word)

    def changed(self, changes: Iterable[Change]) -> None:
        """Count changes of members."""
        for change in changes:
            self._changes.add(change.transition.value)

    def planned(self, plan: Plan | None) -> None:
        """Count a plan; None is one that waits for HAProxy to be seen."""
        self._plans.add(_KINDS[type(plan)])

    def acted(self, done: Sequence[Action], seconds: float) -> None:
        """Count what HAProxy did at run time, so long after the wake-up."""
        for action in done:
            self._actions.add(_ACTIONS[type(action)], "done")
        self._applied.observe("runtime", seconds)

    def refused(self, action: Action) -> None:
        """Count what HAProxy would not do."""
        self._actions.add(_ACTIONS[type(action)], "failed")

    def cut(self, sessions: int) -> None:
        """Count sessions that did not end by themselves."""
        self._cut.add(number=sessions)

    def reloaded(self, reasons: Iterable[Reason], seconds: float) -> None:
        """Count a reload that had its effect, so long after the wake-up."""
        self._reload(reasons, "done")
        self._applied.observe("reload", seconds)

    def reload_failed(self, reasons: Iterable[Reason]) -> None:
        """Count a reload that failed, or had no effect."""
        self._reload(reasons, "failed")

    def agent_reached(self) -> None:
        """Count a conversation with the agent."""
        self._connections.add()

    def turn_failed(self) -> None:
        """Count a bug."""
        self._bugs.add()

    def log_lines_dropped(self, number: int) -> None:
        """Count log lines that were lost."""
        self._lines_dropped.add(number=number)

    def lagged(self, seconds: float) -> None:
        """Note how late the loop is."""
        self._lag_s = seconds

    def _reload(self, reasons: Iterable[Reason], result: str) -> None:
        self._reloads.add(result)
        for kind in {reason.kind for reason in reasons}:
            self._reasons.add(kind.value, result)


_ACTIONS: dict[type[Action], str] = {
    AddServer: "add_server",
    EnableChecks: "enable_checks",
    EnableAgent: "enable_agent",
    DisableAgent: "disable_agent",
    SetWeight: "set_weight",
    SetEndpoint: "set_endpoint",
    SetState: "set_state",
    CutSessions: "cut_sessions",
    RemoveServer: "remove_server",
}

_KINDS: dict[type, str] = {Nothing: "nothing", Runtime: "runtime", Reload: "reload", type(None): "unknown"}

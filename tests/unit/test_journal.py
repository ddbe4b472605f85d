"""Facts become log lines: what is new is told once, and so is its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from structlog.contextvars import clear_contextvars, merge_contextvars
from structlog.testing import capture_logs

from rosterd.journal import Journal, tell_changes, tell_decision
from rosterd.metrics import Metrics
from rosterd.model import Change, Transition
from rosterd.policy import Decision, Displaced, Held
from rosterd.trace import traces

PEACE = Decision(
    backends=(),
    held=(),
    displaced=(),
    damped=(),
    barred=(),
    quarantined=(),
    guard="",
    guard_overridden="",
    review_at=None,
)
HELD = replace(PEACE, held=(Held("nodes", "web-1", 5.0, "failed"),))
LOST = replace(PEACE, displaced=(Displaced("nodes", "web-2", "web-1"),))
GUARD = replace(PEACE, guard="the local agent's health score is 7")


def told(old: Decision | None, new: Decision) -> Sequence[Mapping[str, Any]]:
    """Return the lines between two decisions."""
    with capture_logs() as lines:
        tell_decision(old, new)
    return lines


def test_each_change_is_a_line() -> None:
    """With the name that Serf knows, the one that people know, and what changed."""
    with capture_logs() as lines:
        tell_changes([Change(Transition.UPDATED, "web-1-7f3a", "web-1", "weight 7 to 8")])
    assert lines == [
        {
            "event": "member.updated",
            "log_level": "info",
            "member": "web-1-7f3a",
            "node": "web-1",
            "detail": "weight 7 to 8",
        }
    ]


def test_a_change_that_comes_in_the_middle_of_a_turn_has_its_trace() -> None:
    """The turn had none when it began; what it finds and what woke it meanwhile are one."""
    journal = Journal(traces("ab12"), Metrics(), lambda: 1.0)
    with capture_logs(processors=[merge_contextvars]) as lines:
        journal.turn()
        journal.wake("agent")
        journal.members_changed((Change(Transition.UPDATED, "web-1", "web-1", ""),))
        journal.servers_changed((), (), 7)
    clear_contextvars()
    assert [(line["event"], line["trace"]) for line in lines] == [
        ("member.updated", "ab12.1"),
        ("servers.changed", "ab12.1"),
    ]
    assert lines[1]["woken_by"] == ["agent"]


def test_what_a_person_should_look_at_is_a_warning() -> None:
    """Failed, lost and quarantined members; the rest is daily life."""
    with capture_logs() as lines:
        tell_changes(Change(transition, "a", "a", "") for transition in Transition)
    loud = {line["event"] for line in lines if line["log_level"] == "warning"}
    assert loud == {"member.failed", "member.lost", "member.quarantined"}
    assert len(lines) == len(Transition)


def test_a_hold_is_told_at_its_beginning_and_its_end() -> None:
    """And not in between."""
    assert told(PEACE, HELD) == [
        {"event": "server.held", "log_level": "warning", "service": "nodes", "server": "web-1", "why": "failed"}
    ]
    assert told(HELD, HELD) == []
    assert told(HELD, PEACE) == [
        {"event": "server.released", "log_level": "info", "service": "nodes", "server": "web-1", "was": "failed"}
    ]


def test_a_hold_of_another_kind_is_told() -> None:
    """Its own time is over, and it stays for want of others."""
    overdue = replace(PEACE, held=(Held("nodes", "web-1", 5.0, "overdue"),))
    assert [(line["event"], line["why"]) for line in told(HELD, overdue)] == [("server.held", "overdue")]


def test_the_guard_is_told_at_its_beginning_and_its_end() -> None:
    """A changed number is no news."""
    assert [line["event"] for line in told(PEACE, GUARD)] == ["guard.engaged"]
    assert told(GUARD, replace(GUARD, guard="the local agent's health score is 6")) == []
    assert [line["event"] for line in told(GUARD, PEACE)] == ["guard.released"]


def test_an_override_of_the_guard_is_told_once_and_at_its_end() -> None:
    """With the reason that the guard has; it ends as the guard does."""
    overridden = replace(PEACE, guard_overridden=GUARD.guard)
    assert [(line["event"], line["reason"]) for line in told(GUARD, overridden)] == [("guard.overridden", GUARD.guard)]
    assert told(overridden, overridden) == []
    assert [line["event"] for line in told(overridden, PEACE)] == ["guard.released"]


def test_a_displaced_server_is_told_once() -> None:
    """Until somebody else takes its place."""
    assert [line["event"] for line in told(PEACE, LOST)] == ["server.displaced"]
    assert told(LOST, LOST) == []
    by_another = replace(LOST, displaced=(Displaced("nodes", "web-2", "web-9"),))
    assert [line["by"] for line in told(LOST, by_another)] == ["web-9"]


def test_the_first_decision_has_nothing_before_it() -> None:
    """All that it holds is new."""
    assert told(None, PEACE) == []
    assert len(told(None, HELD)) == len(told(None, GUARD)) == len(told(None, LOST)) == 1

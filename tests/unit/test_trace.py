"""A trace gathers what led to a change, and how long each part took."""

from __future__ import annotations

from itertools import islice

from rosterd.model import Change, Transition
from rosterd.trace import SHOWN, Trace, traces


def changes(transition: Transition, number: int) -> tuple[Change, ...]:
    """Return so many changes of one kind."""
    return tuple(Change(transition, f"web-{each}", "", "") for each in range(number))


def test_it_names_each_word_once_and_so_many_members() -> None:
    """A storm does not make a line without end."""
    trace = Trace("ab.1")
    trace.add_word("agent", 5.0)
    trace.add_word("file", 6.0)
    trace.add_word("agent", 7.0)
    trace.add_changes(changes(Transition.JOINED, SHOWN - 1))
    trace.add_changes(changes(Transition.FAILED, 5))
    assert trace.woken_by == ["agent", "file"]
    assert trace.members[-2:] == [f"web-{SHOWN - 2} joined", "web-0 failed"]
    trace.add_changes(changes(Transition.LEFT, 1))
    assert len(trace.members) == SHOWN


def test_a_turn_that_found_something_by_itself_says_so_where_nothing_else_woke_it() -> None:
    """Who was woken has a better word for it."""
    trace, woken = Trace("ab.1"), Trace("ab.2")
    trace.add_word("look", 1.0)
    woken.add_word("agent", 1.0)
    woken.add_word("look", 2.0)
    assert (trace.woken_by, woken.woken_by) == (["look"], ["agent"])


def test_it_counts_from_the_first_wake_up() -> None:
    """To the newest plan, and to what became of it."""
    trace = Trace("ab.1")
    trace.add_word("agent", 5.0)
    trace.note_plan(5.25)
    trace.add_word("file", 5.5)
    trace.note_plan(5.75)
    assert (trace.seconds_to_plan(6.0), trace.seconds_to_applied(6.0)) == (0.75, 1.0)


def test_one_that_has_not_begun_has_taken_no_time() -> None:
    """What nothing woke was done at once."""
    trace = Trace("ab.1")
    assert not trace.has_begun
    assert (trace.seconds_to_plan(6.0), trace.seconds_to_applied(6.0)) == (0.0, 0.0)


def test_what_came_to_nothing_goes_on_with_what_came_meanwhile() -> None:
    """A reload that failed is still to be done; nobody who changed in its time is forgotten."""
    trace, later = Trace("ab.1"), Trace("ab.2")
    trace.add_word("agent", 5.0)
    trace.add_changes(changes(Transition.JOINED, SHOWN - 1))
    later.add_word("agent", 6.0)
    later.add_word("file", 6.5)
    later.add_changes(changes(Transition.LEFT, 2))
    trace.absorb(later)
    assert (trace.woken_by, trace.since) == (["agent", "file"], 5.0)
    assert (len(trace.members), trace.members[-1]) == (SHOWN, "web-0 left")


def test_ids_are_numbered_and_tell_processes_apart() -> None:
    """A daemon that was restarted does not use the numbers of the one before."""
    assert [trace.id for trace in islice(traces("7f3a"), 3)] == ["7f3a.1", "7f3a.2", "7f3a.3"]
    assert next(traces("c001")).id == "c001.1"

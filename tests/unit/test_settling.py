"""When an edit is whole, event by event."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosterd.settling import MAX_WAIT_S, OPEN_QUIET_S, QUIET_S, UNSEEN_QUIET_S, FileChange, Look, Looks, Settling

TEMPLATE, SETTINGS = Path("haproxy.cfg.j2"), Path("rosterd.toml")
STEP_S = 0.01


def look(content: bytes, changed_at: int = 0) -> Look:
    """Return what a file with this content looks like."""
    return Look((1, changed_at), content, len(content))


def looks(template: bytes, settings: bytes = b"s") -> Looks:
    """Return what both files look like."""
    return {TEMPLATE: look(template), SETTINGS: look(settings)}


@pytest.fixture
def settling() -> Settling:
    """Nothing has changed since both files were read."""
    return Settling(looks(b"old"))


def test_nothing_is_whole_while_nothing_has_changed(settling: Settling) -> None:
    """There is nothing to read and no time to wait for."""
    assert settling.look(looks(b"old"), 0) is False
    assert settling.due_at is None
    assert settling.is_under_way is False


def test_moved_file_is_whole_at_once(settling: Settling) -> None:
    """A rename puts a finished file there."""
    settling.note(TEMPLATE, FileChange.REPLACED, 1.0)
    assert settling.look(looks(b"new"), 1.0) is True
    assert settling.is_under_way is False


def test_closed_file_is_whole_after_two_equal_looks(settling: Settling) -> None:
    """A script may open the file again at once, to append."""
    settling.note(TEMPLATE, FileChange.WRITTEN, 0.0)
    settling.note(TEMPLATE, FileChange.CLOSED, 0.0)
    assert settling.look(looks(b"new"), 0.0) is False
    assert settling.due_at == QUIET_S
    assert settling.look(looks(b"new"), QUIET_S - STEP_S) is False
    assert settling.look(looks(b"new"), QUIET_S) is True


def test_file_that_changes_between_two_looks_is_waited_for(settling: Settling) -> None:
    """The content counts: a clock that is too coarse may give both versions the same time."""
    settling.note(TEMPLATE, FileChange.CLOSED, 0.0)
    settling.look(looks(b"new"), 0.0)
    assert settling.look(looks(b"wen"), QUIET_S) is False
    assert settling.look(looks(b"wen"), 2 * QUIET_S) is True


def test_open_file_is_waited_for_until_it_is_closed(settling: Settling) -> None:
    """Its writer rests for longer than any quiet time, in the middle of the file."""
    settling.note(TEMPLATE, FileChange.WRITTEN, 0.0)
    assert settling.look(looks(b""), 0.0) is False
    assert settling.look(looks(b"half"), 0.5) is False
    assert settling.look(looks(b"half"), 5.0) is False
    settling.note(TEMPLATE, FileChange.CLOSED, 5.0)
    settling.look(looks(b"whole"), 5.0)
    assert settling.look(looks(b"whole"), 5.0 + QUIET_S) is True


def test_writer_that_never_closes_is_not_waited_for_for_ever(settling: Settling) -> None:
    """Its file is judged as it stands, once it has stood still for long."""
    settling.note(TEMPLATE, FileChange.WRITTEN, 0.0)
    settling.look(looks(b"new"), 0.0)
    assert settling.look(looks(b"new"), OPEN_QUIET_S - STEP_S) is False
    assert settling.look(looks(b"new"), OPEN_QUIET_S) is True


def test_file_that_never_stands_still_is_read_at_last(settling: Settling) -> None:
    """The edit of the other file must not wait for it for ever."""
    settling.note(SETTINGS, FileChange.REPLACED, 0.0)
    now, turns = 0.0, 0
    while not settling.look(looks(str(turns).encode()), now):
        settling.note(TEMPLATE, FileChange.WRITTEN, now)
        turns += 1
        now += 1.0
        assert now <= MAX_WAIT_S + 1.0
    assert now >= MAX_WAIT_S


def test_chmod_does_not_end_the_wait_for_a_writer(settling: Settling) -> None:
    """`install` sets the mode while it has the file open."""
    settling.note(TEMPLATE, FileChange.WRITTEN, 0.0)
    settling.note(TEMPLATE, FileChange.TOUCHED, 0.0)
    settling.look(looks(b"half"), 0.0)
    assert settling.look(looks(b"half"), 1.0) is False


def test_request_to_read_does_not_end_the_wait_for_a_writer(settling: Settling) -> None:
    """SIGHUP has the files read as soon as they are whole."""
    settling.note(TEMPLATE, FileChange.WRITTEN, 0.0)
    settling.note(TEMPLATE, FileChange.ASKED, 0.0)
    assert settling.look(looks(b"half"), 0.0) is False
    assert settling.look(looks(b"half"), 1.0) is False


def test_request_to_read_is_answered_at_once(settling: Settling) -> None:
    """Nothing has happened to the files."""
    settling.note(TEMPLATE, FileChange.ASKED, 0.0)
    assert settling.look(looks(b"old"), 0.0) is True


@pytest.mark.parametrize(("content", "wait_s"), [(b"", OPEN_QUIET_S), (b"new", QUIET_S)])
def test_created_file_is_waited_for_while_it_is_empty(settling: Settling, content: bytes, wait_s: float) -> None:
    """A file from another directory is whole when it comes; one that is begun is empty."""
    settling.note(TEMPLATE, FileChange.CREATED, 0.0)
    settling.look(looks(content), 0.0)
    assert settling.due_at == wait_s


def test_change_that_no_watcher_saw_is_found(settling: Settling) -> None:
    """Behind a link there is no close to wait for, and so a longer quiet time."""
    assert settling.look(looks(b"new"), 0.0) is False
    assert settling.due_at == UNSEEN_QUIET_S
    assert settling.look(looks(b"new"), UNSEEN_QUIET_S) is True


def test_watcher_overrides_what_was_only_found(settling: Settling) -> None:
    """The look may come before the event."""
    settling.look(looks(b"new"), 0.0)
    settling.note(TEMPLATE, FileChange.REPLACED, 0.1)
    assert settling.look(looks(b"new"), 0.1) is True


def test_files_that_are_edited_together_are_read_together(settling: Settling) -> None:
    """The settings are whole, the template is still being written."""
    settling.note(SETTINGS, FileChange.REPLACED, 0.0)
    settling.note(TEMPLATE, FileChange.WRITTEN, 0.0)
    assert settling.look(looks(b"half", b"new"), 0.0) is False
    settling.note(TEMPLATE, FileChange.CLOSED, 1.0)
    settling.look(looks(b"whole", b"new"), 1.0)
    assert settling.look(looks(b"whole", b"new"), 1.0 + QUIET_S) is True


def test_file_that_is_gone_has_to_stay_away(settling: Settling) -> None:
    """Some editors remove the file for a moment."""
    settling.note(TEMPLATE, FileChange.WRITTEN, 0.0)
    settling.note(TEMPLATE, FileChange.GONE, 0.0)
    gone = {TEMPLATE: Look(), SETTINGS: look(b"s")}
    assert settling.look(gone, 0.0) is False
    assert settling.look(gone, QUIET_S) is True

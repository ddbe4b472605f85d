"""What the commands print for people, whoever it was that chose the words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rosterd.console import event_line, print_members, print_plan, print_states, print_status
from tests.page.scenes import Json, quiet, server, service, troubled

BAD = "a\x1b[2J\n\u202e\ud800\U000e0001\\b"
SHOWN = r"a\u001b[2J\u000a\u202e\ud800\U000e0001\b"

MEMBER = {"name": BAD, "node": BAD, "address": None, "role": BAD, "status": "alive", "since_s": 90_061.0}
STATUS = {
    **troubled(),
    "version": BAD,
    "action_error": BAD,
    "services": [service(BAD, server(BAD, held=BAD))],
    "quarantined": [{"name": BAD, "reason": BAD}],
}
PLAN = {
    "action": "reload",
    "reasons": [{"kind": "structure", "detail": BAD}],
    "commands": [BAD],
    "waits": [{"service": BAD, "server": BAD, "for": BAD}],
    "left": [{"kind": "text", "detail": BAD}],
    "refused": BAD,
    "diff": [BAD],
}
STATES = {"state": "drain", "nodes": [{"node": BAD, "name": BAD, "done": True, "after_s": None, "problem": ""}]}


@pytest.mark.parametrize(
    ("shows", "answer", "times"),
    [
        (print_members, {"members": [{**MEMBER, "quarantined": BAD, "tags": {BAD: BAD}}]}, 6),
        (print_status, STATUS, 7),
        (print_plan, PLAN, 7),
        (print_states, STATES, 1),
    ],
)
def test_nothing_moves_a_cursor_or_starts_a_line(
    capsys: pytest.CaptureFixture[str], shows: Callable[[Json], None], answer: Json, times: int
) -> None:
    """Each character that does not print is an escape of its own; a daemon of another version may not do so itself."""
    shows(answer)
    printed = capsys.readouterr().out
    assert printed.count(SHOWN) == times
    assert all(line.isprintable() for line in printed.split("\n"))


def test_the_status_says_it_as_the_page_does(capsys: pytest.CaptureFixture[str]) -> None:
    """A state in one word with what adds to it, ages in a unit that one can read, and who leaves."""
    rows = server("web-1", since_s=90_061), server("web-2", up=False, check="L4CON"), server("web-3", up=None)
    leaving = [{"name": "web-0", "since_s": 3.5, "sessions": 2}]
    by_hand = server("web-4", state="drain", weight=0, by_hand=True, address="2001:db8::1")
    print_status({**quiet(service("nodes", *rows, by_hand, leaving=leaving)), "uptime_s": 90_061.0})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].endswith(", up 25 h")
    assert lines[lines.index("SERVICE SERVER STATE SINCE ADDRESS WEIGHT SESSIONS RATE ERRORS") + 1 :] == [
        "nodes web-1 up 25 h 10.0.0.1:3000 100 7 40 0",
        "nodes web-2 down L4CON 65 s 10.0.0.1:3000 100 7 40 0",
        "nodes web-3 not seen 65 s 10.0.0.1:3000 100 7 40 0",
        "nodes web-4 drain by hand 65 s [2001:db8::1]:3000 0 7 40 0",
        "nodes web-0 leaving 4 s - 0 2 - -",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("joined", "joined"),
        ("two words", '"two words"'),
        ("", '""'),
        (["a", "b c"], '["a", "b c"]'),
        (0.5, "0.5"),
        (None, "null"),
        ("\U000e0001", r'"\U000e0001"'),
        ("\u202e", r'"\u202e"'),
    ],
)
def test_a_field_of_an_event(value: object, shown: str) -> None:
    """Words as they are, all else as JSON has it; and nothing that does not print."""
    time = "2026-11-25T16:00:03.115128Z"
    line = event_line({"id": "a-1", "time": time, "level": "warning", "event": "x.y", "trace": "t.1", "why": value})
    assert line == f"2026-11-25 16:00:03.115 ! {'x.y':<21} {'t.1':<9} why={shown}"


def test_whatever_an_event_is_called_it_is_one_line() -> None:
    """The key, the name, the trace and the time are others' words as well."""
    line = event_line({"event": BAD, "trace": BAD, "time": BAD, BAD: 1})
    assert line.isprintable()
    assert line.count(SHOWN) == 4

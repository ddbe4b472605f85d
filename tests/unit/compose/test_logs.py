from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from compose.logs import LARGEST_BACKLOG, Follower, Line, LineFilter, parse_line, passes, shown

if TYPE_CHECKING:
    from pathlib import Path

GOOD_REQUEST = (
    "2026-01-31T10:20:30.123Z haproxy[7]: 127.0.0.1:5 [31/Jan/2026:10:20:30.120] traffic nodes/web1-ab "
    '0/0/1/2/3 200 250 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1"'
)
AT = datetime(2026, 1, 31, 10, 20, 30, 123000, UTC)


def line(program: str, raw: str) -> Line:
    """A line that there is."""
    found = parse_line("web1", program, raw)
    assert found is not None
    return found


# --- parsing ----------------------------------------------------------------------------------------------------


def test_a_structured_line_is_its_event_and_fields() -> None:
    """The order of fields stays; values are bare where that is unambiguous; the node is a column already."""
    raw = (
        '{"servers": 3, "event": "proxy.reloaded", "level": "warning", "time": "2026-01-31T10:20:30.123Z",'
        ' "node": "web1", "why": "a b", "members": ["x joined", "y left"], "error": "", "n": null}'
    )
    text = 'servers=3 why="a b" members=[x joined, y left] error="" n=null'
    assert line("rosterd", raw) == Line(AT, "web1", "rosterd", "warning", "proxy.reloaded", text)


def test_another_node_in_a_field_stays() -> None:
    """`node` is left out only where it repeats the column."""
    assert line("rosterd", '{"event": "member.joined", "node": "web2"}').text == "node=web2"


@pytest.mark.parametrize("raw", ['{"event": 5}', '{"half', "[1]", '{"message": "x"}'])
def test_json_that_is_no_event_is_shown_as_it_is(raw: str) -> None:
    """Only what our own programs write counts as structured."""
    assert line("app", raw) == Line(None, "web1", "app", "info", "", raw)


def test_serfs_time_is_local() -> None:
    """The agent's own time and level lead its text."""
    found = line("serf", "    2026/01/31 10:20:30 [WARN] agent: Join failed")
    local = datetime(2026, 1, 31, 10, 20, 30).astimezone()

    assert (found.at, found.level, found.text) == (local, "warning", "agent: Join failed")


def test_supervisords_time_is_local() -> None:
    """The same for supervisord, with milliseconds."""
    found = line("supervisord", "2026-01-31 10:20:30,123 INFO spawned: 'app' with pid 7")
    local = datetime(2026, 1, 31, 10, 20, 30, 123000).astimezone()

    assert (found.at, found.level, found.text) == (local, "info", "spawned: 'app' with pid 7")


def test_haproxys_own_lines_have_a_level_and_no_time() -> None:
    """The master writes to standard error without a time."""
    found = line("haproxy", "[ALERT]    (7) : Cannot bind socket")
    assert (found.at, found.level, found.text) == (None, "error", "(7) : Cannot bind socket")


@pytest.mark.parametrize("raw", ["", "   \n", "\t"])
def test_empty_lines_are_none(raw: str) -> None:
    """Serf's banner has many."""
    assert parse_line("web1", "serf", raw) is None


@pytest.mark.parametrize("raw", ["2026/13/99 99:99:99 [INFO] x", "2026-99-31T10:20:30.123Z x"])
def test_an_impossible_time_is_no_time(raw: str) -> None:
    """The line is shown all the same."""
    assert line("serf", raw).at is None


# --- choosing ---------------------------------------------------------------------------------------------------


def test_requests_that_went_well_are_shown_on_demand() -> None:
    """At a hundred requests a second nothing else could be read."""
    request = line("access", GOOD_REQUEST)

    assert not passes(request, LineFilter())
    assert passes(request, LineFilter(program="access"))


@pytest.mark.parametrize(
    "raw",
    [
        GOOD_REQUEST.replace(" 200 ", " 503 "),
        GOOD_REQUEST.replace(" 200 ", " -1 "),
        GOOD_REQUEST.replace(" ---- ", " SH-- "),
        "2026-01-31T10:20:30.123Z haproxy[7]: Server nodes/web1-ab is DOWN.",
    ],
)
def test_what_deserves_a_look_in_the_access_log_is_shown(raw: str) -> None:
    """A server error, a session that ended badly, and what HAProxy says of its servers."""
    assert passes(line("access", raw), LineFilter())


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (LineFilter(), True),
        (LineFilter(node="web*"), True),
        (LineFilter(node="balancer,web1"), True),
        (LineFilter(node="web2"), False),
        (LineFilter(event="member.*"), True),
        (LineFilter(event="proxy.*"), False),
        (LineFilter(node="web1", program="serf"), False),
    ],
)
def test_patterns_choose(chosen: LineFilter, expected: bool) -> None:  # noqa: FBT001  a table of expectations
    """A line has to pass every pattern that is given."""
    assert passes(line("rosterd", '{"event": "member.joined"}'), chosen) is expected


def test_an_event_pattern_leaves_plain_text_out() -> None:
    """Only structured lines have an event."""
    assert not passes(line("serf", "text"), LineFilter(event="*"))


def test_markup_in_a_log_line_is_only_text() -> None:
    """A member's name cannot colour the terminal or break the display."""
    assert shown(line("serf", "[bold]x[/] [/nope]")).plain.endswith("[bold]x[/] [/nope]")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("    2026/01/31 10:20:30 [INFO] serf: EventMemberJoin: a\x1b[2Jb 127.9.9.9", "a\\x1b[2Jb"),
        ('{"event": "member.joined", "member": "a\\u001b[2Jb"}', "member=a\\x1b[2Jb"),
        ('{"event": "member.joined", "members": ["a\\u202eb"]}', "members=[a\\u202eb]"),
    ],
)
def test_a_name_has_no_power_over_the_terminal(raw: str, expected: str) -> None:
    """Escape sequences and reversed text in a member's name are shown, not obeyed."""
    text = shown(line("serf", raw)).plain
    assert expected in text
    assert text.isprintable()


# --- following --------------------------------------------------------------------------------------------------


def log_file(directory: Path, node: str, program: str) -> Path:
    """An empty log of one program."""
    path = directory / node / "logs" / f"{program}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def texts(follower: Follower) -> list[str]:
    """What came."""
    return [found.text for found in follower.new_lines()]


def test_all_nodes_together_in_the_order_of_time(tmp_path: Path) -> None:
    """Lines of several files are merged by their times; a file keeps its own order."""
    log_file(tmp_path, "a", "syslog").write_text("2026-01-01T00:00:01.0Z one\nno time\n2026-01-01T00:00:04.0Z four\n")
    log_file(tmp_path, "b", "syslog").write_text("2026-01-01T00:00:00.5Z zero\n2026-01-01T00:00:03.0Z three\n")

    assert texts(Follower(tmp_path)) == ["zero", "one", "no time", "three", "four"]


def test_a_line_is_shown_once_and_whole(tmp_path: Path) -> None:
    """What is not finished yet waits for its end."""
    path = log_file(tmp_path, "a", "app")
    follower = Follower(tmp_path)
    for added, expected in (("one\ntw", ["one"]), ("o\n", ["two"]), ("", [])):
        with path.open("a") as log:
            log.write(added)
        assert texts(follower) == expected


def test_rotation_and_a_new_cluster_lose_nothing(tmp_path: Path) -> None:
    """A file that was replaced or cut is read from its start; one that is gone is no error."""
    path = log_file(tmp_path, "a", "app")
    path.write_text("one\ntwo\n")
    follower = Follower(tmp_path)
    assert texts(follower) == ["one", "two"]

    path.rename(path.with_suffix(".log.1"))
    path.write_text("three\n")
    assert texts(follower) == ["three"]
    path.write_text("4\n")
    assert texts(follower) == ["4"]
    path.unlink()
    assert texts(follower) == []


def test_a_long_file_is_read_from_near_its_end(tmp_path: Path) -> None:
    """The first look reads no more than the last megabyte, and no half line."""
    path = log_file(tmp_path, "a", "app")
    path.write_text("x" * LARGEST_BACKLOG + "\nlast\n")
    assert texts(Follower(tmp_path)) == ["last"]

"""What `rosterd top` shows, for terminals of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.picture import Said, picture
from tests.page.scenes import Json, changed, event, joined, quiet, server, service, troubled

EVENTS = (joined(1, "web-1", "ab12.4"), changed(2, "web-1", "ab12.4"), event(3, "guard.engaged", level="warning"))
WIDE = 1000

QUIET = """\
rosterd   ready  16:15:00 UTC  HAProxy 2.6.12
nobody serves: cache has no server that is up
held: nodes/web-2: failed, and it stays for now
SERVER  STATE                     ADDRESS        SINCE  WEIGHT  SESS  RATE  ERR
nodes  1 of 2 servers up, 7 sessions, 40/s
web-1   up                        10.0.0.1:3000  65 s      100     7    40    0
web-2   down held: failed, L4CON  10.0.0.1:3000  65 s      100  7 +2    40    0
cache  0 of 1 server up, 7 sessions, 40/s
c       drain                     10.0.0.1:3000  65 s      100     7    40    0

16:00:03          guard.engaged
16:00:02 ab12.4   member.joined web-1 (shop), 10.0.0.1 port 3000
16:00:02 ab12.4   servers.changed web-1 joined, wake to applied 5 ms, woken by agent"""


def said(status: Json | None, events: Sequence[Json] = EVENTS, error: str = "") -> Said:
    """Return what a daemon said at a quarter past four."""
    return Said("127.0.0.1:9780", "16:15:00", status, events, error)


def text(found: Said, width: int = WIDE, height: int = WIDE) -> str:
    """Return the picture without its colours."""
    return "\n".join(line.plain for line in picture(found, width, height))


def crowd(number: int, **fields: object) -> Json:
    """Return a service of so many servers."""
    return service("nodes", *(server(f"web-{each}", **fields) for each in range(number)))


class TestContent:
    """What is to be read."""

    def test_of_a_quiet_balancer(self) -> None:
        """The head, services with their servers and traffic, the last changes."""
        row = server("web-2", up=False, check="L4CON", held="failed", queue=2)
        shown = text(said(quiet(service("nodes", server("web-1"), row), service("cache", server("c", state="drain")))))
        assert shown == QUIET

    def test_of_a_daemon_that_never_answered(self) -> None:
        """Where it was looked for, and that is all."""
        assert text(said(None, (), "no rosterd answers at 127.0.0.1:9780")) == (
            "rosterd\nno rosterd answers at 127.0.0.1:9780."
        )

    def test_of_a_daemon_that_answers_no_more(self) -> None:
        """What it said last stays, and from when that is."""
        shown = text(said(quiet(), error="no rosterd answers"))
        assert "no rosterd answers. This is how it was at 16:15:00 UTC." in shown
        assert "web-1" in shown

    def test_before_anything_is_known(self) -> None:
        """There are no services yet."""
        assert "SERVER" in text(said({**quiet(), "services": []}, ()))


class TestRoom:
    """What is left out where there is not room for all."""

    def test_eighty_columns_show_every_figure(self) -> None:
        """As over ssh; only the address makes room, for what is to be said of the state."""
        busy = server(
            "web1-1a2b3c", up=False, held="failed", check="L7TOUT", sessions=1234, rate_per_s=5678, errors=910, queue=3
        )
        lines = text(said(quiet(service("nodes", busy))), 80, 24).splitlines()
        (row,) = (line for line in lines if line.startswith("web1-1a2b3c"))
        assert row.split() == [
            "web1-1a2b3c",
            "down",
            "held:",
            "failed,",
            "L7TOUT",
            "65",
            "s",
            "100",
            "1234",
            "+3",
            *("5678", "910"),
        ]

    @pytest.mark.parametrize(("width", "columns"), [(80, 8), (60, 7), (42, 6), (34, 5), (16, 2)])
    def test_narrow_terminals_go_without_columns(self, width: int, columns: int) -> None:
        """The name and the state stay to the last."""
        lines = text(said(quiet(service("nodes", server("web-1234567")))), width, 24).splitlines()
        titles = next(line.split() for line in lines if line.startswith("SERVER"))
        assert titles[:2] == ["SERVER", "STATE"]
        assert len(titles) == columns

    def test_who_is_not_up_is_shown_where_others_are_not(self) -> None:
        """And how many these are; a small service has its place beside a large one."""
        rows = crowd(100)["servers"]
        status = quiet(service("nodes", *rows, server("zz-down", up=False)), service("cache", server("c")))
        lines = text(said(status), 80, 24).splitlines()
        assert len(lines) == 24
        assert any(line.startswith("zz-down") for line in lines)
        assert any(line.startswith("c ") for line in lines)
        assert sum(line.startswith("web-") for line in lines) >= 10
        assert any(line.startswith("and 8") and line.endswith(" more") for line in lines)

    def test_changes_have_a_third_of_the_room_at_least(self) -> None:
        """Many servers do not push them out, and few leave them more."""
        events = [joined(number, f"new-{number}", f"t.{number}") for number in range(60)]
        assert text(said(quiet(crowd(100)), events), 80, 24).count("member.joined") >= 5
        assert text(said(quiet(crowd(3)), events), 80, 24).count("member.joined") >= 15

    def test_what_is_wrong_has_a_third_at_most(self) -> None:
        """However much it is; the urgent stands first."""
        status = {**troubled(), "quarantined": [{"name": f"x{number}", "reason": "y"} for number in range(50)]}
        lines = text(said(status), 80, 24).splitlines()
        kinds = [line.partition(":")[0] for line in lines]
        assert kinds[1:6] == ["Serf agent", "HAProxy", "guard", "edit rejected", "last action failed"]
        assert any(line.startswith("SERVER") for line in lines[:12])


HOSTILE = st.text(
    st.sampled_from("a漢\u0301\u200b\u202e\x1b[]31m\r\n\t\x07\x00\ud800😀/."), max_size=40
)  # wide, combining, turning, escaping, ringing, half


def hostile(name: str) -> dict[str, Any]:
    """Return a status with this name everywhere."""
    return {
        **troubled(),
        "services": [service(name, server(name, check=name, held=name, up=False, address=name))],
        "quarantined": [{"name": name, "reason": name}],
        "action_error": name,
    }


@given(HOSTILE, st.integers(1, 200), st.integers(1, 60))
def test_whatever_is_said_fits_any_terminal(name: str, width: int, height: int) -> None:
    """No line is wider, there are not more of them, and nothing in them could move the cursor or ring the bell."""
    lines = picture(said(hostile(name), [joined(1, name, name), changed(2, name)], name), width, height)
    assert len(lines) <= height
    for line in lines:
        assert line.cell_len <= width
        assert line.plain.isprintable()
        line.plain.encode()

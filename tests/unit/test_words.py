"""The status and the events in words, for the page and the commands."""

from __future__ import annotations

from typing import Any

import pytest

from rosterd.answers import status_answer
from rosterd.words import Mood, Trouble, changes, duration, services, side, troubles
from tests.page.scenes import Json, changed, event, joined, quiet, server, service, troubled
from tests.unit.test_report import EARLY

MANY = 1000


class TestTroubles:
    """What is wrong."""

    def test_where_all_is_well_there_is_none(self) -> None:
        """Nothing is made up."""
        assert troubles(quiet()) == ()

    def test_each_has_its_kind(self) -> None:
        """Those of the balancer as a whole come first, and are urgent; the reason is the daemon's."""
        found = troubles(troubled())
        assert [trouble.kind for trouble in found if trouble.urgent] == [
            "Serf agent",
            "HAProxy",
            "guard",
            "edit rejected",
            "last action failed",
        ]
        assert [trouble.kind for trouble in found if not trouble.urgent] == [
            "open",
            "displaced",
            "barred",
            "damped",
            "quarantined",
            "held",
            "taken out",
        ]
        assert Trouble("last action failed", "the disk is full", urgent=True) in found
        assert Trouble("damped", "nodes/web-4: it comes and goes, and waits", for_s=40.0) in found
        assert Trouble("taken out", "nodes/web-9: drain by hand") in found

    def test_before_the_first_complete_state(self) -> None:
        """Not ready although both sides answer."""
        status = {**quiet(), "ready": False}
        assert troubles(status) == (Trouble("not ready", "no complete state has been applied yet", urgent=True),)

    @pytest.mark.parametrize("rows", [(), (server("a", up=False), server("b", state="drain"), server("c", up=None))])
    def test_a_service_of_which_nobody_answers(self, rows: tuple[Json, ...]) -> None:
        """That touches everybody; while one that leaves goes on until another answers it is not so."""
        status = quiet(service("nodes", *rows), service("cache", server("d")))
        assert troubles(status)[0] == Trouble("nobody serves", "nodes has no server that is up", urgent=True)
        leaving = [{"name": "web-0", "since_s": 3.5, "sessions": 2}]
        assert not [each for each in troubles(quiet(service("nodes", *rows, leaving=leaving))) if each.urgent]

    def test_only_the_templates_own_server_serves(self) -> None:
        """The server is named: clients get its answers and no member's."""
        status = quiet(service("nodes", server("a", up=False), template_servers=[server("sorry")]))
        assert troubles(status)[0].text == "nodes only sorry of the template serves"

    def test_what_haproxy_runs_without(self) -> None:
        """Differences that no reload is made for, or that a reload has left."""
        status = quiet()
        status = {**status, "plan": {**status["plan"], "left": [{"kind": "text", "detail": "nodes/a: no line"}]}}
        assert troubles(status) == (Trouble("not applied", "nodes/a: no line", urgent=True),)

    def test_an_overridden_guard(self) -> None:
        """That is urgent too: members go that the guard would keep."""
        (found,) = troubles({**quiet(), "guard_overridden": "most of nodes failed"})
        assert found == Trouble(
            "guard overridden", "failed members are removed although most of nodes failed", urgent=True
        )

    def test_a_great_many_of_a_kind(self) -> None:
        """Some are named, and how many there are besides."""
        status = {**quiet(), "quarantined": [{"name": f"x{number}", "reason": "y"} for number in range(50)]}
        found = troubles(status)
        assert len(found) == 21
        assert found[-1] == Trouble("quarantined", "and 30 more")

    def test_a_daemon_from_before_an_update(self) -> None:
        """What it does not tell is no trouble."""
        status = {key: value for key, value in quiet().items() if key not in {"barred", "damped", "guard_overridden"}}
        assert troubles(status) == ()


def test_a_side_answers_or_does_not() -> None:
    """And since when, in the unit that one wants to know it in."""
    assert side({"reachable": True, "since_s": 90_061.0}) == "answers since 25 h"
    assert side({"reachable": False, "since_s": 9.0}) == "does not answer since 9 s"


class TestServices:
    """Services and servers."""

    def one(self, **fields: object) -> Any:  # noqa: ANN401  each test reads other fields
        """Return the line of a server with these fields."""
        ((line,),) = (lines.servers for lines in services(quiet(service("nodes", server("web-1", **fields))), MANY))
        return line

    @pytest.mark.parametrize(
        ("fields", "state", "mood", "note"),
        [
            ({}, "up", Mood.GOOD, ""),
            ({"up": False, "check": "L4CON"}, "down", Mood.BAD, "L4CON"),
            ({"up": False, "check": None}, "down", Mood.BAD, ""),
            ({"up": None}, "not seen", Mood.WAITING, ""),
            ({"state": "drain", "weight": 0}, "drain", Mood.OUT, ""),
            ({"state": "maint", "by_hand": True}, "maint", Mood.OUT, "by hand"),
            ({"out_by_agent": "drain"}, "drain", Mood.OUT, "by its agent"),
            ({"held": "failed"}, "up", Mood.GOOD, "held: failed"),
            ({"held": "unseen", "up": False, "check": "L7TOUT"}, "down", Mood.BAD, "held: unseen, L7TOUT"),
        ],
    )
    def test_each_state(self, fields: dict[str, object], state: str, mood: Mood, note: str) -> None:
        """One word for it, and what adds to it."""
        line = self.one(**fields)
        assert (line.state, line.mood, line.note) == (state, mood, note)

    def test_each_figure(self) -> None:
        """As text; those that wait stand beside those that run, and what is not known is a dash."""
        line = self.one(queue=2)
        assert (line.since, line.sessions, line.rate, line.errors) == ("65 s", "7 +2", "40", "0")
        unknown = dict.fromkeys(("sessions", "queue", "rate_per_s", "errors", "check", "since_s"))
        line = self.one(**unknown)
        assert (line.since, line.sessions, line.rate, line.errors) == ("-", "-", "-", "-")

    def test_a_daemon_from_before_an_update(self) -> None:
        """It has no figures at all."""
        old = {key: value for key, value in server("web-1").items() if key not in {"sessions", "queue", "rate_per_s"}}
        (lines,) = services(quiet({"name": "nodes", "servers": [old], "leaving": []}), MANY)
        assert (lines.summary, lines.servers[0].sessions) == ("1 of 1 server up", "-")

    def test_an_address_of_ipv6(self) -> None:
        """In brackets, so that the port stands out."""
        assert self.one(address="2001:db8::1").place == "[2001:db8::1]:3000"

    def test_who_leaves_comes_last(self) -> None:
        """With the requests that it still has."""
        leaving = [{"name": "web-0", "since_s": 3.5, "sessions": 2}]
        (lines,) = services(quiet(service("nodes", server("web-1"), leaving=leaving)), MANY)
        assert [line.name for line in lines.servers] == ["web-1", "web-0"]
        gone = lines.servers[1]
        assert (gone.state, gone.since, gone.sessions, gone.weight) == ("leaving", "4 s", "2", "0")

    def test_the_head_of_a_service(self) -> None:
        """How many are up, and the traffic of all; what is zero and better so is left out."""
        rows = server("web-1"), server("web-2", up=False), server("web-3", state="drain")
        (lines,) = services(quiet(service("nodes", *rows, sessions=1, queue=4, errors=2)), MANY)
        assert lines.summary == "1 of 3 servers up, 1 session, 40/s, 4 queued, 2 errors"

    def test_where_there_are_too_many(self) -> None:
        """Those that are up make room for the others, whose order stays."""
        rows = server("a"), server("b"), server("c", up=False), server("d"), server("e", state="maint")
        (lines,) = services(quiet(service("nodes", *rows)), 3)
        assert ([line.name for line in lines.servers], lines.more) == (["c", "e", "a"], 2)
        assert lines.summary.startswith("3 of 5 servers up")

    def test_before_anything_is_known(self) -> None:
        """There are no services, and that is no fault."""
        assert services(status_answer(EARLY), MANY) == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (5999, "100 min"),
        (6000, "2 h"),
        (172799, "48 h"),
        (172800, "2 d"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    """In one unit, about as exact as one wants to know it."""
    assert duration(seconds) == text


class TestChanges:
    """What happened."""

    def test_what_belongs_to_one_trace_stands_together(self) -> None:
        """In the order in which it happened, though others came between; the trace that moved last stands first."""
        found = changes([changed(3, "a", "t.1"), joined(2, "b", "t.2"), joined(1, "a", "t.1")], MANY)
        assert [(change.trace, [line.name for line in change.events]) for change in found] == [
            ("t.1", ["member.joined", "servers.changed"]),
            ("t.2", ["member.joined"]),
        ]
        assert found[0].time == "2026-11-25T16:00:03.115128Z"

    def test_no_more_than_wanted(self) -> None:
        """The newest."""
        assert [change.key for change in changes([joined(n, "a", f"t.{n}") for n in range(9)], 2)] == ["t.8", "t.7"]

    def test_events_without_a_trace_stand_alone(self) -> None:
        """Each by itself, even at the same moment."""
        found = changes([event(1, "agent.reached"), {**event(1, "proxy.reached"), "id": "ab12-2"}], MANY)
        assert [(change.key, change.trace) for change in found] == [("ab12-2", ""), ("ab12-1", "")]

    def test_an_event_in_words(self) -> None:
        """About whom, why, what came of it, how long it took; commands and reasons apart."""
        (change,) = changes([changed(1, "web-1", "t.1")], MANY)
        (line,) = change.events
        assert line.text == "web-1 joined, wake to applied 5 ms, woken by agent"
        assert line.details == (
            "add server nodes/web-1 10.0.0.1:3000 id 17 weight 100",
            "enable health nodes/web-1",
            "nodes/web-1: its first check",
        )
        assert not line.is_loud

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({"member": "web-1", "node": "shop", "detail": "weight 1 to 2"}, "web-1 (shop), weight 1 to 2"),
            ({"member": "web-1", "node": "web-1", "detail": ""}, "web-1"),
            ({"service": "nodes", "server": "web-1", "why": "failed"}, "nodes/web-1, failed"),
            ({"service": "nodes", "server": "web-1", "was": "failed"}, "nodes/web-1, was failed"),
            ({"error": "gone", "retry_in_s": 12.34}, "gone, retry in 12.3 s"),
            ({"settings": ["a.b", "c.d"], "template": False}, "settings a.b c.d, template False"),
            ({"pid": 7, "actions_total": 3}, ""),
        ],
    )
    def test_fields_in_words(self, fields: dict[str, Any], text: str) -> None:
        """Whom it is about comes first; a name stands only before what would not be understood without."""
        (change,) = changes([event(1, "x.y", level="warning", **fields)], MANY)
        assert change.events[0].text == text
        assert change.events[0].is_loud

    def test_what_is_no_event_of_ours(self) -> None:
        """A daemon of another version may say less, or more."""
        (change,) = changes([{"new": {"a": 1}}], MANY)
        assert (change.events[0].name, change.events[0].text, change.time) == ("-", "new {'a': 1}", "")


def test_servers_of_the_template_are_shown_behind_the_members() -> None:
    """They are up or down, and count as no member's."""
    own = {key: value for key, value in server("sorry", up=False).items() if key not in ("held", "by_hand")}
    (lines,) = services(quiet(service("nodes", server("a"), template_servers=[own])), MANY)
    assert [(line.name, line.state, line.note) for line in lines.servers] == [
        ("a", "up", ""),
        ("sorry", "down", "the template's own"),
    ]
    assert lines.summary.startswith("1 of 1 server up")
    assert lines.more == 0


def test_lines_of_the_text_are_details_with_their_sign() -> None:
    """Each on a line of its own."""
    (change,) = changes(
        [event(1, "proxy.reloaded", lines_added=["global: b"], lines_removed=["global: a"], lines_total=2)], MANY
    )
    assert change.events[0].details == ("- global: a", "+ global: b")
    assert "lines" not in change.events[0].text

"""What is known of the two sides: never emptied because one of them went quiet."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from rosterd.model import (
    AdminState,
    Backend,
    Desired,
    RemoveServer,
    Running,
    RunningServer,
    Runtime,
    Server,
    SetState,
    Snapshot,
    Status,
    Transition,
)
from rosterd.observed import Observed, Side
from rosterd.settings import PolicySettings
from tests.unit.members import EVERYBODY, record

LIMITS = PolicySettings()

RUNNING = Running(
    "2.6",
    1,
    "digest",
    {
        "nodes": {
            name: RunningServer(name, number, IPv4Address("10.0.0.1"), 80, 1, AdminState.READY, up=up, checked=True)
            for number, (name, up) in enumerate({"web-1": True, "web-2": False}.items(), 1)
        }
    },
    {},
)


class TestSide:
    """Whether one side answers, and since when."""

    def test_it_has_not_answered_yet(self) -> None:
        """From the start of the daemon on."""
        side = Side(5.0)
        assert (side.since, side.error) == (5.0, "not reached yet")

    def test_it_answers(self) -> None:
        """The time counts from the first answer."""
        side = Side(5.0)
        side.answers(6.0)
        side.answers(7.0)
        assert (side.since, side.error) == (6.0, "")

    def test_it_falls_silent(self) -> None:
        """The time counts from the first failure, whatever the later ones are; each new reason is news."""
        side = Side(5.0)
        side.answers(6.0)
        assert side.fails(7.0, "refused")
        assert not side.fails(8.0, "refused")
        assert side.fails(9.0, "hangs")
        assert (side.since, side.error) == (7.0, "hangs")

    def test_it_answers_again(self) -> None:
        """A new time begins."""
        side = Side(5.0)
        side.fails(6.0, "refused")
        side.answers(7.0)
        assert (side.since, side.error) == (7.0, "")


class TestObserved:
    """Both sides together."""

    def test_nothing_at_first(self) -> None:
        """Neither side, no health, no table."""
        observed = Observed(0)
        assert not observed.is_whole
        assert (observed.health_score, observed.answering, dict(observed.table.entries)) == (0, {}, {})
        assert observed.take_snapshot(1, LIMITS, served=EVERYBODY) == ()

    def test_both_sides(self) -> None:
        """Each has its part."""
        observed = Observed(0)
        whole = []
        for observed.snapshot, observed.running in (
            (Snapshot((), 0), None),
            (None, RUNNING),
            (Snapshot((record("web-1"),), 3), RUNNING),
        ):
            whole.append(observed.is_whole)
        assert whole == [False, False, True]
        assert observed.health_score == 3

    def test_who_answers(self) -> None:
        """As HAProxy's checks say; one that it takes to be up before its check has spoken is not known to answer."""
        fresh = replace(RUNNING.backends["nodes"]["web-1"], name="web-3", checked=False)
        observed = Observed(0)
        observed.see(replace(RUNNING, backends={"nodes": {**RUNNING.backends["nodes"], "web-3": fresh}}))
        assert observed.answering == {("nodes", "web-1"): True, ("nodes", "web-2"): False}

    def test_who_answered_while_haproxy_is_not_seen(self) -> None:
        """That it is silent takes nothing back; who did not answer may do so by now."""
        observed = Observed(0)
        observed.see(RUNNING)
        observed.running = None
        assert observed.answering == {("nodes", "web-1"): True}

    def test_the_age_of_what_is_known(self) -> None:
        """It is too old when the agent has been silent for so long; that, and its end, is news once."""
        observed = Observed(0.0)
        assert (observed.stale_at(30.0), observed.note_age(30.0, 29.9)) == (30.0, False)
        assert [observed.note_age(30.0, now) for now in (30.0, 31.0)] == [True, False]
        assert (observed.is_stale, observed.stale_at(30.0)) == (True, None)
        observed.agent.answers(40.0)
        assert [observed.note_age(30.0, now) for now in (40.0, 400.0)] == [True, False]
        assert (observed.is_stale, observed.stale_at(30.0)) == (False, None)
        observed.agent.fails(500.0, "gone")
        assert observed.stale_at(30.0) == 530.0

    def test_a_reply_is_taken_once(self) -> None:
        """Taking it again changes nothing; an equal one that is newer is taken, so that time goes on."""
        observed = Observed(0)
        observed.snapshot = Snapshot((record("web-1"),), 0)
        changes = observed.take_snapshot(1, LIMITS, served=EVERYBODY)
        assert [change.transition for change in changes] == [Transition.JOINED]
        assert observed.take_snapshot(2, LIMITS, served=EVERYBODY) == ()
        observed.snapshot = Snapshot((), 0)
        observed.take_snapshot(3, LIMITS, served=EVERYBODY)
        assert observed.table.entries["web-1"].status is Status.UNSEEN

    def test_the_unseen_are_forgotten_without_a_new_reply(self) -> None:
        """As soon as they are not served any more, and not before, however silent the agent is."""
        observed = Observed(0)
        for now, records in enumerate([(record("web-1"),), ()]):
            observed.snapshot = Snapshot(records, 0)
            observed.take_snapshot(now, LIMITS, served=EVERYBODY)
        assert observed.take_snapshot(1_000_000, LIMITS, served=EVERYBODY) == ()
        assert observed.table.entries["web-1"].status is Status.UNSEEN
        assert observed.take_snapshot(1_000_001, LIMITS, served=()) == ()
        assert not observed.table.entries

    def test_inherited_servers_begin_the_table(self) -> None:
        """They are known by name before the agent has said a word."""
        observed = Observed(0)
        observed.inherit(["web-1"], 1)
        assert observed.table.entries["web-1"].status is Status.UNSEEN

    def test_what_the_agent_said_before_stays(self) -> None:
        """HAProxy may be found later than the agent: only who is not in the table yet is inherited."""
        observed = Observed(0)
        observed.snapshot = Snapshot((record("web-1"),), 0)
        observed.take_snapshot(1, LIMITS, served=EVERYBODY)
        observed.inherit(["web-1", "web-2"], 2)
        statuses = {name: entry.status for name, entry in observed.table.entries.items()}
        assert statuses == {"web-1": Status.ALIVE, "web-2": Status.UNSEEN}


def running_with(pid: int, **servers: tuple[int, AdminState]) -> Running:
    """Return what a worker runs: weight and state of each server."""
    shown = {
        name: RunningServer(name, 1, IPv4Address("10.0.0.1"), 80, weight, state, up=True, checked=True)
        for name, (weight, state) in servers.items()
    }
    return Running("2.6", pid, "digest", {"nodes": shown}, {})


class TestByHand:
    """What somebody did to a server on HAProxy itself."""

    def test_it_is_told_from_what_we_did(self) -> None:
        """Our drain is weight 0, and our maintenance has weight 0 too."""
        observed = Observed(0)
        observed.see(
            running_with(
                1,
                ours=(0, AdminState.READY),
                ours_too=(0, AdminState.MAINT),
                theirs=(100, AdminState.MAINT),
                theirs_too=(0, AdminState.DRAIN),
                nobodys=(100, AdminState.READY),
            )
        )
        assert observed.by_hand == {
            ("nodes", "theirs"): AdminState.MAINT,
            ("nodes", "theirs_too"): AdminState.DRAIN,
        }

    def test_a_server_that_was_just_added_is_nobodys_hand(self) -> None:
        """HAProxy puts it into maintenance until the next command; its check is still off, and has never spoken."""
        fresh = RunningServer(
            "web", 1, IPv4Address("10.0.0.1"), 80, 100, AdminState.MAINT, up=False, checked=False, check_off=True
        )
        observed = Observed(0)
        observed.see(Running("2.6", 1, "digest", {"nodes": {"web": fresh}}, {}))
        assert observed.by_hand == {}

    def test_it_is_over_when_it_is_taken_back(self) -> None:
        """On the same worker, what HAProxy shows is all there is."""
        observed = Observed(0)
        observed.see(running_with(1, web=(100, AdminState.DRAIN)))
        observed.see(running_with(1, web=(100, AdminState.READY)))
        assert observed.by_hand == {}

    def test_a_new_worker_takes_nothing_back(self) -> None:
        """It is wanted of that one as well, until it is seen there; from then on it can be taken back again."""
        observed = Observed(0)
        wanted = {("nodes", "web"): AdminState.DRAIN}
        observed.see(running_with(1, web=(100, AdminState.DRAIN)))
        for _ in range(3):
            observed.see(running_with(2, web=(0, AdminState.READY)))
            assert (observed.by_hand, observed.seen_by_hand) == (wanted, {})
        observed.see(running_with(2, web=(100, AdminState.DRAIN)))
        assert observed.by_hand == wanted
        observed.see(running_with(2, web=(100, AdminState.READY)))
        assert observed.by_hand == {}

    def test_it_ends_when_nobody_wants_the_server(self) -> None:
        """A worker that starts from a file without the server has it added, and taken out, as long as it is wanted."""
        observed = Observed(0)
        observed.see(running_with(1, web=(100, AdminState.DRAIN)))
        observed.see(running_with(2, other=(100, AdminState.READY)))
        observed.note_passages(server_line("web"), 1.0)
        assert observed.by_hand == {("nodes", "web"): AdminState.DRAIN}
        observed.note_passages(server_line("other"), 2.0)
        assert observed.by_hand == {}

    def test_it_ends_with_the_worker_where_only_reloads_are_used(self) -> None:
        """No file can say it, and nothing else is said to HAProxy there."""
        observed = Observed(0)
        observed.see(running_with(1, web=(100, AdminState.DRAIN)))
        observed.see(running_with(2, web=(0, AdminState.READY)))
        observed.forget_passages()
        assert observed.by_hand == {}


def test_who_leaves_is_known_since_when() -> None:
    """From the last moment in which it got requests without being desired, until it is desired again or gone."""
    observed = Observed(0)
    observed.see(running_with(1, web=(100, AdminState.READY), other=(100, AdminState.READY)))
    nobody, other = Desired("digest", (Backend("nodes", ()),), ""), server_line("other")
    observed.note_passages(other, 5.0)
    assert observed.departed == {("nodes", "web"): 5.0}
    observed.note_passages(nobody, 6.0)
    assert observed.departed == {("nodes", "web"): 6.0, ("nodes", "other"): 6.0}  # both still get requests
    observed.see(running_with(1, web=(0, AdminState.READY), other=(0, AdminState.READY)))
    observed.note_passages(nobody, 7.0)
    observed.note_passages(other, 8.0)
    assert observed.departed == {("nodes", "web"): 6.0}
    observed.see(running_with(1))
    observed.note_passages(nobody, 9.0)
    assert observed.departed == {}


@pytest.mark.parametrize(
    ("shown", "is_awaited"),
    [
        ({}, True),
        ({"checking": True}, False),
        ({"checked": True}, False),
        ({"weight": 1}, False),
        ({"state": AdminState.MAINT}, False),
    ],
)
def test_a_first_check_that_has_not_begun_is_awaited(shown: dict[str, object], is_awaited: bool) -> None:  # noqa: FBT001  a table's column
    """Since it was seen first; not one that is under way, or is not to come."""
    idle = RunningServer("web", 1, IPv4Address("10.0.0.1"), 80, 0, AdminState.READY, up=True, checked=False)
    observed = Observed(0)
    observed.see(Running("2.6.12", 1, "digest", {"nodes": {"web": idle}}, {}))
    observed.note_passages(server_line("web"), 5.0)
    assert observed.unchecked == {("nodes", "web"): 5.0}
    changed = replace(idle, **shown)  # type: ignore[arg-type]
    observed.see(Running("2.6.12", 1, "digest", {"nodes": {"web": changed}}, {}))
    observed.note_passages(server_line("web"), 6.0)
    assert observed.unchecked == ({("nodes", "web"): 5.0} if is_awaited else {})
    observed.forget_passages()
    assert (observed.departed, observed.unchecked) == ({}, {})


def test_a_server_is_added_anew_once_on_a_worker() -> None:
    """A check that is late again is late by the template or the machine: it is waited for."""
    key = ("nodes", "web")
    anew = Runtime((SetState(*key, AdminState.MAINT), RemoveServer(*key)), ())
    idle = RunningServer("web", 1, IPv4Address("10.0.0.1"), 80, 0, AdminState.READY, up=True, checked=False)
    observed = Observed(0)
    for pid, unchecked in ((1, {key: 1.0}), (1, {}), (2, {key: 3.0})):
        observed.see(Running("2.6.12", pid, "digest", {"nodes": {"web": idle}}, {}))
        observed.note_passages(server_line("web"), 3.0 if pid == 2 else 1.0)
        assert observed.unchecked == unchecked
        observed.note_plan(anew)
        observed.see(Running("2.6.12", pid, "digest", {}, {}))
        observed.note_passages(server_line("web"), 2.0)


def server_line(name: str) -> Desired:
    """Return a desired state of one server."""
    server = Server(name, 1, IPv4Address("10.0.0.1"), 80, 100, AdminState.READY)
    return Desired("digest", (Backend("nodes", (server,)),), "")

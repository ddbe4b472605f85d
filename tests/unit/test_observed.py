"""What is known of the two sides: never emptied because one of them went quiet."""

from __future__ import annotations

from ipaddress import IPv4Address

from rosterd.model import AdminState, Running, RunningServer, Snapshot, Status, Transition
from rosterd.observed import Observed, Side
from tests.unit.members import EVERYBODY, record

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
        assert observed.take_snapshot(1, served=EVERYBODY) == ()

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

    def test_whether_those_answer_who_are_not_alive(self) -> None:
        """The health of the others is no matter of ours."""
        observed = Observed(0)
        observed.see(RUNNING)
        observed.snapshot = Snapshot((record("web-1"), record("web-2", status="failed")), 0)
        observed.take_snapshot(1.0, served=EVERYBODY)
        assert observed.answering == {("nodes", "web-2"): False}

    def test_a_reply_is_taken_once(self) -> None:
        """Taking it again changes nothing; an equal one that is newer is taken, so that time goes on."""
        observed = Observed(0)
        observed.snapshot = Snapshot((record("web-1"),), 0)
        changes = observed.take_snapshot(1, served=EVERYBODY)
        assert [change.transition for change in changes] == [Transition.JOINED]
        assert observed.take_snapshot(2, served=EVERYBODY) == ()
        observed.snapshot = Snapshot((), 0)
        observed.take_snapshot(3, served=EVERYBODY)
        assert observed.table.entries["web-1"].status is Status.UNSEEN

    def test_the_unseen_are_forgotten_without_a_new_reply(self) -> None:
        """As soon as they are not served any more, and not before, however silent the agent is."""
        observed = Observed(0)
        for now, records in enumerate([(record("web-1"),), ()]):
            observed.snapshot = Snapshot(records, 0)
            observed.take_snapshot(now, served=EVERYBODY)
        assert observed.take_snapshot(1_000_000, served=EVERYBODY) == ()
        assert observed.table.entries["web-1"].status is Status.UNSEEN
        assert observed.take_snapshot(1_000_001, served=()) == ()
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
        observed.take_snapshot(1, served=EVERYBODY)
        observed.inherit(["web-1", "web-2"], 2)
        statuses = {name: entry.status for name, entry in observed.table.entries.items()}
        assert statuses == {"web-1": Status.ALIVE, "web-2": Status.UNSEEN}

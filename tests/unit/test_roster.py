"""The member table: each step of a member's life, and a model of all of them together."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from rosterd.model import Change, Entry, Member, MemberRecord, Quarantined, Status, Transition
from rosterd.roster import EMPTY, Table, advance, difference, inherit
from tests.unit.members import EVERYBODY, STATUSES, clusters, hostile_records, record, table_of


def step(
    table: Table, now: float, *records: MemberRecord, served: Container[str] = EVERYBODY
) -> tuple[Table, tuple[Change, ...]]:
    """Advance the table by one reply."""
    return advance(table, records, now, served=served)


def told(changes: Iterable[Change]) -> list[tuple[str, Transition]]:
    """Return who changed, and how."""
    return [(change.name, change.transition) for change in changes]


def statuses(table: Table) -> dict[str, tuple[Status, float]]:
    """Return what is known of each member, and since when."""
    return {name: (entry.status, entry.since) for name, entry in table.entries.items()}


def alive(table: Table) -> dict[str, object]:
    """Return what each member is that is alive."""
    return {name: entry.subject for name, entry in table.entries.items() if entry.status is Status.ALIVE}


class TestLife:
    """One member, step by step."""

    def test_a_new_member_joined(self) -> None:
        """It is in the table from that moment on, and the change says where it is."""
        table, changes = step(EMPTY, 5.0, record("web-1", "10.0.0.7", node="shop", port="80"))
        assert statuses(table) == {"web-1": (Status.ALIVE, 5.0)}
        assert changes == (Change(Transition.JOINED, "web-1", "shop", "10.0.0.7 port 80"),)

    @pytest.mark.parametrize(
        ("status", "transitions"),
        [
            ("alive", [Transition.JOINED]),
            ("leaving", [Transition.LEAVING]),
            ("left", []),
            ("failed", [Transition.FAILED]),
        ],
    )
    def test_the_first_sight_of_a_member(self, status: str, transitions: list[Transition]) -> None:
        """Somebody who had left before the daemon started is in the table, but no news."""
        table, changes = step(EMPTY, 0.0, record("web-1", status=status))
        assert statuses(table) == {"web-1": (Status(status), 0.0)}
        assert [change.transition for change in changes] == transitions

    @pytest.mark.parametrize(
        ("before", "after", "transition"),
        [
            ("alive", "leaving", Transition.LEAVING),
            ("alive", "left", Transition.LEFT),
            ("alive", "failed", Transition.FAILED),
            ("leaving", "left", Transition.LEFT),
            ("leaving", "failed", Transition.FAILED),
            ("leaving", "alive", Transition.RETURNED),
            ("left", "alive", Transition.RETURNED),
            ("left", "failed", Transition.FAILED),
            ("left", "leaving", Transition.LEAVING),
            ("failed", "alive", Transition.RETURNED),
            ("failed", "left", Transition.LEFT),
            ("failed", "leaving", Transition.LEAVING),
        ],
    )
    def test_each_step_between_two_statuses(self, before: str, after: str, transition: Transition) -> None:
        """Every pair has one word, and the time of the new status starts then."""
        table, changes = step(table_of(record("web-1", status=before)), 7.0, record("web-1", status=after))
        assert told(changes) == [("web-1", transition)]
        assert statuses(table) == {"web-1": (Status(after), 7.0)}

    @pytest.mark.parametrize("status", STATUSES)
    def test_the_same_again_is_no_change(self, status: str) -> None:
        """The time of the status goes on from where it began."""
        before = table_of(record("web-1", status=status))
        table, changes = step(before, 9.0, record("web-1", status=status))
        assert changes == ()
        assert table == before

    def test_a_changed_tag_is_an_update(self) -> None:
        """The status goes on, and people read what differs."""
        table, changes = step(table_of(record("web-1")), 3.0, record("web-1", weight="10", role="spare"))
        assert changes == (Change(Transition.UPDATED, "web-1", "web-1", "role backend to spare, weight none to 10"),)
        assert statuses(table) == {"web-1": (Status.ALIVE, 0.0)}

    def test_a_changed_address_is_an_update(self) -> None:
        """Serf lets a node of the same name come back elsewhere without a word about leaving."""
        _, changes = step(table_of(record("web-1", "10.0.0.1")), 3.0, record("web-1", "10.0.0.2"))
        assert changes == (Change(Transition.UPDATED, "web-1", "web-1", "address 10.0.0.1 to 10.0.0.2"),)

    def test_another_gossip_port_is_nothing_new(self) -> None:
        """Nobody is served there; the record in the table is the newest all the same."""
        moved = replace(record("web-1"), port=7999)
        table, changes = step(table_of(record("web-1")), 3.0, moved)
        assert changes == ()
        assert table.entries["web-1"].record == moved

    @pytest.mark.parametrize("status", ["leaving", "left"])
    def test_who_vanishes_after_it_left_was_reaped(self, status: str) -> None:
        """It is forgotten at once, and the change says what it was."""
        table, changes = step(table_of(record("web-1", status=status)), 3.0, served=())
        assert table == EMPTY
        assert changes == (Change(Transition.REAPED, "web-1", "web-1", f"was {status}"),)

    @pytest.mark.parametrize("status", ["leaving", "left"])
    def test_who_left_and_serves_on_is_remembered(self, status: str) -> None:
        """The last one that answers: that it said goodbye counts for as long as it is served."""
        before = table_of(record("web-1", status=status))
        assert step(before, 3.0) == (before, ())
        assert step(before, 4.0, served=())[0] == EMPTY

    def test_who_vanishes_after_it_failed_is_kept_while_it_is_served(self) -> None:
        """The agent may just have been restarted. The clock of the failure runs on, also when it is listed again."""
        table, _ = step(table_of(record("web-1")), 1.0, record("web-1", status="failed"))
        table, changes = step(table, 3.0)
        assert changes == (Change(Transition.REAPED, "web-1", "web-1", "was failed"),)
        assert statuses(table) == {"web-1": (Status.UNSEEN, 1.0)}
        table, _ = step(table, 5.0, record("web-1", status="failed"))
        assert statuses(table) == {"web-1": (Status.FAILED, 1.0)}

    @pytest.mark.parametrize("status", ["alive", "failed"])
    def test_who_vanishes_and_is_not_served_is_forgotten(self, status: str) -> None:
        """There is nothing to hold; that it is gone is told all the same."""
        table, changes = step(table_of(record("web-1", status=status)), 3.0, served=())
        assert table == EMPTY
        assert told(changes) == [("web-1", Transition.LOST if status == "alive" else Transition.REAPED)]

    def test_who_vanishes_while_alive_is_unseen(self) -> None:
        """It stays, with all that was known of it."""
        before = table_of(record("web-1"))
        table, changes = step(before, 3.0)
        assert told(changes) == [("web-1", Transition.LOST)]
        assert table.entries["web-1"] == replace(before.entries["web-1"], status=Status.UNSEEN, since=3.0)

    def test_the_unseen_are_forgotten_when_they_are_not_served_any_more(self) -> None:
        """Until then, however long, each reply without them changes nothing."""
        table, _ = step(table_of(record("web-1")), 10.0)
        table, changes = step(table, 1_000_000.0)
        assert (statuses(table), changes) == ({"web-1": (Status.UNSEEN, 10.0)}, ())
        assert step(table, 1_000_001.0, served=()) == (EMPTY, ())

    @pytest.mark.parametrize("word", ["none", "", "unseen", "dead"])
    def test_a_word_that_says_nothing_is_as_good_as_absence(self, word: str) -> None:
        """No status of Serf's is made up for it."""
        assert step(EMPTY, 0.0, record("web-1", status=word)) == (EMPTY, ())
        table, _ = step(table_of(record("web-1")), 3.0, record("web-1", status=word))
        assert statuses(table) == {"web-1": (Status.UNSEEN, 3.0)}


class TestStories:
    """What clusters do in practice, and event streams get wrong."""

    def test_rejoin_with_another_role(self) -> None:
        """It left as a backend and returns as something else: the newest tags count."""
        table = table_of(record("web-1"))
        table, left = step(table, 1.0, record("web-1", status="left"))
        table, back = step(table, 2.0, record("web-1", role="cache"))
        assert told((*left, *back)) == [("web-1", Transition.LEFT), ("web-1", Transition.RETURNED)]
        subject = table.entries["web-1"].subject
        assert isinstance(subject, Member)
        assert subject.role == "cache"

    def test_join_leave_join(self) -> None:
        """Only the last word counts, and its time."""
        table = EMPTY
        for now, status in enumerate(["alive", "leaving", "left", "alive"]):
            table, _ = step(table, float(now), record("web-1", status=status))
        assert statuses(table) == {"web-1": (Status.ALIVE, 3.0)}

    def test_leave_and_join_between_two_replies(self) -> None:
        """Nobody saw it go: if nothing differs, nothing happened."""
        before = table_of(record("web-1"))
        assert step(before, 60.0, record("web-1")) == (before, ())

    def test_same_address_under_a_new_name(self) -> None:
        """A restarted container: the new name joins while the old one has failed. Both are in the table."""
        table, changes = step(
            table_of(record("web-1a", "10.0.0.1")),
            8.0,
            record("web-1a", "10.0.0.1", "failed"),
            record("web-1b", "10.0.0.1"),
        )
        assert told(changes) == [("web-1a", Transition.FAILED), ("web-1b", Transition.JOINED)]
        assert statuses(table) == {"web-1a": (Status.FAILED, 8.0), "web-1b": (Status.ALIVE, 8.0)}

    def test_the_agent_restarts(self) -> None:
        """It knows only itself at first: the others are unseen, and return one by one."""
        own, web = record("lb-1", "10.0.0.100", role="balancer"), [record(f"web-{n}", f"10.0.0.{n}") for n in (1, 2)]
        table, changes = step(table_of(own, *web), 10.0, own)
        assert told(changes) == [("web-1", Transition.LOST), ("web-2", Transition.LOST)]
        assert statuses(table)["lb-1"] == (Status.ALIVE, 0.0)
        table, changes = step(table, 12.0, own, web[0])
        assert told(changes) == [("web-1", Transition.RETURNED)]
        assert statuses(table)["web-1"] == (Status.ALIVE, 12.0)
        assert statuses(table)["web-2"] == (Status.UNSEEN, 10.0)

    @pytest.mark.parametrize("status", ["failed", "left", "leaving"])
    def test_an_unseen_member_that_comes_back_otherwise(self, status: str) -> None:
        """Others tell the restarted agent what became of it meanwhile. The clock of one that failed runs on."""
        table, _ = step(table_of(record("web-1")), 10.0)
        table, changes = step(table, 12.0, record("web-1", status=status))
        assert told(changes) == [("web-1", Transition(status))]
        assert statuses(table) == {"web-1": (Status(status), 10.0 if status == "failed" else 12.0)}

    def test_an_update_storm(self) -> None:
        """A hundred replies, each with another weight: a change each, and the last one stays."""
        table = table_of(record("web-1", weight="0"))
        for weight in range(1, 101):
            table, changes = step(table, float(weight), record("web-1", weight=str(weight)))
            assert [change.detail for change in changes] == [f"weight {weight - 1} to {weight}"]
        subject = table.entries["web-1"].subject
        assert isinstance(subject, Member)
        assert subject.weight == 100
        assert statuses(table) == {"web-1": (Status.ALIVE, 0.0)}

    def test_twenty_at_once(self) -> None:
        """The changes come in the order of the names, whatever the order of the reply."""
        records = [record(f"web-{number:02}", f"10.0.0.{number}") for number in range(1, 21)]
        _, changes = step(EMPTY, 0.0, *reversed(records))
        assert told(changes) == [(f"web-{number:02}", Transition.JOINED) for number in range(1, 21)]


class TestInherited:
    """Servers that HAProxy ran before the daemon started."""

    def test_they_are_unseen_names(self) -> None:
        """Nothing else is known of them."""
        assert inherit(["web-1"], 5.0).entries == {"web-1": Entry("web-1", Status.UNSEEN, 5.0, None, None)}

    def test_the_first_sight_of_an_inherited_server_is_no_news(self) -> None:
        """A restart of the daemon logs no joins."""
        table, changes = step(inherit(["web-1"], 0.0), 2.0, record("web-1"))
        assert changes == ()
        assert statuses(table) == {"web-1": (Status.ALIVE, 2.0)}

    @pytest.mark.parametrize("status", ["leaving", "left", "failed"])
    def test_what_became_of_it_meanwhile_is_news(self, status: str) -> None:
        """It may have gone while no daemon looked."""
        _, changes = step(inherit(["web-1"], 0.0), 2.0, record("web-1", status=status))
        assert told(changes) == [("web-1", Transition(status))]

    def test_one_that_nobody_lists_is_forgotten_in_the_end(self) -> None:
        """As anybody who is unseen: when it is not served any more."""
        assert step(inherit(["web-1"], 0.0), 9.0, served=()) == (EMPTY, ())

    def test_one_that_does_not_parse_is_told(self) -> None:
        """It is no news that it is there, but that it is quarantined."""
        _, changes = step(inherit(["web-1"], 0.0), 2.0, record("web-1", port="x"))
        assert told(changes) == [("web-1", Transition.QUARANTINED)]


class TestQuarantine:
    """Members that do not parse are in the table, under a name that can be shown."""

    def test_a_bad_member_joins_and_is_quarantined(self) -> None:
        """The change tells the field, and nothing that was not made printable."""
        table, changes = step(EMPTY, 0.0, record("a\nb"))
        assert told(changes) == [(r"a\u000ab", Transition.JOINED), (r"a\u000ab", Transition.QUARANTINED)]
        assert isinstance(table.entries[r"a\u000ab"].subject, Quarantined)
        assert all(text.isprintable() for change in changes for text in (change.name, change.node, change.detail))

    def test_it_is_told_once(self) -> None:
        """As long as the reason is the same."""
        before = table_of(record("web-1", port="x"))
        _, changes = step(before, 1.0, record("web-1", port="x", rack="7"))
        assert changes == ()
        _, changes = step(before, 1.0, record("web-1", port="y"))
        assert told(changes) == [("web-1", Transition.QUARANTINED)]

    def test_it_parses_again(self) -> None:
        """Which is an update."""
        table, changes = step(table_of(record("web-1", port="x")), 1.0, record("web-1", port="80"))
        assert changes == (Change(Transition.UPDATED, "web-1", "web-1", "parses again"),)
        assert isinstance(table.entries["web-1"].subject, Member)

    def test_one_bad_member_does_not_touch_the_others(self) -> None:
        """They are as they would be without it."""
        alone, _ = step(EMPTY, 0.0, record("web-2", "10.0.0.2"))
        beside, _ = step(EMPTY, 0.0, record("a b"), record("web-2", "10.0.0.2"))
        assert beside.entries["web-2"] == alone.entries["web-2"]

    def test_no_difference_is_told_of_what_does_not_parse(self) -> None:
        """The reason says it."""
        assert difference(None, Quarantined("a", "b")) == ""


class TestCount:
    """How many are how."""

    def test_each_status_by_itself(self) -> None:
        """The table counts its members."""
        table = table_of(record("a"), record("b"), record("c", status="failed"))
        assert [table.count(status) for status in Status] == [2, 0, 0, 1, 0]


@given(clusters, clusters, st.randoms(use_true_random=False))
def test_the_order_of_a_reply_does_not_matter(
    first: list[MemberRecord], second: list[MemberRecord], dice: Random
) -> None:
    """The agent lists its members in any order."""
    table = table_of(*first)
    expected = step(table, 1.0, *second)
    dice.shuffle(second)
    assert step(table, 1.0, *second) == expected


@given(st.lists(hostile_records, max_size=4, unique_by=lambda member: member.name))
def test_any_reply_makes_a_table(records: list[MemberRecord]) -> None:
    """Whatever the network sends: no exception, printable names, and the same reply again changes nothing."""
    table, changes = step(EMPTY, 0.0, *records)
    assert all(name.isprintable() and entry.name == name for name, entry in table.entries.items())
    assert all(change.detail.isprintable() for change in changes)
    assert step(table, 1.0, *records) == (table, ())


class TableMachine(RuleBasedStateMachine):
    """A cluster that does anything, its table, and a model that knows each name's status and since when."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.cluster: dict[str, MemberRecord] = {}
        self.table = EMPTY
        self.model: dict[str, tuple[Status, float]] = {}
        self.served: set[str] = set()

    @rule(number=st.integers(1, 5))
    def is_served_or_not(self, number: int) -> None:
        """Policy changes its mind about a name."""
        self.served ^= {f"web-{number}"}

    @rule(target=names, number=st.integers(1, 5), weight=st.integers(0, 2), status=st.sampled_from(STATUSES))
    def says(self, number: int, weight: int, status: str) -> str:
        """A member is, or becomes, anything."""
        name = f"web-{number}"
        self.cluster[name] = record(name, f"10.0.0.{number}", status, weight=str(weight))
        return name

    @rule(name=consumes(names))
    def vanishes(self, name: str) -> None:
        """The agent no longer lists it, for whatever reason."""
        self.cluster.pop(name, None)

    @precondition(lambda self: self.cluster)
    @rule()
    def agent_restarts(self) -> None:
        """Everybody vanishes at once."""
        self.cluster.clear()

    @rule(seconds=st.sampled_from([0.0, 1.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        """Nothing else happens."""
        self.now += seconds

    @rule()
    def looks(self) -> None:
        """The next reply."""
        before = self.table
        self.table, changes = step(before, self.now, *self.cluster.values(), served=self.served)
        self._advance_model()
        assert [change.name for change in changes] == sorted(change.name for change in changes)
        assert {change.name for change in changes} <= before.entries.keys() | self.table.entries.keys()
        if not changes:
            assert alive(self.table) == alive(before)

    def _advance_model(self) -> None:
        for name in self.model.keys() | self.cluster.keys():
            status, since = self.model.get(name, (None, self.now))
            if name in self.cluster:
                said = Status(self.cluster[name].status.decode())
                runs_on = said is status or (status, said) == (Status.UNSEEN, Status.FAILED)
                self.model[name] = (said, since if runs_on else self.now)
            elif name not in self.served:
                del self.model[name]
            elif status not in (Status.LEAVING, Status.LEFT, Status.UNSEEN):
                self.model[name] = (Status.UNSEEN, self.now if status is Status.ALIVE else since)

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Status and time of each member are as the model has them."""
        assert statuses(self.table) == self.model

    @invariant()
    def keeps_what_was_last_said(self) -> None:
        """Each member is what its newest record said, also while it is unseen."""
        for name, entry in self.table.entries.items():
            assert entry.name == name
            assert isinstance(entry.subject, Member)
            assert entry.record is not None
            assert entry.subject.weight == int(entry.record.tags[b"weight"])


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

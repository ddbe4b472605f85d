"""Who comes and goes over and over waits outside for a while."""

from __future__ import annotations

from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.damping import MOST_KEPT, Penalties, Penalty, note, points_of, waiting
from rosterd.model import MemberRecord
from rosterd.roster import EMPTY, Table, advance
from rosterd.settings import PolicySettings
from tests.unit.members import EVERYBODY, record

LIMITS = PolicySettings(flap_limit=3, flap_half_life_s=10.0)


class History:
    """A table and its penalties over time."""

    def __init__(self, limits: PolicySettings = LIMITS, served: Container[str] = EVERYBODY) -> None:
        self.limits = limits
        self.served = served
        self.table: Table = EMPTY
        self.penalties: Penalties = {}

    def hears(self, now: float, *records: MemberRecord) -> None:
        """Take a reply of the agent."""
        before = self.table
        self.table, _ = advance(before, records, now, served=EVERYBODY)
        self.penalties = note(self.penalties, before, self.table, self.served, self.limits, now)

    def flaps(self, times: int, *, begin: float = 0.0, period: float = 0.5, name: str = "web-1") -> float:
        """Have a member come and go so often; when it is back for the last time."""
        for number in range(times):
            self.hears(begin + number * period, record(name))
            self.hears(begin + (number + 0.5) * period, record(name, status="leaving"))
        end = begin + times * period
        self.hears(end, record(name))
        return end

    def waits(self, now: float, name: str = "web-1") -> float | None:
        """Until when a member waits, None when it does not."""
        return waiting(self.penalties, self.table, self.limits, now).get(name)


def test_a_few_departures_are_nothing() -> None:
    """Restarts, an update, a mistake: below the limit nobody waits."""
    history = History()
    assert history.waits(history.flaps(2)) is None


def test_who_reaches_the_limit_waits_until_half_of_it_is_left() -> None:
    """Four departures at once, limit three: a point and a half is left after 14.15 s of half-lives of 10."""
    history = History()
    until = history.waits(history.flaps(4, period=0.001))
    assert until == pytest.approx(14.15, abs=0.05)
    assert history.waits(14.0) == until
    assert history.waits(14.3) is None


def test_who_goes_on_waits_longer() -> None:
    """Each departure adds to the wait."""
    history = History()
    first = history.waits(history.flaps(4, period=0.001))
    again = history.waits(history.flaps(4, begin=1.0, period=0.001))
    assert first is not None
    assert again is not None
    assert again > first + 5.0


def test_departures_far_apart_do_not_add_up() -> None:
    """What has decayed does not count."""
    history = History()
    assert history.waits(history.flaps(20, period=60.0)) is None


def test_a_new_name_at_the_same_place_does_not_help() -> None:
    """Each incarnation of a node has a name of its own."""
    history = History()
    for number in range(4):
        name = f"web-{number}"
        history.hears(number * 0.01, record(name))
        history.hears(number * 0.01 + 0.005, record(name, status="failed"))
    history.hears(1.0, record("web-9"), record("other", "10.0.0.2"))
    assert history.waits(1.0, "web-9") is not None
    assert history.waits(1.0, "other") is None


def test_a_new_place_under_the_same_name_does_not_help() -> None:
    """A node that moves keeps its points."""
    history = History()
    for number in range(4):
        history.hears(number * 0.01, record("web-1", f"10.0.0.{number}"))
        history.hears(number * 0.01 + 0.005, record("web-1", f"10.0.0.{number}", "left"))
    history.hears(1.0, record("web-1", "10.0.0.99"))
    assert history.waits(1.0) is not None


def test_an_agent_that_forgets_everybody_is_nobodys_fault() -> None:
    """Members that vanish from the table without a word pay nothing."""
    history = History()
    for number in range(10):
        history.hears(float(number), record("web-1"))
        history.hears(number + 0.5)
    assert history.penalties == {}


def test_a_limit_of_nothing_is_never() -> None:
    """The setting turns it off, also for those who wait already."""
    history = History(PolicySettings(flap_limit=0))
    assert history.waits(history.flaps(50)) is None
    history = History()
    back = history.flaps(5, period=0.001)
    assert history.waits(back) is not None
    history.limits = PolicySettings(flap_limit=0)
    assert history.waits(back) is None


def test_who_never_served_there_costs_a_place_nothing() -> None:
    """Whoever reaches the gossip port may claim any place, and come and go there as often as it likes."""
    history = History(served={"web-5"})
    history.flaps(10, period=0.001, name="evil")
    history.hears(1.0, record("web-5"), record("evil"))
    assert history.waits(1.0, "web-5") is None
    assert history.waits(1.0, "evil") is not None


def test_a_name_that_looks_like_a_place_is_none() -> None:
    """Names that do not parse may have any text."""
    history = History()
    history.flaps(10, period=0.001, name="10.0.0.1 None")
    history.hears(1.0, record("web-5"))
    assert history.waits(1.0, "web-5") is None


def test_points_are_told_and_decay() -> None:
    """For the list of members: what is left of the departures."""
    history = History()
    back = history.flaps(2, period=0.001)
    entry = history.table.entries["web-1"]
    assert points_of(history.penalties, entry, 10.0, back) == pytest.approx(2.0, abs=0.01)
    assert points_of(history.penalties, entry, 10.0, back + 10.0) == pytest.approx(1.0, abs=0.01)


def test_memory_is_bounded() -> None:
    """Of very many places the heaviest are kept."""
    light: Penalties = {("name", str(number)): Penalty(0.5, 0.0) for number in range(2 * MOST_KEPT)}
    before, _ = advance(EMPTY, [record("web-1")], 0.0, served=EVERYBODY)
    after, _ = advance(before, [record("web-1", status="left")], 0.0, served=EVERYBODY)
    kept = note(light, before, after, EVERYBODY, LIMITS, 0.0)
    assert len(kept) == MOST_KEPT
    assert kept["name", "web-1"].points == 1.0


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=40))
def test_a_wait_always_ends(pauses: list[float]) -> None:
    """However often somebody flapped, it ends some half-lives after the last time."""
    history, now = History(), 0.0
    for pause in pauses:
        history.hears(now, record("web-1"))
        history.hears(now + pause / 2, record("web-1", status="left"))
        now += pause
    history.hears(now, record("web-1"))
    until = history.waits(now)
    assert until is None or now < until <= now + 10.0 * 6

"""When to act: the three clocks, one by one and together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.debounce import Debounce, Pace


def fires(pace: Pace, touches: Sequence[float]) -> list[float]:
    """Return when the action is taken by somebody who acts the moment it is due."""
    debounce = Debounce(pace)
    fired: list[float] = []

    def fire_before(end: float) -> None:
        while (due := debounce.due_at) is not None and due < end:
            debounce.fired(due)
            fired.append(due)

    for touch in touches:
        fire_before(touch)
        debounce.touch(touch)
    fire_before(float("inf"))
    return fired


@pytest.mark.parametrize(
    ("pace", "touches", "expected"),
    [
        pytest.param(Pace(200, 1000, 0), [0], [200], id="one change"),
        pytest.param(Pace(200, 1000, 0), [0, 150, 300], [500], id="each change moves the quiet time"),
        pytest.param(Pace(200, 250, 0), [0, 150, 300], [250, 500], id="the longest wait caps it"),
        pytest.param(Pace(200, 1000, 0), range(0, 3100, 100), [1000, 2100, 3200], id="a storm without end"),
        pytest.param(Pace(0, 0, 0), [0, 150, 300], [0, 150, 300], id="no patience at all"),
        pytest.param(Pace(0, 1000, 0), [0, 150, 300], [0, 150, 300], id="no quiet time"),
        pytest.param(Pace(500, 0, 0), [0, 150], [0, 150], id="no longest wait"),
        pytest.param(Pace(200, 1000, 2000), [0, 500, 1000], [200, 2200], id="a least interval, from the action on"),
        pytest.param(Pace(200, 1000, 2000), [0, 5000], [200, 5200], id="it is over in the end"),
        pytest.param(Pace(0, 0, 1000), [0, 100, 200, 3000], [0, 1000, 3000], id="it paces the impatient, too"),
    ],
)
def test_vectors(pace: Pace, touches: Sequence[float], expected: list[float]) -> None:
    """Milliseconds here, so that all sums are exact: the arithmetic knows no unit."""
    assert fires(pace, touches) == expected


PACE = Pace(quiet_s=0.2, longest_s=1.0, least_interval_s=2.0)


class TestDue:
    """Whether to act now."""

    def test_nothing_is_due_at_first(self) -> None:
        """Nothing waits."""
        debounce = Debounce(PACE)
        assert debounce.due_at is None
        assert not debounce.is_due(1e9)

    def test_due_from_the_moment_on(self) -> None:
        """Not before; from then on it stays due until somebody acts."""
        debounce = Debounce(PACE)
        debounce.touch(10.0)
        assert debounce.due_at == 10.2
        assert not debounce.is_due(10.19)
        assert debounce.is_due(10.2)
        assert debounce.is_due(99.0)

    def test_nothing_is_due_after_the_action(self) -> None:
        """Until something changes again."""
        debounce = Debounce(PACE)
        debounce.touch(0)
        debounce.fired(0.2)
        assert debounce.due_at is None

    def test_what_went_away_by_itself_is_not_due(self) -> None:
        """And costs no interval: nothing was done."""
        debounce = Debounce(PACE)
        debounce.touch(0)
        debounce.calm()
        assert debounce.due_at is None
        debounce.touch(0.1)
        assert debounce.due_at == pytest.approx(0.3)

    def test_calm_does_not_forget_the_last_action(self) -> None:
        """The least interval still counts."""
        debounce = Debounce(PACE)
        debounce.touch(0)
        debounce.fired(0.2)
        debounce.calm()
        debounce.touch(0.3)
        assert debounce.due_at == 2.2

    def test_a_new_pace_counts_for_what_waits_already(self) -> None:
        """Settings may be edited at any moment."""
        debounce = Debounce(PACE)
        debounce.touch(0)
        debounce.pace = Pace(0.5, 1.0, 0)
        assert debounce.due_at == 0.5


class TestPress:
    """The first complete state is never debounced."""

    def test_it_is_due_at_once(self) -> None:
        """Without quiet time."""
        debounce = Debounce(PACE)
        debounce.press(5.0)
        assert debounce.is_due(5.0)

    def test_what_waits_already_is_due_as_well(self) -> None:
        """A press ends the wait of an earlier touch, and later touches do not prolong it."""
        debounce = Debounce(PACE)
        debounce.touch(5.0)
        debounce.press(5.1)
        debounce.touch(5.15)
        assert debounce.is_due(5.15)

    def test_it_is_for_once(self) -> None:
        """After the action, changes are debounced."""
        debounce = Debounce(PACE)
        debounce.press(5.0)
        debounce.fired(5.0)
        debounce.touch(100.0)
        assert debounce.due_at == 100.2

    def test_it_is_gone_with_what_went_away(self) -> None:
        """As the touch is."""
        debounce = Debounce(PACE)
        debounce.press(5.0)
        debounce.calm()
        debounce.touch(6.0)
        assert debounce.due_at == 6.2

    def test_the_least_interval_does_not_count(self) -> None:
        """What is pressed is the way back from a reload that should not have been: it bears no delay."""
        debounce = Debounce(PACE)
        debounce.touch(0)
        debounce.fired(0.2)
        debounce.press(0.5)
        assert debounce.due_at == 0.5


milliseconds = st.integers(0, 5000)


@given(st.builds(Pace, milliseconds, milliseconds, milliseconds), st.lists(milliseconds, max_size=20).map(sorted))
def test_every_change_is_served_in_time(pace: Pace, touches: list[int]) -> None:
    """An action follows each change within the longest wait or the least interval; actions keep their distance."""
    fired = fires(pace, touches)
    assert len(fired) <= len(touches)
    assert all(later - earlier >= pace.least_interval_s for earlier, later in pairwise(fired))
    for touch in touches:
        served = min(when for when in fired if when >= touch)
        assert served <= touch + max(pace.longest_s, pace.least_interval_s)

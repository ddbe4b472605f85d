"""Which members served in a place before."""

from __future__ import annotations

import math
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from rosterd.model import AdminState, Server
from rosterd.policy import tenure
from rosterd.policy.tenure import MOST_NAMES, Lines, Tenure, Tenures, note

AT = IPv4Address("10.0.0.1")
PLACE = ("nodes", AT, 80)


def lines(name: str = "", weight: int = 100) -> Lines:
    """Return the lines of a service whose one place this server has; empty for none."""
    return {"nodes": {name: Server(name, 1, AT, 80, weight, AdminState.READY)} if name else {}}


def test_names_are_kept_in_the_order_in_which_they_served() -> None:
    """The one that has the place has no end, the others are remembered for a while."""
    tenures: Tenures = {}
    for now, name in enumerate(["a", "b", "a", "c"]):
        tenures = note(tenures, lines(name), 60, now)
    assert tenures[PLACE] == (Tenure("a", 63), Tenure("b", 62), Tenure("c", math.inf))


def test_server_without_traffic_earns_nothing() -> None:
    """It is remembered once it served, and stays so while it drains."""
    assert note({}, lines("a", weight=0), 60, 0) == {}
    served = note({}, lines("a"), 60, 0)
    assert note(served, lines("a", weight=0), 60, 1) == served


@given(st.lists(st.sampled_from(["", *map(str, range(20))]), max_size=60), st.integers(1, 30))
def test_tenures_are_bounded_and_end(holders: list[str], longest_hold_s: int) -> None:
    """At most so many names a place, each once, the holder among them or too late; after the time nothing is left."""
    tenures: Tenures = {}
    for now, name in enumerate(holders):
        tenures = note(tenures, lines(name), longest_hold_s, now)
        kept = [each.name for each in tenures.get(PLACE, ())]
        assert len(kept) == len(set(kept)) <= MOST_NAMES
        assert not name or name in kept or len(kept) == MOST_NAMES
    tenures = note(tenures, lines(), longest_hold_s, len(holders))
    assert note(tenures, lines(), longest_hold_s, len(holders) + longest_hold_s + 1) == {}


def test_places_are_bounded() -> None:
    """Members choose addresses freely: the places that were lost longest ago are forgotten first."""
    tenures: Tenures = {}
    count = tenure.MOST_PLACES
    first = {f"x{n}": Server(f"x{n}", 1, IPv4Address(n), 80, 100, AdminState.READY) for n in range(count)}
    tenures = note(tenures, {"nodes": first}, 60, 0)
    tenures = note(tenures, lines("a"), 60, 1)
    assert len(tenures) == count
    assert PLACE in tenures

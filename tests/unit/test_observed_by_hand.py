"""What somebody did by hand on HAProxy: how it is known, for how long, and what becomes of the server."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.model import AdminState, Backend, Desired, Running, RunningServer, Server
from rosterd.observed import Observed
from rosterd.plan import state_in_haproxy
from rosterd.policy import View, decide, inherited_lines
from rosterd.settings import PolicySettings, ServiceSettings
from tests.unit.members import record, table_of

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
WEB = ("nodes", "web-1")
NODES = ServiceSettings(name="nodes")

Shown: TypeAlias = Mapping[str, tuple[int, AdminState]]
"""Weight and state of each server, as HAProxy shows them."""


def worker(pid: int, shown: Shown) -> Running:
    """Return what a worker runs."""
    servers = {
        name: RunningServer(name, 1, IPv4Address("10.0.0.1"), 3000, weight, state, up=True, checked=True)
        for name, (weight, state) in shown.items()
    }
    return Running("2.6.12", pid, "digest", {"nodes": servers} if servers else {}, {})


def seen(*workers: Running) -> Observed:
    """Return what is known after these looks."""
    observed = Observed(0)
    for running in workers:
        observed.see(running)
    return observed


def decided(by_hand: Mapping[tuple[str, str], AdminState], **tags: str) -> Server:
    """Return the server line of a living member with these tags, of which this was done by hand."""
    view = View(served={}, answering={}, health_score=0, by_hand=by_hand)
    return decide(table_of(record("web-1", **tags)), [NODES], view, PolicySettings(), 0.0).lines["nodes"]["web-1"]


class TestWhatBecomesOfIt:
    """Policy, for a member that lives."""

    @pytest.mark.parametrize("state", [DRAIN, MAINT])
    def test_it_stays_out_with_its_weight(self, state: AdminState) -> None:
        """So that the weight is there when it is taken back, and tells the hand from the tag."""
        server = decided({WEB: state}, weight="7")
        assert (server.state, server.weight, server.is_by_hand) == (state, 7, True)
        assert state_in_haproxy(server) is state

    @pytest.mark.parametrize("by_hand", [{}, {WEB: DRAIN}, {WEB: MAINT}])
    @pytest.mark.parametrize("tag", ["drain", "maint"])
    def test_the_tag_goes_before_the_hand(self, tag: str, by_hand: Mapping[tuple[str, str], AdminState]) -> None:
        """What the tags take out is out already, and comes back with them."""
        server = decided(by_hand, state=tag)
        assert (server.state, server.weight, server.is_by_hand) == (AdminState(tag), 0, False)

    def test_others_are_not_touched(self) -> None:
        """A server of the same name in another service, another server in this one."""
        assert decided({("cache", "web-1"): MAINT, ("nodes", "web-2"): DRAIN}).state is READY

    def test_it_is_over_when_the_hand_takes_it_back(self) -> None:
        """The server serves as its tags say."""
        observed = seen(worker(1, {"web-1": (100, DRAIN)}))
        assert decided(observed.by_hand).state is DRAIN
        observed.see(worker(1, {"web-1": (100, READY)}))
        assert decided(observed.by_hand).state is READY

    @pytest.mark.parametrize("state", [DRAIN, MAINT])
    def test_it_outlives_the_daemon(self, state: AdminState) -> None:
        """One that has just started reads it from HAProxy, also of a server whose member is not heard of yet."""
        running = worker(1, {"web-1": (9, state)})
        observed = seen(running)
        served = inherited_lines(running, [NODES], {})
        observed.inherit(["web-1"], 0.0)
        view = View(served=served, answering={}, health_score=0, by_hand=observed.by_hand)
        server = decide(observed.table, [NODES], view, PolicySettings(), 1.0).lines["nodes"]["web-1"]
        assert (server.state, server.weight) == (state, 9)


def test_our_maintenance_at_the_end_is_not_theirs() -> None:
    """A leaving server goes through maintenance without weight: it is nobody's hand when its member returns then."""
    assert seen(worker(1, {"web-1": (0, MAINT)})).by_hand == {}


# --- laws -------------------------------------------------------------------------------------------------------

shown_servers = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.tuples(st.sampled_from([0, 1, 100]), st.sampled_from(AdminState)), max_size=3
)


@given(shown_servers, st.lists(shown_servers, min_size=1, max_size=5))
def test_on_one_worker_what_it_shows_is_all_there_is(first: Shown, later: list[Shown]) -> None:
    """However it came to that; a worker that is looked at again and again adds nothing."""
    observed = seen(worker(1, first), *(worker(1, shown) for shown in later))
    assert observed.by_hand == observed.seen_by_hand == seen(worker(1, later[-1])).by_hand


@given(shown_servers, st.lists(st.tuples(st.integers(2, 4), shown_servers), max_size=6))
def test_what_was_done_by_hand_is_lost_only_by_hand_or_with_the_server(
    first: Shown, looks: list[tuple[int, Shown]]
) -> None:
    """Over any number of new workers: until one has had it and shows it no more, or nobody wants the server."""
    observed = seen(worker(1, first))
    before, pid = observed.by_hand, 1
    for next_pid, shown in looks:
        had = observed.seen_by_hand if next_pid == pid else {}
        observed.see(worker(next_pid, shown))
        kept = {key for key in before if key not in had}
        assert kept <= observed.by_hand.keys()
        for key in kept - observed.seen_by_hand.keys():
            assert observed.by_hand[key] is before[key]
        assert observed.seen_by_hand.items() <= observed.by_hand.items()
        servers = tuple(Server(name, 1, IPv4Address("10.0.0.1"), 80, 1, READY) for name in sorted(shown)[:1])
        observed.note_passages(Desired("digest", (Backend("nodes", servers),), ""), 0.0)
        assert {name for _, name in observed.by_hand} <= shown.keys()
        before, pid = observed.by_hand, next_pid


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))), min_size=1, max_size=8))
def test_who_leaves_has_one_beginning(moments: list[tuple[set[str], set[str]]]) -> None:
    """The moment since when HAProxy has run it, without a break and without weight, while it was not desired."""
    observed = Observed(0)
    since: dict[tuple[str, str], float] = {}
    for now, (runs, wanted) in enumerate(moments):
        observed.see(worker(1, dict.fromkeys(runs, (0, READY))))
        servers = tuple(Server(name, 1, IPv4Address("10.0.0.1"), 80, 1, READY) for name in sorted(wanted))
        observed.note_passages(Desired("digest", (Backend("nodes", servers),), ""), float(now))
        since = {("nodes", name): since.get(("nodes", name), float(now)) for name in runs - wanted}
        assert observed.departed == since

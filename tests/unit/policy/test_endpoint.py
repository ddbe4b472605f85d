"""Two members, one address and port."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest

from rosterd.model import AdminState, MemberRecord, Server
from rosterd.policy import Displaced, View, decide
from rosterd.roster import advance, inherit
from rosterd.settings import ServiceSettings
from tests.unit.members import record
from tests.unit.policy.deciding import LIMITS, NODES, Balancer, names, web


class TestConflicts:
    """Two members, one address and port."""

    def test_who_has_it_keeps_it(self) -> None:
        """Also from somebody whose name comes first: an attacker or a typing error takes nothing over."""
        balancer = Balancer()
        balancer.hears(0, record("web-5", "10.0.0.1"))
        decision = balancer.hears(1, record("web-5", "10.0.0.1"), record("web-1", "10.0.0.1"))
        assert names(decision) == ["web-5"]
        assert decision.displaced == (Displaced("nodes", "web-1", "web-5"),)

    def test_also_from_somebody_who_has_another(self) -> None:
        """A server that moves to the port of a neighbour waits until that one is gone."""
        balancer = Balancer()
        balancer.hears(0, record("a", port="80"), record("b", port="81"))
        decision = balancer.hears(1, record("a", port="81"), record("b", port="81"))
        assert names(decision) == ["b"]
        assert decision.displaced == (Displaced("nodes", "a", "b"),)

    def test_at_the_same_moment_the_first_name_wins(self) -> None:
        """Every balancer of the cluster decides the same."""
        decision = Balancer().hears(0, record("web-5", "10.0.0.1"), record("web-1", "10.0.0.1"))
        assert names(decision) == ["web-1"]

    def test_the_next_one_takes_over(self) -> None:
        """As soon as the holder is gone."""
        balancer = Balancer()
        balancer.hears(0, record("web-1"), record("web-5"))
        decision = balancer.hears(1, record("web-1", status="left"), record("web-5"))
        assert names(decision) == ["web-5"]
        assert decision.displaced == ()

    def test_two_members_swap_their_ports(self) -> None:
        """No conflict: each endpoint is wanted once."""
        balancer = Balancer()
        balancer.hears(0, record("a", port="80"), record("b", port="81"))
        decision = balancer.hears(1, record("a", port="81"), record("b", port="80"))
        assert [(line.name, line.port) for line in decision.backends[0].servers] == [("a", 81), ("b", 80)]

    def test_who_takes_no_traffic_displaces_nobody_alive(self) -> None:
        """Not even at a cold start: a place that it does not have, and would not use."""
        lurker = record("aaa", "10.0.0.1", state="maint")
        decision = Balancer().hears(0, web(1), lurker)
        assert names(decision) == ["web-1"]
        assert decision.displaced == (Displaced("nodes", "aaa", "web-1"),)

    @pytest.mark.parametrize("heard", [(), (record("b", "10.0.0.1"),)])
    def test_of_two_that_haproxy_runs_the_one_with_traffic_keeps_it(self, heard: Sequence[MemberRecord]) -> None:
        """A daemon starts while `a` drains and `b` has its place already; whether the agent has told of them or not."""
        draining, serving = (
            Server(name, number, IPv4Address("10.0.0.1"), 3000, weight, AdminState.READY)
            for name, number, weight in (("a", 1, 0), ("b", 2, 100))
        )
        table, _ = advance(inherit(["a", "b"], 0.0), heard, 1.0, served=["a", "b"])
        view = View(served={"nodes": {"a": draining, "b": serving}}, answering={}, health_score=0)
        decision = decide(table, (NODES,), view, LIMITS, 1.0)
        assert decision.lines == {"nodes": {"b": serving}}

    @pytest.mark.parametrize("away", ["left", "failed"])
    @pytest.mark.parametrize("squatting", ["ready", "drain", "maint"])
    def test_member_that_is_back_gets_its_place_from_a_squatter(self, away: str, squatting: str) -> None:
        """A moment's absence is enough to lose a place to another claimant, and must not be for good."""
        squatter = record("aaa", "10.0.0.1")
        balancer = Balancer()
        balancer.hears(0, web(1))
        assert names(balancer.hears(1, web(1, away), squatter)) == ["aaa"]
        balancer.hears(2, web(1, away), record("aaa", "10.0.0.1", state=squatting))
        assert names(balancer.hears(3, web(1), record("aaa", "10.0.0.1", state=squatting))) == ["web-1"]
        assert names(balancer.hears(4, web(1), squatter)) == ["web-1"]

    @pytest.mark.parametrize("idle", [{"state": "drain"}, {"state": "maint"}, {"weight": "0"}])
    def test_idle_claimant_does_not_displace_a_held_server(self, idle: dict[str, str]) -> None:
        """A member that is lost for a moment may serve all the while."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        lurker = record("aaa", "10.0.0.1", **idle)
        assert names(balancer.hears(1, web(1, "failed"), lurker)) == ["web-1"]
        assert names(balancer.hears(2, web(1), lurker)) == ["web-1"]

    def test_idle_squatter_yields_to_a_new_incarnation_too(self) -> None:
        """A node that restarts has a new name; its place would serve nothing otherwise."""
        balancer = Balancer()
        balancer.hears(0, record("web-1-a", "10.0.0.1"))
        balancer.hears(1, record("squatter", "10.0.0.1"))
        balancer.hears(2, record("squatter", "10.0.0.1", state="drain"))
        decision = balancer.hears(3, record("squatter", "10.0.0.1", state="drain"), record("web-1-b", "10.0.0.1"))
        assert names(decision) == ["web-1-b"]

    def test_former_owner_that_comes_back_cannot_shut_its_successor_out(self) -> None:
        """It gets the place back while it takes traffic, and not to let it lie idle."""
        balancer = Balancer()
        balancer.hears(0, record("former", "10.0.0.1"))
        balancer.hears(1, web(1))
        assert names(balancer.hears(2, web(1), record("former", "10.0.0.1"))) == ["former"]
        assert names(balancer.hears(3, web(1), record("former", "10.0.0.1", state="drain"))) == ["web-1"]

    def test_drained_server_is_not_put_back_by_a_newcomer(self) -> None:
        """Another name for its address must not bring requests to a server that drains."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, state="drain"))
        assert names(balancer.hears(2, web(1, state="drain"), record("aaa", "10.0.0.1"))) == ["web-1"]

    def test_place_is_forgotten_after_the_longest_hold(self) -> None:
        """Addresses get reused: a member that returns much later is a newcomer there."""
        balancer = Balancer()
        balancer.hears(0, record("former", "10.0.0.1"))
        balancer.hears(1, web(1))
        balancer.decides(2)
        now = 3 + LIMITS.longest_hold_s
        assert names(balancer.hears(now, web(1), record("former", "10.0.0.1"))) == ["web-1"]

    def test_services_do_not_conflict(self) -> None:
        """One server may serve two services."""
        second = ServiceSettings(name="second", hosts=("second.example",))
        decision = Balancer(NODES, second).hears(0, web(1))
        assert (names(decision), names(decision, "second")) == (["web-1"], ["web-1"])

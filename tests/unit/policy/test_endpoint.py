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

    def test_services_do_not_conflict(self) -> None:
        """One server may serve two services."""
        second = ServiceSettings(name="second", hosts=("second.example",))
        decision = Balancer(NODES, second).hears(0, web(1))
        assert (names(decision), names(decision, "second")) == (["web-1"], ["web-1"])

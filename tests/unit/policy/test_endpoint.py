"""Two members, one address and port."""

from __future__ import annotations

from rosterd.policy import Displaced
from rosterd.settings import ServiceSettings
from tests.unit.members import record
from tests.unit.policy.deciding import NODES, Balancer, names, web


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

    def test_services_do_not_conflict(self) -> None:
        """One server may serve two services."""
        second = ServiceSettings(name="second", hosts=("second.example",))
        decision = Balancer(NODES, second).hears(0, web(1))
        assert (names(decision), names(decision, "second")) == (["web-1"], ["web-1"])

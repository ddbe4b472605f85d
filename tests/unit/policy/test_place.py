"""Where servers may be."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from rosterd.model import MemberRecord
from rosterd.policy import Barred, Decision, Own, View, decide
from rosterd.settings import PolicySettings
from tests.unit.members import record, table_of
from tests.unit.policy.deciding import LIMITS, NODES, Balancer, names, web

OWN = IPv4Address("10.0.0.9")


class TestPlace:
    """Where servers may be."""

    def decided(self, *records: MemberRecord, limits: PolicySettings = LIMITS) -> Decision:
        """Decide for a balancer at 10.0.0.9 that listens on 80."""
        return decide(
            table_of(*records),
            (NODES,),
            View(served={}, answering={}, health_score=0, own=Own(binds=frozenset({(OWN, 80)}))),
            limits,
            0,
        )

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
    def test_not_on_loopback(self, address: str) -> None:
        """Whoever reaches the gossip port would reach what listens for this machine alone."""
        decision = self.decided(record("evil", address), web(1))
        assert names(decision) == ["web-1"]
        assert [each.name for each in decision.barred] == ["evil"]

    def test_not_at_a_port_of_the_balancers_own(self) -> None:
        """HAProxy would send requests to itself for ever; another port of the same machine may have a web server."""
        decision = self.decided(record("loop", str(OWN), port="80"), record("beside", str(OWN), port="8080"))
        assert names(decision) == ["beside"]
        assert decision.barred == (Barred("nodes", "loop", "10.0.0.9 port 80 is the balancer's own"),)

    def test_only_in_the_networks_that_are_named(self) -> None:
        """Where there are any; loopback may be among them."""
        limits = PolicySettings.model_validate({"networks": ["10.0.0.0/30", "127.0.0.0/8", "fd00::/8"]})
        six, local, far = record("six", "fd00::1"), record("local", "127.0.0.1"), record("far", "10.0.0.4")
        decision = self.decided(web(1), six, local, far, limits=limits)
        assert names(decision) == ["local", "six", "web-1"]
        assert decision.barred == (Barred("nodes", "far", "address 10.0.0.4 is in none of policy.networks"),)

    def test_a_line_that_is_held_goes_too(self) -> None:
        """The operator's word counts for members that failed and for those that do not parse."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2), web(3))
        balancer.hears(1, web(1, "failed"), web(2, port="x"), web(3))
        assert names(balancer.decides(2)) == ["web-1", "web-2", "web-3"]
        balancer.limits = PolicySettings.model_validate({"networks": ["10.0.0.3/32"]})
        assert names(balancer.decides(3)) == ["web-3"]

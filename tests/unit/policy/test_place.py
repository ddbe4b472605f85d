"""Where servers may be."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from rosterd.model import MemberRecord
from rosterd.policy import Barred, Decision, Own, View, decide
from rosterd.settings import PolicySettings
from tests.unit.members import forms_of, record, table_of
from tests.unit.policy.deciding import LIMITS, NODES, Balancer, names, web

OWN = IPv4Address("10.0.0.9")
LOOPBACK = IPv4Address("127.0.0.1")


class TestPlace:
    """Where servers may be."""

    def decided(self, *records: MemberRecord, limits: PolicySettings = LIMITS) -> Decision:
        """Decide for a balancer at 10.0.0.9 that listens on 80."""
        own = Own(addresses=frozenset({OWN, LOOPBACK}), binds=frozenset({(OWN, 80)}))
        view = View(served={}, answering={}, health_score=0, own=own)
        return decide(table_of(*records), (NODES,), view, limits, 0)

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", *forms_of("127.0.0.1")])
    def test_not_on_loopback(self, address: str) -> None:
        """Whoever reaches the gossip port would reach what listens for this machine alone."""
        decision = self.decided(record("evil", address), web(1))
        assert names(decision) == ["web-1"]
        assert [each.name for each in decision.barred] == ["evil"]

    @pytest.mark.parametrize("address", [str(OWN), *forms_of(str(OWN))])
    def test_own_address_is_barred_at_every_port_that_is_not_named(self, address: str) -> None:
        """A member could otherwise have requests sent to a database or an agent beside the balancer."""
        db, site = record("db", address, port="5432"), record("site", address, port="8080")
        assert names(self.decided(db, site)) == []
        limits = PolicySettings.model_validate({"own_ports": [8080], "networks": ["10.0.0.0/8", "::/0"]})
        decision = self.decided(db, site, limits=limits)
        assert names(decision) == ["site"]
        (barred,) = decision.barred
        assert "this machine's own address: policy.own_ports does not name port 5432" in barred.reason

    def test_own_port_of_the_balancer_stays_barred_though_it_is_named(self) -> None:
        """HAProxy would send requests to itself for ever."""
        limits = PolicySettings.model_validate({"own_ports": [80]})
        decision = self.decided(record("loop", str(OWN), port="80"), limits=limits)
        assert decision.barred == (Barred("nodes", "loop", "10.0.0.9 port 80 is the balancer's own"),)

    def test_loopback_that_networks_name_is_no_own_address(self) -> None:
        """A cluster on one machine has its web servers there, at ports of their own choice."""
        limits = PolicySettings.model_validate({"networks": ["127.0.0.0/8"]})
        assert names(self.decided(record("local", "127.0.0.1", port="3001"), limits=limits)) == ["local"]

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

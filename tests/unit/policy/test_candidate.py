"""Who asks to serve, with which line: the table of the design, row by row."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from rosterd.model import AdminState, Server
from rosterd.settings import ServiceSettings
from tests.unit.members import record
from tests.unit.policy.deciding import LONGEST, NODES, Balancer, names, server, web


class TestAlive:
    """Serf says alive: present and ready, and HAProxy's checks decide."""

    def test_it_serves_as_the_service_says(self) -> None:
        """Without tags of its own: the service's port and weight."""
        service = ServiceSettings(name="nodes", port=8080, weight=50)
        line = server(Balancer(service).hears(0, web(1)))
        assert (line.address, line.port, line.weight) == (IPv4Address("10.0.0.1"), 8080, 50)
        assert line.state is AdminState.READY

    def test_it_serves_as_its_tags_say(self) -> None:
        """They go before the service's; a weight of 0 is a weight."""
        line = server(Balancer().hears(0, web(1, port="81", weight="0", state="maint")))
        assert (line.port, line.weight, line.state) == (81, 0, AdminState.MAINT)

    @pytest.mark.parametrize("state", AdminState)
    def test_an_operator_sets_the_state_by_tag(self, state: AdminState) -> None:
        """Drained or in maintenance it stays configured, so that it can come back without a new line."""
        assert server(Balancer().hears(0, web(1, state=state.value))).state is state

    def test_health_is_not_asked(self) -> None:
        """A server that fails its check stays: HAProxy itself keeps requests away from it."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.check_of("web-1", passes=False)
        assert names(balancer.decides(LONGEST * 10)) == ["web-1"]

    def test_who_has_another_role_does_not_serve(self) -> None:
        """The balancer itself is a member, too."""
        assert names(Balancer().hears(0, record("lb-1", role="balancer"))) == []

    def test_ipv6(self) -> None:
        """An address is an address."""
        assert server(Balancer().hears(0, record("web-1", "2001:db8::1"))).address == IPv6Address("2001:db8::1")


class TestLeaving:
    """Serf says leaving or left: the node itself said so."""

    @pytest.mark.parametrize("status", ["leaving", "left"])
    def test_it_goes_at_once(self, status: str) -> None:
        """Whatever its check says, and without any hold."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2))
        balancer.check_of("web-1", passes=True)
        decision = balancer.hears(1, web(1, status), web(2))
        assert names(decision) == ["web-2"]
        assert decision.held == ()

    def test_it_may_return(self) -> None:
        """Then it serves again, as anybody who joins."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, "left"))
        assert names(balancer.hears(2, web(1))) == ["web-1"]


class TestUpdated:
    """Tags decide again."""

    def test_the_line_follows_and_keeps_its_id(self) -> None:
        """Port, weight, state and address may all change; for HAProxy it is the same server, out without weight."""
        balancer = Balancer()
        before = server(balancer.hears(0, web(1)))
        after = server(balancer.hears(1, record("web-1", "10.0.0.9", port="81", weight="3", state="drain")))
        assert after == Server("web-1", before.id, IPv4Address("10.0.0.9"), 81, 0, AdminState.DRAIN)

    def test_a_member_that_changes_its_role_changes_the_service(self) -> None:
        """It leaves the one and enters the other in the same decision."""
        cache = ServiceSettings(name="cache", match={"role": "cache"}, hosts=("cache.example",))
        balancer = Balancer(NODES, cache)
        balancer.hears(0, web(1))
        decision = balancer.hears(1, web(1, role="cache"))
        assert (names(decision), names(decision, "cache")) == ([], ["web-1"])


class TestServices:
    """Which service a member serves."""

    def test_all_tags_of_the_match_must_agree(self) -> None:
        """As the settings list them."""
        service = ServiceSettings(name="nodes", match={"role": "backend", "tier": "gold"})
        decision = Balancer(service).hears(0, web(1), web(2, tier="gold"), web(3, tier="silver"))
        assert names(decision) == ["web-2"]

    def test_there_is_a_backend_for_each_service(self) -> None:
        """In their order, also without servers."""
        second = ServiceSettings(name="a-second", hosts=("second.example",))
        assert [backend.service for backend in Balancer(NODES, second).hears(0).backends] == ["nodes", "a-second"]

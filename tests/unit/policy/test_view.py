"""What a starting daemon takes over from HAProxy."""

from __future__ import annotations

from ipaddress import IPv4Address

from rosterd.model import AdminState, Running, RunningServer, Server
from rosterd.policy import inherited_lines
from tests.unit.policy.deciding import NODES


class TestInheritedLines:
    """What a starting daemon takes over from HAProxy."""

    def test_the_servers_of_known_services_that_have_an_address(self) -> None:
        """Others are none of ours, or cannot be written again."""
        ours = RunningServer("web-1", 5, IPv4Address("10.0.0.1"), 80, 7, AdminState.MAINT, up=False, checked=True)
        socket = RunningServer("socket", 6, None, 0, 1, AdminState.READY, up=True, checked=True)
        running = Running("2.6", 1, "", {"nodes": {"web-1": ours, "socket": socket}, "other": {"web-1": ours}}, {})
        assert inherited_lines(running, (NODES,), {}) == {
            "nodes": {"web-1": Server("web-1", 5, IPv4Address("10.0.0.1"), 80, 7, AdminState.MAINT)}
        }

    def test_a_service_without_servers_has_no_lines(self) -> None:
        """HAProxy leaves such a backend out of its answer."""
        assert inherited_lines(Running("2.6", 1, "", {}, {}), (NODES,), {}) == {"nodes": {}}

    def test_the_templates_own_servers_are_no_members(self) -> None:
        """They stand in the text whatever the members are."""
        ours = RunningServer("web-1", 5, IPv4Address("10.0.0.1"), 80, 7, AdminState.READY, up=True, checked=True)
        sorry = RunningServer("sorry", 1, IPv4Address("10.0.0.9"), 80, 1, AdminState.READY, up=True, checked=True)
        running = Running("2.6", 1, "", {"nodes": {"web-1": ours, "sorry": sorry}}, {})
        assert set(inherited_lines(running, (NODES,), {"nodes": {"sorry": None}})["nodes"]) == {"web-1"}

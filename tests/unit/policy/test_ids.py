"""The ids of servers."""

from __future__ import annotations

from ipaddress import IPv4Address

from rosterd.model import AdminState, Server
from rosterd.policy import LARGEST_ID, View, decide
from tests.unit.members import record, table_of
from tests.unit.policy.deciding import LIMITS, NODES, Balancer, server, web


class TestIds:
    """HAProxy knows a server by its id."""

    def test_they_depend_on_the_name_alone(self) -> None:
        """Not on who else is there, on the address, or on the order in which they came."""
        alone = server(Balancer().hears(0, web(7)), "web-7").id
        elsewhere = server(Balancer().hears(0, record("web-7", "10.9.9.9", port="81")), "web-7").id
        balancer = Balancer()
        balancer.hears(0, *(web(number) for number in range(1, 7)))
        crowded = server(balancer.hears(1, *(web(number) for number in range(1, 10))), "web-7").id
        assert alone == elsewhere == crowded

    def test_an_inherited_id_stays(self) -> None:
        """HAProxy ran the server under it before the daemon started."""
        lines = {"nodes": {"web-1": Server("web-1", 5, IPv4Address("10.0.0.1"), 3000, 100, AdminState.READY)}}
        decision = decide(table_of(web(1)), (NODES,), View(served=lines, answering={}, health_score=0), LIMITS, 0)
        assert server(decision).id == 5

    def test_a_taken_id_is_passed_over(self) -> None:
        """The newcomer takes the next one."""
        wanted = server(Balancer().hears(0, web(2)), "web-2").id
        lines = {"nodes": {"web-1": Server("web-1", wanted, IPv4Address("10.0.0.1"), 3000, 100, AdminState.READY)}}
        decision = decide(
            table_of(web(1), web(2)), (NODES,), View(served=lines, answering={}, health_score=0), LIMITS, 0
        )
        assert server(decision, "web-1").id == wanted
        assert server(decision, "web-2").id == wanted % LARGEST_ID + 1

    def test_two_newcomers_whose_names_give_one_id(self) -> None:
        """The first name has it, the other one the next; and each keeps its own when the other is gone."""
        one, other = record("web-58225", "10.0.0.1"), record("web-59763", "10.0.0.2")
        alone = [server(Balancer().hears(0, newcomer), newcomer.name.decode()).id for newcomer in (one, other)]
        assert alone[0] == alone[1], "these two were found by search: find another pair"
        balancer = Balancer()
        lines = balancer.hears(0, other, one).lines["nodes"]
        assert (lines["web-58225"].id, lines["web-59763"].id) == (alone[0], alone[0] + 1)
        assert server(balancer.hears(1, other), "web-59763").id == alone[0] + 1

    def test_thousands_are_unique(self) -> None:
        """Within HAProxy's range."""
        records = [record(f"web-{number}", f"10.1.{number >> 8}.{number & 255}") for number in range(3000)]
        ids = [line.id for line in Balancer().hears(0, *records).backends[0].servers]
        assert len(set(ids)) == 3000
        assert all(1 <= number <= LARGEST_ID for number in ids)

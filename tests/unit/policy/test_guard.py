"""When this balancer is probably cut off, and what that changes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from rosterd.model import AdminState, Server
from rosterd.policy import View, decide
from rosterd.roster import inherit
from rosterd.settings import PolicySettings, ServiceSettings
from tests.unit.members import record, table_of
from tests.unit.policy.deciding import HOLD, HOLDS_ALONE, LIMITS, LONGEST, NODES, Balancer, names, web


class TestGuard:
    """The likelier truth is that this balancer is cut off."""

    def test_a_sick_agent_removes_no_failed_server(self) -> None:
        """However long, and whatever the checks say; as soon as the agent is well, the holds count again."""
        balancer = Balancer()
        others = [web(number) for number in (2, 3, 4)]
        balancer.hears(0, web(1), *others)
        balancer.hears(1, web(1, "failed"), *others)
        balancer.check_of("web-1", passes=False)
        balancer.health_score = 3
        decision = balancer.decides(LONGEST * 10)
        assert "web-1" in names(decision)
        assert decision.guard == "the local agent's health score is 3"
        balancer.health_score = 2
        decision = balancer.decides(LONGEST * 10 + 1)
        assert names(decision) == ["web-2", "web-3", "web-4"]
        assert decision.guard == ""

    @pytest.mark.parametrize("status", ["leaving", "left"])
    def test_it_does_not_hold_who_says_goodbye(self, status: str) -> None:
        """That word was signed off by the node itself."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2))
        balancer.health_score = 7
        assert names(balancer.hears(1, web(1, status), web(2))) == ["web-2"]

    def test_a_claimed_address_goes_before_it(self) -> None:
        """An alive member was heard of: nobody else is at its address."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.health_score = 7
        assert names(balancer.hears(1, web(1, "failed"), record("web-9", "10.0.0.1"))) == ["web-9"]

    @pytest.mark.parametrize(
        ("servers", "failed", "guarded"),
        [
            (1, 1, False),
            (2, 1, False),
            (2, 2, True),
            (3, 1, False),
            (3, 2, True),
            (4, 2, False),
            (4, 3, True),
            (5, 2, False),
            (5, 3, True),
        ],
    )
    def test_more_than_half_of_a_service(self, servers: int, failed: int, guarded: bool) -> None:  # noqa: FBT001  a parameter of the test
        """And at least two: then none is removed, else all of them when their hold is over."""
        balancer = Balancer(HOLDS_ALONE)
        balancer.hears(0, *(web(number) for number in range(1, servers + 1)))
        balancer.hears(1, *(web(number, "failed" if number <= failed else "alive") for number in range(1, servers + 1)))
        for number in range(1, servers + 1):
            balancer.check_of(f"web-{number}", passes=False)
        decision = balancer.decides(1 + LONGEST)
        assert len(names(decision)) == (servers if guarded else servers - failed)
        assert bool(decision.guard) is guarded

    def test_the_share_is_a_setting(self) -> None:
        """1 needs more than all of them, which is never."""
        balancer = Balancer(limits=PolicySettings(guard_share=1))
        balancer.hears(0, web(1), web(2))
        assert balancer.hears(1, web(1, "failed"), web(2, "failed")).guard == ""

    def test_the_health_score_is_a_setting(self) -> None:
        """8 is above all that an agent reports."""
        balancer = Balancer(limits=PolicySettings(guard_health_score=8))
        balancer.health_score = 7
        assert balancer.hears(0, web(1)).guard == ""

    def test_it_lasts_until_enough_of_them_return(self) -> None:
        """Then the rest have their hold behind them already."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2), web(3))
        balancer.hears(1, web(1, "failed"), web(2, "failed"), web(3))
        for name in ("web-1", "web-2"):
            balancer.check_of(name, passes=False)
        assert names(balancer.decides(1 + LONGEST)) == ["web-1", "web-2", "web-3"]
        assert names(balancer.hears(2 + LONGEST, web(1, "failed"), web(2), web(3))) == ["web-2", "web-3"]

    def test_one_cut_off_service_guards_all(self) -> None:
        """It is the balancer that is suspected, not the service."""
        cache = ServiceSettings(name="cache", match={"role": "cache"}, hosts=("cache.example",))
        balancer = Balancer(NODES, cache)
        caches = [record(f"cache-{number}", f"10.0.1.{number}", role="cache") for number in range(5)]
        balancer.hears(0, web(1), web(2), *caches)
        fallen = record("cache-0", "10.0.1.0", "failed", role="cache")
        decision = balancer.hears(1, web(1, "failed"), web(2, "failed"), fallen, *caches[1:])
        assert decision.guard == "2 of 2 servers of nodes are failed or unseen"
        assert "cache-0" in names(balancer.decides(1 + LONGEST), "cache")


class TestOverride:
    """An operator knows better than the guard, this once."""

    def test_holds_end_by_their_own_rules(self) -> None:
        """Although most seem to have failed; why the guard would be engaged is still told."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2), web(3))
        fallen = (web(1, "failed"), web(2, "failed"), web(3))
        for name in ("web-1", "web-2"):
            balancer.check_of(name, passes=False)
        assert names(balancer.hears(1, *fallen)) == ["web-1", "web-2", "web-3"]
        engaged = balancer.decides(1 + HOLD)
        assert names(engaged) == ["web-1", "web-2", "web-3"]
        answering = {**balancer.answering, ("nodes", "web-3"): True}
        view = View(served=engaged.lines, answering=answering, health_score=0, guard_overridden=True)
        decision = decide(balancer.table, (NODES,), view, LIMITS, 1 + HOLD)
        assert names(decision) == ["web-3"]
        assert (decision.guard, decision.guard_overridden) == ("", engaged.guard)

    def test_nothing_to_override(self) -> None:
        """Then it says nothing, by which the daemon knows that it is over."""
        view = View(served={}, answering={}, health_score=0, guard_overridden=True)
        assert decide(table_of(web(1)), (NODES,), view, LIMITS, 0).guard_overridden == ""


def test_a_silent_agent_removes_nobody() -> None:
    """Who was failed or unseen when the agent went quiet stays, however long, also where one server is all there is."""
    table = inherit(["web-1"], 0.0)
    line = Server("web-1", 7, IPv4Address("10.0.0.1"), 80, 100, AdminState.READY)
    down = {("nodes", "web-1"): False}
    silent = View(served={"nodes": {"web-1": line}}, answering=down, health_score=0, agent_answers=False)
    decision = decide(table, [HOLDS_ALONE], silent, LIMITS, 10 * LONGEST)
    assert decision.guard == "the local agent does not answer"
    assert names(decision) == ["web-1"]
    heard = replace(silent, agent_answers=True)
    assert names(decide(table, [HOLDS_ALONE], heard, LIMITS, 10 * LONGEST)) == []

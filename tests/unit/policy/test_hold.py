"""Who keeps a line without being alive, and for how long."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from rosterd.model import AdminState, Server
from rosterd.policy import Displaced, Held, View, decide
from rosterd.roster import inherit
from tests.unit.members import record
from tests.unit.policy.deciding import HOLD, HOLDS_ALONE, LIMITS, LONGEST, NODES, Balancer, names, server, web


class TestFailed:
    """Serf says failed: a hint, and no reason to throw away a server that answers."""

    @pytest.fixture
    def balancer(self) -> Balancer:
        """A balancer of one server, which fails at second 100."""
        balancer = Balancer(HOLDS_ALONE)
        balancer.hears(0, web(1, weight="7"))
        balancer.hears(100, web(1, "failed", weight="7"))
        return balancer

    @pytest.mark.parametrize("passes", [True, False])
    def test_it_is_held_at_first(self, balancer: Balancer, passes: bool) -> None:  # noqa: FBT001  a parameter of the test
        """For the hold time its line stays as it is, whatever its check says."""
        balancer.check_of("web-1", passes=passes)
        decision = balancer.decides(100 + HOLD - 0.1)
        assert server(decision).weight == 7
        assert decision.held == (Held("nodes", "web-1", 100, "failed"),)

    def test_then_its_check_decides(self, balancer: Balancer) -> None:
        """Failed for Serf and for HAProxy: removed."""
        balancer.check_of("web-1", passes=False)
        decision = balancer.decides(100 + HOLD)
        assert names(decision) == []
        assert decision.held == ()

    def test_one_that_answers_stays_up_to_the_longest_hold(self, balancer: Balancer) -> None:
        """After that the address may have become another machine's."""
        balancer.check_of("web-1", passes=True)
        assert names(balancer.decides(100 + LONGEST - 0.1)) == ["web-1"]
        assert names(balancer.decides(100 + LONGEST)) == []

    def test_unknown_health_counts_as_answering(self, balancer: Balancer) -> None:
        """HAProxy being down proves nothing about its servers."""
        assert names(balancer.decides(100 + HOLD)) == ["web-1"]
        assert names(balancer.decides(100 + LONGEST)) == []

    def test_its_check_may_fail_later(self, balancer: Balancer) -> None:
        """From then on nothing speaks for it."""
        balancer.check_of("web-1", passes=True)
        balancer.decides(100 + HOLD)
        balancer.check_of("web-1", passes=False)
        assert names(balancer.decides(100 + HOLD + 1)) == []

    def test_once_removed_it_stays_out(self, balancer: Balancer) -> None:
        """Only Serf brings it back: a check that nobody makes cannot pass."""
        balancer.check_of("web-1", passes=False)
        balancer.decides(100 + HOLD)
        balancer.check_of("web-1", passes=True)
        assert names(balancer.decides(100 + HOLD + 1)) == []

    def test_one_that_never_served_is_not_held(self) -> None:
        """There is no line to keep."""
        assert names(Balancer().hears(0, web(1, "failed"))) == []

    def test_it_returns(self, balancer: Balancer) -> None:
        """The same line with the same id, and the next failure has a hold of its own."""
        before = server(balancer.decides(101))
        assert server(balancer.hears(150, web(1, weight="7"))) == before
        balancer.hears(300, web(1, "failed", weight="7"))
        balancer.check_of("web-1", passes=False)
        assert names(balancer.decides(300 + HOLD - 0.1)) == ["web-1"]

    def test_an_alive_member_claims_its_address_and_port(self, balancer: Balancer) -> None:
        """Then the failed one goes at once, within its hold: a restarted container under a new name."""
        decision = balancer.hears(101, web(1, "failed", weight="7"), record("web-9", "10.0.0.1"))
        assert names(decision) == ["web-9"]
        assert decision.displaced == (Displaced("nodes", "web-1", "web-9"),)
        assert decision.held == ()

    def test_another_port_of_its_address_is_no_claim(self, balancer: Balancer) -> None:
        """Two servers of one machine."""
        decision = balancer.hears(101, web(1, "failed", weight="7"), record("web-9", "10.0.0.1", port="81"))
        assert names(decision) == ["web-1", "web-9"]

    def test_it_keeps_its_line_whatever_its_tags_say_now(self) -> None:
        """What a failed member is said to be is old news; the line that works is not touched."""
        balancer = Balancer()
        before = server(balancer.hears(0, web(1)))
        assert server(balancer.hears(1, web(1, "failed", weight="1", role="other"))) == before

    def test_it_is_not_listed_any_more(self, balancer: Balancer) -> None:
        """Reaped, or the agent was restarted, nothing tells which: the hold goes on, on the clock of the failure."""
        assert names(balancer.hears(101)) == ["web-1"]
        failed_at = 100
        balancer.answering[("nodes", "web-1")] = False
        assert names(balancer.hears(failed_at + LIMITS.hold_s - 1)) == ["web-1"]
        decision = balancer.hears(failed_at + LIMITS.hold_s)
        assert names(decision) == []
        assert decision.held == ()


class TestUnseen:
    """Not listed, but not said to be gone: the agent or the daemon has just started."""

    def test_an_agent_that_knows_only_itself_empties_nothing(self) -> None:
        """All servers stay, held as failed ones are."""
        balancer = Balancer()
        own = record("lb-1", "10.0.0.100", role="balancer")
        before = balancer.hears(0, own, web(1), web(2), web(3)).lines
        decision = balancer.hears(10, own)
        assert decision.lines == before
        assert [held.why for held in decision.held] == ["unseen"] * 3
        assert decision.guard == "3 of 3 servers of nodes are failed or unseen"

    def test_servers_that_haproxy_runs_stay_until_something_is_known(self) -> None:
        """A daemon that starts beside a running HAProxy and an agent that knows nobody yet."""
        lines = {"nodes": {"web-1": Server("web-1", 5, IPv4Address("10.0.0.1"), 80, 1, AdminState.READY)}}
        decision = decide(inherit(["web-1"], 0), (NODES,), View(served=lines, answering={}, health_score=0), LIMITS, 1)
        assert decision.lines == lines

    def test_a_lone_one_goes_as_a_failed_one_does(self) -> None:
        """One of many that the agent forgot: held, then its check decides."""
        balancer = Balancer()
        others = [web(number) for number in (2, 3, 4)]
        balancer.hears(0, web(1), *others)
        balancer.hears(10, *others)
        balancer.check_of("web-1", passes=False)
        assert names(balancer.decides(10 + HOLD - 0.1)) == ["web-1", "web-2", "web-3", "web-4"]
        assert names(balancer.decides(10 + HOLD)) == ["web-2", "web-3", "web-4"]


class TestQuarantine:
    """Alive, but it does not parse."""

    def test_it_keeps_the_line_it_had(self) -> None:
        """One bad tag takes no server out."""
        balancer = Balancer()
        before = server(balancer.hears(0, web(1)))
        balancer.hears(1, web(1, port="99999"))
        decision = balancer.decides(LIMITS.quarantine_hold_s)
        assert server(decision) == before
        assert [(held.name, held.why) for held in decision.held] == [("web-1", "quarantined")]
        assert [(member.name, member.reason) for member in decision.quarantined] == [
            ("web-1", "tag port '99999' is not a number from 1 to 65535")
        ]

    def test_the_line_goes_when_its_time_is_over(self) -> None:
        """Counted from when it went bad, however long it was alive before."""
        balancer = Balancer(HOLDS_ALONE)
        balancer.hears(0, web(1))
        bad = balancer.hears(1_000, web(1, port="0"))
        assert names(bad) == ["web-1"]
        assert bad.held == (Held("nodes", "web-1", 1_000, "quarantined"),)
        assert bad.review_at == 1_000 + LIMITS.quarantine_hold_s
        balancer.hears(1_100, web(1, port="x"))  # another way of being bad is not another time
        assert names(balancer.decides(999 + LIMITS.quarantine_hold_s)) == ["web-1"]
        over = balancer.decides(1_000 + LIMITS.quarantine_hold_s)
        assert names(over) == []
        assert [each.name for each in over.quarantined] == ["web-1"]

    def test_one_that_was_good_in_between_has_all_the_time_again(self) -> None:
        """It parsed: what was before is forgotten."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, port="0"))
        balancer.hears(2, web(1))
        balancer.hears(500, web(1, port="0"))
        assert names(balancer.decides(499 + LIMITS.quarantine_hold_s)) == ["web-1"]

    def test_without_a_line_it_does_not_serve(self) -> None:
        """Nothing of it is used, and the others are as they would be without it."""
        decision = Balancer().hears(0, web(1, weight="heavy"), web(2))
        assert names(decision) == ["web-2"]
        assert [member.name for member in decision.quarantined] == ["web-1"]

    def test_one_that_fails_is_held_as_any_other(self) -> None:
        """Quarantine is no protection for ever."""
        balancer = Balancer(HOLDS_ALONE)
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, "failed", port="x"))
        balancer.check_of("web-1", passes=False)
        assert names(balancer.decides(1 + HOLD)) == []

    def test_an_alive_member_goes_before_it(self) -> None:
        """Its line is old; the address is claimed by somebody who can be understood."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        decision = balancer.hears(1, web(1, port="x"), record("web-9", "10.0.0.1"))
        assert names(decision) == ["web-9"]


class TestReview:
    """When time alone may change the decision."""

    def test_never_while_nobody_is_held(self) -> None:
        """Alive members serve for ever."""
        assert Balancer().hears(0, web(1)).review_at is None

    def test_at_the_next_end_of_a_hold(self) -> None:
        """First the hold time, then the longest hold, then never."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        assert balancer.hears(100, web(1, "failed")).review_at == 100 + HOLD
        assert balancer.decides(100 + HOLD).review_at == 100 + LONGEST
        assert balancer.decides(100 + LONGEST).review_at is None

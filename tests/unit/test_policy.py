"""What becomes of a member: the table of the design row by row, the guard, conflicts, ids, and laws for any cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.model import AdminState, Member, MemberRecord, Running, RunningServer, Server, Status
from rosterd.policy import LARGEST_ID, Barred, Damped, Decision, Displaced, Held, View, decide, inherited_lines
from rosterd.roster import EMPTY, Table, advance, inherit
from rosterd.settings import PolicySettings, ServiceSettings
from tests.unit.members import clusters, record, table_of

NODES = ServiceSettings(name="nodes")
LIMITS = PolicySettings()
VIEW = View({}, {}, 0)
OWN = IPv4Address("10.0.0.9")
HOLD, LONGEST = LIMITS.hold_s, LIMITS.longest_hold_s


class Balancer:
    """Policy over time: each decision is given the lines of the one before, as in the daemon."""

    def __init__(self, *services: ServiceSettings, limits: PolicySettings = LIMITS) -> None:
        self.services = services or (NODES,)
        self.limits = limits
        self.table = EMPTY
        self.decision: Decision | None = None
        self.answering: dict[tuple[str, str], bool] = {}
        self.health_score = 0

    def hears(self, now: float, *records: MemberRecord) -> Decision:
        """Take a reply of the agent, and decide."""
        self.table, _ = advance(self.table, records, now, served=served_by(self.decision))
        return self.decides(now)

    def decides(self, now: float) -> Decision:
        """Decide, although nothing was heard."""
        lines = self.decision.lines if self.decision else {}
        view = View(lines, self.answering, self.health_score)
        self.decision = decide(self.table, self.services, view, self.limits, now)
        return self.decision

    def check_of(self, name: str, *, passes: bool) -> None:
        """HAProxy's health check of a server passes or fails from now on."""
        self.answering["nodes", name] = passes


def served_by(decision: Decision | None) -> frozenset[str]:
    """Return who serves anywhere, as the daemon tells the table."""
    lines = decision.lines.values() if decision else ()
    return frozenset(name for servers in lines for name in servers)


def names(decision: Decision, service: str = "nodes") -> list[str]:
    """Return who serves."""
    return list(decision.lines[service])


def server(decision: Decision, name: str = "web-1", service: str = "nodes") -> Server:
    """Return one server line."""
    return decision.lines[service][name]


def web(number: int, status: str = "alive", **tags: str) -> MemberRecord:
    """Return the web node of this number, at an address of its own."""
    return record(f"web-{number}", f"10.0.0.{number}", status, **tags)


class TestFlapping:
    """Who comes and goes over and over waits outside, unless nobody else would serve."""

    def decided(self, *records: MemberRecord, served: Sequence[str] = (), down: Sequence[str] = ()) -> Decision:
        """Decide with web-1 to wait until second 50, and these served before."""
        table = table_of(*records)
        known = table_of(*(each for each in records if each.name.decode() in served))
        before = decide(known, (NODES,), VIEW, LIMITS, 0)
        answering = {("nodes", name): name not in down for name in ("web-2", "web-3")}
        view = View(before.lines, answering, 0, waiting={"web-1": 50.0})
        return decide(table, (NODES,), view, LIMITS, 1)

    def test_it_waits_and_that_is_told(self) -> None:
        """Until when is known, and the decision is reviewed then."""
        decision = self.decided(web(1), web(2), served=["web-2"])
        assert names(decision) == ["web-2"]
        assert decision.damped == (Damped("nodes", "web-1", 50.0),)
        assert decision.review_at == 50.0

    def test_who_serves_already_goes_on(self) -> None:
        """The wait is for those who come in."""
        decision = self.decided(web(1), web(2), served=["web-1", "web-2"])
        assert names(decision) == ["web-1", "web-2"]
        assert decision.damped == ()

    @pytest.mark.parametrize("others", [(), (web(2, weight="0"),), (web(2, state="drain"),), (web(2, "failed"),)])
    def test_better_than_nobody(self, others: Sequence[MemberRecord]) -> None:
        """Where no other takes traffic, it comes in at once."""
        assert "web-1" in names(self.decided(web(1), *others))

    def test_better_than_one_that_does_not_answer(self) -> None:
        """Alive, but its health check fails."""
        assert names(self.decided(web(1), web(2), served=["web-2"], down=["web-2"])) == ["web-1", "web-2"]

    def test_better_than_only_those_who_were_taken_out_by_hand(self) -> None:
        """An operator drained the others: they take no traffic either."""
        lines = decide(table_of(web(2)), (NODES,), VIEW, LIMITS, 0).lines
        view = View(lines, {}, 0, by_hand={("nodes", "web-2"): AdminState.DRAIN}, waiting={"web-1": 50.0})
        assert names(decide(table_of(web(1), web(2)), (NODES,), view, LIMITS, 1)) == ["web-1", "web-2"]


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
        view = View(engaged.lines, balancer.answering, 0, guard_overridden=True)
        decision = decide(balancer.table, (NODES,), view, LIMITS, 1 + HOLD)
        assert names(decision) == ["web-3"]
        assert (decision.guard, decision.guard_overridden) == ("", engaged.guard)

    def test_nothing_to_override(self) -> None:
        """Then it says nothing, by which the daemon knows that it is over."""
        view = View({}, {}, 0, guard_overridden=True)
        assert decide(table_of(web(1)), (NODES,), view, LIMITS, 0).guard_overridden == ""


class TestPlace:
    """Where servers may be."""

    def decided(self, *records: MemberRecord, limits: PolicySettings = LIMITS) -> Decision:
        """Decide for a balancer at 10.0.0.9 that listens on 80."""
        return decide(table_of(*records), (NODES,), View({}, {}, 0, own=frozenset({(OWN, 80)})), limits, 0)

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

    def test_who_takes_no_traffic_displaces_nobody_alive(self) -> None:
        """Not even at a cold start: a place that it does not have, and would not use."""
        lurker = record("aaa", "10.0.0.1", state="maint")
        decision = Balancer().hears(0, web(1), lurker)
        assert names(decision) == ["web-1"]
        assert decision.displaced == (Displaced("nodes", "aaa", "web-1"),)

    def test_a_line_that_is_held_goes_too(self) -> None:
        """The operator's word counts for members that failed and for those that do not parse."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2), web(3))
        balancer.hears(1, web(1, "failed"), web(2, port="x"), web(3))
        assert names(balancer.decides(2)) == ["web-1", "web-2", "web-3"]
        balancer.limits = PolicySettings.model_validate({"networks": ["10.0.0.3/32"]})
        assert names(balancer.decides(3)) == ["web-3"]


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


class TestFailed:
    """Serf says failed: a hint, and no reason to throw away a server that answers."""

    @pytest.fixture
    def balancer(self) -> Balancer:
        """A balancer of one server, which fails at second 100."""
        balancer = Balancer()
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
        decision = decide(inherit(["web-1"], 0), (NODES,), View(lines, {}, 0), LIMITS, 1)
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
        balancer = Balancer()
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
        balancer = Balancer()
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
        balancer = Balancer()
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
        decision = decide(table_of(web(1)), (NODES,), View(lines, {}, 0), LIMITS, 0)
        assert server(decision).id == 5

    def test_a_taken_id_is_passed_over(self) -> None:
        """The newcomer takes the next one."""
        wanted = server(Balancer().hears(0, web(2)), "web-2").id
        lines = {"nodes": {"web-1": Server("web-1", wanted, IPv4Address("10.0.0.1"), 3000, 100, AdminState.READY)}}
        decision = decide(table_of(web(1), web(2)), (NODES,), View(lines, {}, 0), LIMITS, 0)
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


class TestInheritedLines:
    """What a starting daemon takes over from HAProxy."""

    def test_the_servers_of_known_services_that_have_an_address(self) -> None:
        """Others are none of ours, or cannot be written again."""
        ours = RunningServer("web-1", 5, IPv4Address("10.0.0.1"), 80, 7, AdminState.MAINT, up=False, checked=True)
        socket = RunningServer("socket", 6, None, 0, 1, AdminState.READY, up=True, checked=True)
        running = Running("2.6", 1, "", {"nodes": {"web-1": ours, "socket": socket}, "other": {"web-1": ours}}, {})
        assert inherited_lines(running, (NODES,)) == {
            "nodes": {"web-1": Server("web-1", 5, IPv4Address("10.0.0.1"), 80, 7, AdminState.MAINT)}
        }

    def test_a_service_without_servers_has_no_lines(self) -> None:
        """HAProxy leaves such a backend out of its answer."""
        assert inherited_lines(Running("2.6", 1, "", {}, {}), (NODES,)) == {"nodes": {}}


# --- laws -------------------------------------------------------------------------------------------------------

OTHER = ServiceSettings(name="other", match={"role": "other"}, hosts=("other.example",), port=80)
SERVICES = (NODES, OTHER)
WORD = re.compile(r"\A[A-Za-z0-9._-]+\Z")

_LINES = tuple(product(["nodes", "other"], [f"web-{number}" for number in range(6)]))
health = st.dictionaries(st.sampled_from(_LINES), st.booleans(), max_size=6)
moments = st.tuples(clusters, health, st.integers(0, 4), st.sampled_from([1.0, HOLD, LONGEST]))
stories = st.lists(moments, min_size=1, max_size=4)
"""What a balancer hears, sees and how long until then; a few times in a row."""


Heard: TypeAlias = tuple[Sequence[MemberRecord], Mapping[tuple[str, str], bool], int, float]


class Moment:
    """The last decision of a story, with all that went into it."""

    def __init__(self, story: Sequence[Heard]) -> None:
        self.table: Table = EMPTY
        self.before: Mapping[str, Mapping[str, Server]] = {}
        now = 0.0
        decision: Decision | None = None
        for records, answering, score, wait in story:
            now += wait
            self.before = decision.lines if decision else {}
            self.now, self.records, self.answering, self.score = now, records, answering, score
            self.earlier = self.table
            self.served = served_by(decision)
            self.table, _ = advance(self.table, records, now, served=self.served)
            decision = self.decide_with(self.before, self.table)
        assert decision is not None
        self.decision = decision

    def decide_with(self, served: Mapping[str, Mapping[str, Server]], table: Table) -> Decision:
        """Decide at this moment, but with other lines or another table."""
        return decide(table, SERVICES, View(served, self.answering, self.score), LIMITS, self.now)


@given(stories.map(Moment))
def test_names_ids_and_endpoints_are_unique_in_a_backend(moment: Moment) -> None:
    """HAProxy would refuse the first two, and balance wrongly with the third."""
    for backend in moment.decision.backends:
        servers = backend.servers
        assert [line.name for line in servers] == sorted({line.name for line in servers})
        assert len({line.id for line in servers}) == len(servers)
        assert len({line.endpoint for line in servers}) == len(servers)
        for line in servers:
            assert 1 <= line.id <= LARGEST_ID
            assert 0 <= line.weight <= 256
            assert 1 <= line.port <= 65535
            assert WORD.match(line.name)


@given(stories.map(Moment))
def test_an_alive_member_whose_endpoint_nobody_else_claims_serves(moment: Moment) -> None:
    """As its tags say, whatever was before."""
    for service in SERVICES:
        wants = {
            entry.name: (entry.subject.address, entry.subject.port or service.port)
            for entry in moment.table.entries.values()
            if entry.status is Status.ALIVE
            and isinstance(entry.subject, Member)
            and service.matches(entry.subject.tags)
        }
        served = moment.decision.lines[service.name]
        for name, endpoint in wants.items():
            if list(wants.values()).count(endpoint) == 1:
                assert served[name].endpoint == endpoint
        # Of those who claim the same endpoint, one has it.
        assert set(wants.values()) <= {line.endpoint for line in served.values()}


@given(stories.map(Moment))
def test_only_alive_members_get_a_new_line(moment: Moment) -> None:
    """Who is failed, unseen or quarantined keeps the line it had, or none; who said goodbye has none."""
    for service, served in moment.decision.lines.items():
        for name, line in served.items():
            entry = moment.table.entries[name]
            assert entry.status not in (Status.LEAVING, Status.LEFT)
            if entry.status is not Status.ALIVE or not isinstance(entry.subject, Member):
                assert line == moment.before[service][name]


@given(stories.map(Moment))
def test_while_guarded_only_goodbyes_and_claims_remove(moment: Moment) -> None:
    """A server that is failed or unseen goes only to an alive one at its address."""
    if not moment.decision.guard:
        return
    displaced = {(lost.service, lost.name) for lost in moment.decision.displaced}
    for service, lines in moment.before.items():
        for name in lines:
            entry = moment.table.entries.get(name)
            if entry is not None and entry.status in (Status.FAILED, Status.UNSEEN):
                assert name in moment.decision.lines[service] or (service, name) in displaced


@given(stories.map(Moment))
def test_a_decision_confirms_itself(moment: Moment) -> None:
    """Its lines, fed back, give the same lines, unless they end the guard: the daemon comes to rest."""
    again = moment.decide_with(moment.decision.lines, moment.table)
    if not moment.decision.guard or again.guard:
        assert again.lines == moment.decision.lines
    else:
        assert moment.decide_with(again.lines, moment.table).lines == again.lines


@given(stories.map(Moment), st.randoms(use_true_random=False))
def test_the_order_of_the_members_does_not_matter(moment: Moment, dice: Random) -> None:
    """Every balancer that sees the same decides the same, also in what it reports."""
    shuffled = list(moment.records)
    dice.shuffle(shuffled)
    table, _ = advance(moment.earlier, shuffled, moment.now, served=moment.served)
    assert moment.decide_with(moment.before, table) == moment.decision


def test_a_silent_agent_removes_nobody() -> None:
    """Who was failed or unseen when the agent went quiet stays, however long, also where one server is all there is."""
    table = inherit(["web-1"], 0.0)
    line = Server("web-1", 7, IPv4Address("10.0.0.1"), 80, 100, AdminState.READY)
    down = {("nodes", "web-1"): False}
    silent = View({"nodes": {"web-1": line}}, down, 0, agent_answers=False)
    decision = decide(table, [ServiceSettings(name="nodes")], silent, LIMITS, 10 * LONGEST)
    assert decision.guard == "the local agent does not answer"
    assert names(decision) == ["web-1"]
    heard = replace(silent, agent_answers=True)
    assert names(decide(table, [ServiceSettings(name="nodes")], heard, LIMITS, 10 * LONGEST)) == []

"""Who stays although nothing else speaks for it, because too few others serve."""

from __future__ import annotations

import pytest

from rosterd.model import AdminState, MemberRecord
from rosterd.policy import View, decide
from rosterd.settings import ServiceSettings
from tests.unit.members import record, table_of
from tests.unit.policy.deciding import HOLD, HOLDS_ALONE, LIMITS, LONGEST, VIEW, Balancer, names, web


def held(balancer: Balancer) -> dict[str, str]:
    """Return who is held, and why."""
    return {hold.name: hold.why for hold in balancer.decision.held} if balancer.decision else {}


class TestOverdue:
    """Nobody is removed for time's sake while too few others answer."""

    @pytest.mark.parametrize("passes", [True, False])
    def test_the_only_one_stays(self, passes: bool) -> None:  # noqa: FBT001  a parameter of the test
        """Serf calls it failed for days; whether its check passes or not, there is nobody better."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, "failed"))
        balancer.check_of("web-1", passes=passes)
        decision = balancer.decides(LONGEST * 100)
        assert (names(decision), held(balancer), decision.review_at) == (["web-1"], {"web-1": "overdue"}, None)

    def test_until_another_answers(self) -> None:
        """That it is there is not enough: its check has to pass."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, "failed"))
        balancer.check_of("web-2", passes=False)
        assert names(balancer.hears(LONGEST * 2, web(1, "failed"), web(2))) == ["web-1", "web-2"]
        balancer.check_of("web-2", passes=True)
        assert names(balancer.decides(LONGEST * 2 + 1)) == ["web-2"]
        balancer.check_of("web-2", passes=False)
        assert names(balancer.decides(LONGEST * 2 + 2)) == ["web-2"]

    @pytest.mark.parametrize("others", [(web(2, weight="0"),), (web(2, state="drain"),), (web(2, role="other"),)])
    def test_who_takes_no_traffic_does_not_count(self, others: tuple[MemberRecord, ...]) -> None:
        """It would serve nobody."""
        balancer = Balancer()
        balancer.hears(0, web(1), *others)
        balancer.hears(1, web(1, "failed"), *others)
        balancer.check_of("web-1", passes=True)
        assert "web-1" in names(balancer.decides(1 + LONGEST))

    def test_who_was_taken_out_by_hand_does_not_count(self) -> None:
        """Neither among the others, nor among those who might stay."""
        served = decide(table_of(web(1), web(2)), (ServiceSettings(name="nodes"),), VIEW, LIMITS, 0).lines
        answering = {("nodes", "web-1"): True, ("nodes", "web-2"): True}
        table = table_of(web(1, "failed"), web(2))
        for out, serving in (("web-2", ["web-1", "web-2"]), ("web-1", ["web-2"])):
            view = View(served=served, answering=answering, health_score=0, by_hand={("nodes", out): AdminState.MAINT})
            assert names(decide(table, (ServiceSettings(name="nodes"),), view, LIMITS, LONGEST)) == serving

    def test_those_who_answer_stay_first_then_those_who_were_alive_last(self) -> None:
        """As many as are lacking, each time fewer as others answer."""
        limits = LIMITS.model_copy(update={"guard_share": 1.0})
        balancer = Balancer(ServiceSettings(name="nodes", least_servers=3), limits=limits)
        fallen: list[MemberRecord] = []
        everybody = [web(number) for number in range(1, 6)]
        balancer.hears(0, *everybody)
        for number in (1, 2, 3, 4):
            fallen.append(web(number, "failed"))
            balancer.hears(number, *fallen, *everybody[number:])
            balancer.check_of(f"web-{number}", passes=number == 1)
        late = LONGEST * 2
        assert names(balancer.decides(late)) == ["web-1", "web-4", "web-5"]
        assert held(balancer) == {"web-1": "overdue", "web-4": "overdue"}
        balancer.hears(late + 1, *fallen, web(5), web(6))
        assert names(balancer.decides(late + 2)) == ["web-1", "web-5", "web-6"]
        balancer.hears(late + 3, *fallen, web(5), web(6), web(7))
        assert names(balancer.decides(late + 4)) == ["web-5", "web-6", "web-7"]

    def test_also_one_that_does_not_parse(self) -> None:
        """Its line was good once, and nobody else answers."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, port="0"))
        assert names(balancer.decides(1 + LIMITS.quarantine_hold_s)) == ["web-1"]
        assert held(balancer) == {"web-1": "overdue"}
        assert names(balancer.hears(2 + LIMITS.quarantine_hold_s, web(1, port="0"), web(2))) == ["web-1", "web-2"]
        assert names(balancer.decides(3 + LIMITS.quarantine_hold_s)) == ["web-2"]

    def test_a_claim_to_its_address_goes_before_it(self) -> None:
        """Somebody alive is there now."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, "failed"))
        balancer.decides(LONGEST * 2)
        decision = balancer.hears(LONGEST * 2 + 1, web(1, "failed"), record("web-9", "10.0.0.1"))
        assert (names(decision), decision.displaced) == (["web-9"], ())

    def test_without_a_minimum_it_goes(self) -> None:
        """An operator wants nobody for longer than the holds say."""
        balancer = Balancer(HOLDS_ALONE)
        balancer.hears(0, web(1))
        balancer.hears(1, web(1, "failed"))
        assert names(balancer.decides(1 + LONGEST)) == []


class TestLeft:
    """Who has left keeps its traffic while nobody who is wanted answers."""

    @pytest.mark.parametrize("goodbye", [web(1, "leaving"), web(1, "left"), web(1, role="other")], ids=str)
    def test_the_last_one_that_answers_goes_on(self, goodbye: MemberRecord) -> None:
        """The next one is announced before it listens."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.check_of("web-1", passes=True)
        balancer.check_of("web-2", passes=False)
        decision = balancer.hears(1, goodbye, web(2))
        assert (names(decision), held(balancer), decision.review_at) == (["web-1", "web-2"], {"web-1": "left"}, None)
        assert names(balancer.decides(LONGEST * 10)) == ["web-1", "web-2"]
        balancer.check_of("web-2", passes=True)
        assert names(balancer.decides(LONGEST * 10 + 1)) == ["web-2"]
        balancer.check_of("web-2", passes=False)
        assert names(balancer.decides(LONGEST * 10 + 2)) == ["web-2"]

    def test_it_goes_when_it_does_not_answer_any_more(self) -> None:
        """It was stopped, as it had said."""
        balancer = Balancer()
        balancer.hears(0, web(1))
        balancer.check_of("web-2", passes=False)
        assert names(balancer.hears(1, web(1, "left"), web(2))) == ["web-1", "web-2"]
        balancer.check_of("web-1", passes=False)
        assert names(balancer.decides(2)) == ["web-2"]

    @pytest.mark.parametrize("others", [(), (web(2, "left"),), (web(2, state="maint"),), (web(2, role="other"),)])
    def test_it_goes_when_nobody_else_is_wanted(self, others: tuple[MemberRecord, ...]) -> None:
        """A service may be ended, or taken out."""
        balancer = Balancer()
        balancer.hears(0, web(1), *others)
        balancer.check_of("web-1", passes=True)
        assert "web-1" not in names(balancer.hears(1, web(1, "left"), *others))

    def test_all_of_them_while_they_answer(self) -> None:
        """One alone could not carry the traffic of three."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2), web(3))
        balancer.check_of("web-3", passes=False)
        balancer.check_of("web-4", passes=False)
        decision = balancer.hears(1, web(1, "left"), web(2, "left"), web(3, "left"), web(4))
        assert names(decision) == ["web-1", "web-2", "web-4"]

    def test_a_failed_one_is_wanted_and_counts_when_it_answers(self) -> None:
        """Serf calls it failed; HAProxy knows better."""
        balancer = Balancer()
        balancer.hears(0, web(1), web(2))
        balancer.check_of("web-2", passes=True)
        assert names(balancer.hears(1, web(1, "left"), web(2, "failed"))) == ["web-2"]
        balancer = Balancer()
        balancer.hears(0, web(1), web(2))
        balancer.check_of("web-2", passes=False)
        assert names(balancer.hears(1, web(1, "left"), web(2, "failed"))) == ["web-1", "web-2"]
        balancer.decides(LONGEST * 10)
        assert held(balancer) == {"web-1": "left", "web-2": "overdue"}

    def test_nobody_waits_outside_for_its_sake(self) -> None:
        """One that flaps is better than one that has left."""
        served = decide(table_of(web(2)), (ServiceSettings(name="nodes"),), VIEW, LIMITS, 0).lines
        view = View(served=served, answering={("nodes", "web-2"): True}, health_score=0, waiting={"web-1": 50.0})
        decision = decide(table_of(web(1), web(2, "left")), (ServiceSettings(name="nodes"),), view, LIMITS, 1)
        assert names(decision) == ["web-1", "web-2"]
        assert decision.damped == ()

    def test_one_that_drains_already_is_not_called_back(self) -> None:
        """A daemon that has just started finds it without weight: it has no traffic to keep."""
        line = decide(table_of(web(1, state="drain")), (ServiceSettings(name="nodes"),), VIEW, LIMITS, 0).lines
        view = View(served=line, answering={("nodes", "web-1"): True, ("nodes", "web-2"): False}, health_score=0)
        assert names(decide(table_of(web(1, "left"), web(2)), (ServiceSettings(name="nodes"),), view, LIMITS, 1)) == [
            "web-2"
        ]

    def test_without_a_minimum_it_goes(self) -> None:
        """What a member says of itself is done, whatever it costs."""
        balancer = Balancer(HOLDS_ALONE)
        balancer.hears(0, web(1))
        balancer.check_of("web-2", passes=False)
        assert names(balancer.hears(1, web(1, "left"), web(2))) == ["web-2"]


def test_holds_that_last_are_not_touched() -> None:
    """The minimum adds to them, and takes nothing away."""
    balancer = Balancer()
    balancer.hears(0, web(1), web(2))
    balancer.hears(1, web(1, "failed"), web(2))
    balancer.check_of("web-1", passes=False)
    assert held(balancer) == {"web-1": "failed"}
    assert names(balancer.decides(HOLD)) == ["web-1", "web-2"]
    assert names(balancer.decides(1 + HOLD)) == ["web-2"]

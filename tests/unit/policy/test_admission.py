"""Who comes and goes over and over."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rosterd.model import AdminState, MemberRecord
from rosterd.policy import Damped, Decision, View, decide
from tests.unit.members import table_of
from tests.unit.policy.deciding import LIMITS, NODES, VIEW, names, web


class TestFlapping:
    """Who comes and goes over and over waits outside, unless nobody else would serve."""

    def decided(self, *records: MemberRecord, served: Sequence[str] = (), down: Sequence[str] = ()) -> Decision:
        """Decide with web-1 to wait until second 50, and these served before."""
        table = table_of(*records)
        known = table_of(*(each for each in records if each.name.decode() in served))
        before = decide(known, (NODES,), VIEW, LIMITS, 0)
        answering = {("nodes", name): name not in down for name in ("web-2", "web-3")}
        view = View(served=before.lines, answering=answering, health_score=0, waiting={"web-1": 50.0})
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
        view = View(
            served=lines,
            answering={},
            health_score=0,
            by_hand={("nodes", "web-2"): AdminState.DRAIN},
            waiting={"web-1": 50.0},
        )
        assert names(decide(table_of(web(1), web(2)), (NODES,), view, LIMITS, 1)) == ["web-1", "web-2"]

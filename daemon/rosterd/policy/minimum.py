"""The minimum of servers: who stays although nothing else speaks for it, because too few others would serve.

Nobody is removed for time's sake while fewer than `least_servers` others answer: those stay who answer, then those who
were alive last. And who has left keeps its traffic while it answers, and nobody does who is wanted. Where nobody else
is wanted it goes: a service may be ended.

What is not known speaks for staying: it counts as no answer of another, and as an answer of a spare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rosterd.policy.candidate import Candidate
from rosterd.policy.hold import LEFT, OVERDUE
from rosterd.policy.view import View


@dataclass(frozen=True, slots=True)
class Minimum:
    """How many servers a service should have at least."""

    service: str
    least: int
    view: View

    def kept_by(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates without those spares that the service can do without."""
        needed = self._needed([each for each in candidates if each.is_spare], candidates)
        return [each for each in candidates if not each.is_spare or each.server.name in needed]

    def _needed(self, spares: Sequence[Candidate], candidates: Sequence[Candidate]) -> set[str]:
        spares = [each for each in spares if self._takes_traffic(each)]
        wanted = [each for each in candidates if not each.is_spare and self._takes_traffic(each)]
        lacking = max(0, self.least - sum(1 for each in wanted if self._answers(each)))
        overdue = sorted((each for each in spares if each.why == OVERDUE), key=self._rank)[:lacking]
        wanted += overdue
        needed = list(overdue)
        if self.least > 0 and wanted and not any(self._answers(each) for each in wanted):
            needed += [each for each in spares if each.why == LEFT and not self._is_down(each)]
        return {each.server.name for each in needed}

    def _rank(self, spare: Candidate) -> tuple[bool, float, str]:
        return self._is_down(spare), -(spare.hold.since if spare.hold else 0.0), spare.server.name

    def _takes_traffic(self, candidate: Candidate) -> bool:
        return candidate.server.weight > 0 and (self.service, candidate.server.name) not in self.view.by_hand

    def _answers(self, candidate: Candidate) -> bool:
        return self.view.answering.get((self.service, candidate.server.name)) is True

    def _is_down(self, candidate: Candidate) -> bool:
        return self.view.answering.get((self.service, candidate.server.name)) is False

"""Laws that hold for any cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from random import Random
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from rosterd.model import Member, MemberRecord, Server, Status
from rosterd.policy import LARGEST_ID, Decision, View, decide
from rosterd.roster import EMPTY, Table, advance
from rosterd.settings import ServiceSettings
from tests.unit.members import clusters
from tests.unit.policy.deciding import HOLD, LIMITS, LONGEST, NODES, served_by

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

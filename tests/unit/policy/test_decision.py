"""Laws that hold for any cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from random import Random
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from rosterd.model import Member, MemberRecord, Server, Status
from rosterd.policy import LARGEST_ID, Decision, View, decide
from rosterd.roster import EMPTY, Table, advance
from rosterd.settings import ServiceSettings
from tests.unit.members import STATUSES, clusters
from tests.unit.policy.deciding import HOLD, LIMITS, LONGEST, NODES, served_by, web

OTHER = ServiceSettings(name="other", match={"role": "other"}, hosts=("other.example",), port=80)
SERVICES = (NODES, OTHER)
WORD = re.compile(r"\A[A-Za-z0-9._-]+\Z")

_LINES = tuple(product(["nodes", "other"], [f"web-{number}" for number in range(6)]))
health = st.dictionaries(st.sampled_from(_LINES), st.booleans(), max_size=6)
moments = st.tuples(clusters, health, st.integers(0, 4), st.sampled_from([1.0, HOLD, LONGEST]))
stories = st.lists(moments, min_size=1, max_size=4)
"""What a balancer hears, sees and how long until then; a few times in a row."""

_SMALL = tuple(f"web-{number}" for number in (1, 2, 3))
small_clusters = st.tuples(*(st.sampled_from(["alive", *STATUSES, "gone"]) for _ in _SMALL)).map(
    lambda statuses: [
        web(number, status) for number, status in zip((1, 2, 3), statuses, strict=True) if status != "gone"
    ]
)
small_health = st.fixed_dictionaries({}, optional={("nodes", name): st.booleans() for name in _SMALL})
small_moments = st.tuples(small_clusters, small_health, st.just(0), st.sampled_from([1.0, HOLD, LONGEST]))
small_stories = st.lists(small_moments, min_size=2, max_size=4)
"""The same of three web nodes that have nothing but a status: often just one of them answers, and is about to go."""


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
        return decide(
            table, SERVICES, View(served=served, answering=self.answering, health_score=self.score), LIMITS, self.now
        )


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
    """Who is failed, unseen or quarantined keeps the line it had, or none; and so does who said goodbye."""
    for service, served in moment.decision.lines.items():
        for name, line in served.items():
            entry = moment.table.entries[name]
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


@given(st.one_of(stories, small_stories).map(Moment))
def test_who_said_goodbye_serves_only_for_want_of_others(moment: Moment) -> None:
    """Somebody else is wanted, and does not answer."""
    for hold in moment.decision.held:
        if hold.why != "left":
            continue
        served = moment.decision.lines[hold.service]
        left = {each.name for each in moment.decision.held if each.why == "left" and each.service == hold.service}
        wanted = [name for name, line in served.items() if name not in left and line.weight > 0]
        assert wanted
        assert not [name for name in wanted if moment.answering.get((hold.service, name))]


@settings(max_examples=500)
@given(small_stories.map(Moment))
def test_a_service_that_answers_does_not_fall_silent(moment: Moment) -> None:
    """Whoever goes, somebody who answers stays; unless all say goodbye, or somebody else has its place."""
    for service, served in moment.decision.lines.items():
        taken = {line.endpoint for line in served.values()}
        lost = {
            moment.table.entries[name].status
            for name, line in moment.before.get(service, {}).items()
            if name not in served and line.endpoint not in taken and moment.answering.get((service, name))
        }
        wanted = [name for name, line in served.items() if line.weight > 0]
        if [name for name in wanted if moment.answering.get((service, name))]:
            continue
        assert lost <= (frozenset() if wanted else {Status.LEAVING, Status.LEFT})


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

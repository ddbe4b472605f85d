"""What should be at one moment, and when it need not be worked out again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rosterd.blueprint import Blueprint
from rosterd.outcome import Outcome
from rosterd.policy import View
from rosterd.render import compile_template
from rosterd.settings import Settings
from tests.unit.members import record, table_of

TEMPLATE = """\
global
description rosterd:{{ structure }}
{% for service in services %}backend {{ service.name }}
{% for server in service.servers %}server {{ server.name }} {{ server.address }}:{{ server.port }}
{% endfor %}{% endfor %}
"""
VIEW = View(served={}, answering={}, health_score=0)
BLUEPRINT = Blueprint.of(Settings(), compile_template(TEMPLATE, "t.j2"))


def servers_of(text: str) -> list[str]:
    """Return the server lines of a text."""
    return [line for line in text.splitlines() if line.startswith("server ")]


def test_it_holds_together() -> None:
    """Decision, desired state and text speak of the same servers."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert [server.name for server in outcome.decision.backends[0].servers] == ["web-1"]
    assert outcome.desired.backends == outcome.decision.backends
    assert outcome.desired.structure.startswith(f"{BLUEPRINT.structure}-")
    assert f"description rosterd:{outcome.desired.structure}" in outcome.text.splitlines()
    assert servers_of(outcome.text) == ["server web-1 10.0.0.1:3000"]


def test_the_same_again_need_not_be_decided_again() -> None:
    """Equal values are enough; they need not be the same objects."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert outcome.is_still_right(
        table_of(record("web-1")), replace(BLUEPRINT), View(served={}, answering={}, health_score=0), 1_000_000
    )


@pytest.mark.parametrize(
    "view", [View(served={}, answering={}, health_score=3), View(served={"nodes": {}}, answering={}, health_score=0)]
)
def test_another_view_is_another_decision(view: View) -> None:
    """The agent's health, and what was served."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert not outcome.is_still_right(outcome.table, BLUEPRINT, view, 0)


def test_the_health_of_most_is_no_other_decision() -> None:
    """HAProxy itself keeps requests from servers that are ill."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert outcome.is_still_right(
        outcome.table, BLUEPRINT, View(served={}, answering={("nodes", "web-1"): False}, health_score=0), 0
    )


@pytest.mark.parametrize(
    ("status", "matters"), [("alive", []), ("failed", ["web-1"]), ("left", ["web-1", "web-2"])], ids=str
)
def test_whose_health_decides(status: str, matters: list[str]) -> None:
    """That of who is held; that of everybody, while somebody stays for want of others who answer."""
    everybody = (record("web-1"), record("web-2", "10.0.0.2"))
    served = Outcome.of(table_of(*everybody), BLUEPRINT, VIEW, 0).decision.lines
    table = table_of(record("web-1", status=status), everybody[1])
    outcome = Outcome.of(table, BLUEPRINT, View(served=served, answering={}, health_score=0), 0)
    assert [hold.name for hold in outcome.decision.held] == (["web-1"] if matters else [])
    now = {name: View(served=served, answering={("nodes", name): True}, health_score=0) for name in ("web-1", "web-2")}
    assert [name for name, view in now.items() if not outcome.is_still_right(table, BLUEPRINT, view, 0)] == matters


def test_everybodys_health_decides_while_somebody_waits() -> None:
    """It waits for as long as others answer."""
    view = View(served={}, answering={("nodes", "web-1"): True}, health_score=0, waiting={"web-2": 50.0})
    outcome = Outcome.of(table_of(record("web-1"), record("web-2", "10.0.0.2")), BLUEPRINT, view, 0)
    assert not outcome.is_still_right(outcome.table, BLUEPRINT, replace(view, answering={}), 0)


def test_that_it_is_served_now_is_no_other_decision() -> None:
    """What was decided is what the next decision starts from, and comes to the same."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert outcome.is_still_right(
        outcome.table, BLUEPRINT, View(served=outcome.decision.lines, answering={}, health_score=0), 0
    )


def test_that_it_is_served_now_may_be_one_while_somebody_is_held() -> None:
    """The share of those who are away may be another one."""
    everybody = (record("web-1"), record("web-2", "10.0.0.2"), record("web-3", "10.0.0.3"))
    served = Outcome.of(table_of(*everybody), BLUEPRINT, VIEW, 0).decision.lines
    table = table_of(record("web-1", status="failed"), record("web-2", "10.0.0.2", status="left"), everybody[2])
    answering = {("nodes", "web-3"): True}
    outcome = Outcome.of(table, BLUEPRINT, View(served=served, answering=answering, health_score=0), 0)
    assert [held.name for held in outcome.decision.held] == ["web-1"]
    assert not outcome.is_still_right(
        table, BLUEPRINT, View(served=outcome.decision.lines, answering=answering, health_score=0), 0
    )


def test_the_text_is_made_anew_only_where_it_differs() -> None:
    """Another health of the agent changes no server; another member does."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert (
        Outcome.of(outcome.table, BLUEPRINT, View(served={}, answering={}, health_score=3), 1, outcome).text
        is outcome.text
    )
    other = Outcome.of(table_of(record("web-2")), BLUEPRINT, VIEW, 1, outcome)
    assert servers_of(other.text) == ["server web-2 10.0.0.1:3000"]


def test_other_members_are_another_decision() -> None:
    """Whatever differs of them."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert not outcome.is_still_right(table_of(record("web-1", weight="1")), BLUEPRINT, VIEW, 0)


def test_time_alone_makes_another_decision() -> None:
    """When a hold may end, and not before."""
    served = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0).decision.lines
    view = View(served=served, answering={}, health_score=0)
    outcome = Outcome.of(table_of(record("web-1", status="failed")), BLUEPRINT, view, 0)
    review_at = outcome.decision.review_at
    assert review_at is not None
    assert outcome.is_still_right(outcome.table, BLUEPRINT, view, review_at - 0.001)
    assert not outcome.is_still_right(outcome.table, BLUEPRINT, view, review_at)

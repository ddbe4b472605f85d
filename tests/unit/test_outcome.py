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
description rosterd:{{ structure }}
{% for service in services %}{% for server in service.servers %}server {{ server.name }}
{% endfor %}{% endfor %}
"""
VIEW = View({}, {}, 0)
BLUEPRINT = Blueprint.of(Settings(), compile_template(TEMPLATE, "t.j2"))


def test_it_holds_together() -> None:
    """Decision, desired state and text speak of the same servers."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert [server.name for server in outcome.decision.backends[0].servers] == ["web-1"]
    assert outcome.desired.backends == outcome.decision.backends
    assert outcome.desired.structure == BLUEPRINT.structure
    assert outcome.text.splitlines()[1] == "server web-1"


def test_the_same_again_need_not_be_decided_again() -> None:
    """Equal values are enough; they need not be the same objects."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert outcome.is_still_right(table_of(record("web-1")), replace(BLUEPRINT), View({}, {}, 0), 1_000_000)


@pytest.mark.parametrize(
    "view", [View({}, {}, 3), View({}, {("nodes", "web-1"): False}, 0), View({"nodes": {}}, {}, 0)]
)
def test_another_view_is_another_decision(view: View) -> None:
    """The agent's health, the servers' health, and what was served."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert not outcome.is_still_right(outcome.table, BLUEPRINT, view, 0)


def test_other_members_are_another_decision() -> None:
    """Whatever differs of them."""
    outcome = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0)
    assert not outcome.is_still_right(table_of(record("web-1", weight="1")), BLUEPRINT, VIEW, 0)


def test_time_alone_makes_another_decision() -> None:
    """When a hold may end, and not before."""
    served = Outcome.of(table_of(record("web-1")), BLUEPRINT, VIEW, 0).decision.lines
    view = View(served, {}, 0)
    outcome = Outcome.of(table_of(record("web-1", status="failed")), BLUEPRINT, view, 0)
    review_at = outcome.decision.review_at
    assert review_at is not None
    assert outcome.is_still_right(outcome.table, BLUEPRINT, view, review_at - 0.001)
    assert not outcome.is_still_right(outcome.table, BLUEPRINT, view, review_at)

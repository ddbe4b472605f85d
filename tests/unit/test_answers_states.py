"""How nodes took the state that they were told, for machines and for people."""

from __future__ import annotations

from rosterd.answers.states import by_hand, refusals, states_answer
from rosterd.model import AdminState
from rosterd.serf.lookup import Node
from rosterd.serf.state_change import NotShown, Shown, ShownBefore

WEB1 = Node("web1-a1", "web1", "alive", "ready")
OUTCOMES = Shown(WEB1, 0.12345), ShownBefore(WEB1), NotShown(WEB1, "web1 (web1-a1) refused: no")


def test_a_row_for_each_node() -> None:
    """Done with or without waiting, or why not."""
    row = {"node": "web1", "name": "web1-a1", "done": True, "after_s": None, "problem": ""}
    assert states_answer(OUTCOMES, AdminState.DRAIN) == {
        "state": "drain",
        "nodes": [row | {"after_s": 0.123}, row, row | {"done": False, "problem": "web1 (web1-a1) refused: no"}],
    }


def test_who_did_not_follow_has_a_line_with_the_remedy() -> None:
    """The others have none."""
    assert refusals(OUTCOMES, AdminState.MAINT) == [
        "web1 (web1-a1) refused: no; on the node itself: serf tags -set state=maint"
    ]


def test_the_remedy_is_a_command_of_serfs() -> None:
    """What a person can always run on the node itself."""
    assert [by_hand(state) for state in AdminState] == [
        "serf tags -delete state",
        "serf tags -set state=drain",
        "serf tags -set state=maint",
    ]

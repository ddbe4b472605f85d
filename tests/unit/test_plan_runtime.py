"""Plans for the runtime socket: which step comes next, and what it waits for. Their laws: test_plan_laws.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from rosterd.model import (
    Action,
    AddServer,
    AdminState,
    AgentCheck,
    Backend,
    CutSessions,
    Desired,
    DisableAgent,
    EnableAgent,
    EnableChecks,
    Nothing,
    Plan,
    ReasonKind,
    Reload,
    RemoveServer,
    Running,
    RunningServer,
    Runtime,
    Server,
    SetEndpoint,
    SetState,
    SetWeight,
)
from rosterd.plan import (
    FIRST_CHECK,
    REPLACEMENT,
    Means,
    compare,
    is_settled,
    most_additions,
    state_in_haproxy,
)

DRAIN_S = 30.0
READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT


def server(number: int, weight: int = 100, state: AdminState = READY, port: int = 80) -> Server:
    """Return one of our servers."""
    return Server(f"web-{number}", number, IPv4Address(f"10.0.0.{number}"), port, weight, state)


def shown(wanted: Server, **changes: object) -> RunningServer:
    """Return it as HAProxy shows it once all is done, with these changes."""
    found = RunningServer(
        wanted.name, wanted.id, wanted.address, wanted.port, wanted.weight, state_in_haproxy(wanted), True, True
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def desired(*servers: Server, balance: str = "roundrobin", structure: str = "digest") -> Desired:
    """Return a desired state with the text that says so."""
    lines = "".join(f"    server {each.name} {each.address}:{each.port} id {each.id} check\n" for each in servers)
    return Desired(structure, (Backend("nodes", servers),), f"backend nodes\n    balance {balance}\n{lines}")


def running(*servers: RunningServer, sessions: Mapping[str, int] | None = None) -> Running:
    """Return what HAProxy runs; `sessions` only where they were asked for."""
    counted = {("nodes", name): number for name, number in (sessions or {}).items()}
    return Running("2.6.12", 1, "digest", {"nodes": {each.name: each for each in servers}} if servers else {}, counted)


def actions(plan: Plan) -> list[Action]:
    """Return the actions of a plan without a reload."""
    assert isinstance(plan, Runtime)
    return list(plan.actions)


def waits(plan: Plan) -> list[tuple[str, str]]:
    """Return who waits for what."""
    assert isinstance(plan, Runtime)
    return [(wait.name, wait.what) for wait in plan.waits]


def departed(number: int, since: float) -> Means:
    """Return means at 100 s, with a server that is on its way out since then."""
    return Means(100.0, DRAIN_S, {("nodes", f"web-{number}"): since})


# --- coming -----------------------------------------------------------------------------------------------------


def test_a_new_server_waits_for_its_first_check() -> None:
    """It is added with the options of its line, and there is no word of a weight yet."""
    plan = compare(desired(server(1)), running(), Means())
    assert actions(plan) == [AddServer("nodes", server(1), ("check", "pool-max-conn", "-1", "pool-purge-delay", "5s"))]
    assert waits(plan) == [("web-1", FIRST_CHECK)]
    unchecked = running(shown(server(1), weight=0, checked=False))
    assert (actions(compare(desired(server(1)), unchecked, Means())), is_settled(plan)) == ([], False)


def test_an_addition_that_was_cut_short() -> None:
    """HAProxy died, or the socket broke, before the check was switched on: that is made good, and waited for."""
    plan = compare(desired(server(1)), running(shown(server(1), weight=0, checked=False, check_off=True)), Means())
    assert actions(plan) == [EnableChecks("nodes", "web-1")]
    assert waits(plan) == [("web-1", FIRST_CHECK)]


def test_an_addition_that_was_cut_short_with_its_weight() -> None:
    """HAProxy has added it with the weight of its line, and heard no more: it must not serve before its check."""
    fresh = shown(server(1), state=MAINT, up=False, checked=False, check_off=True)
    plan = compare(desired(server(1)), running(fresh), Means())
    assert actions(plan) == [
        SetWeight("nodes", "web-1", 0),
        SetState("nodes", "web-1", READY),
        EnableChecks("nodes", "web-1"),
    ]
    assert waits(plan) == [("web-1", FIRST_CHECK)]


def test_a_first_check_that_was_put_off() -> None:
    """It should have begun long ago: the server is added anew, which is how to have a check at once."""
    idle, key = running(shown(server(1), weight=0, checked=False)), ("nodes", "web-1")
    early, late = (Means(100.0, unchecked={key: since}, check_s=0.5) for since in (99.6, 99.5))
    assert actions(compare(desired(server(1)), idle, early)) == []
    plan = compare(desired(server(1)), idle, late)
    assert actions(plan) == [SetState("nodes", "web-1", MAINT), RemoveServer("nodes", "web-1")]
    assert waits(plan) == [("web-1", FIRST_CHECK)]
    assert not is_settled(plan)


@pytest.mark.parametrize("up", [True, False])
def test_it_gets_its_weight_when_the_check_has_spoken(up: bool) -> None:  # noqa: FBT001  a table's column
    """Also when it speaks against it: from then on HAProxy itself keeps the traffic away."""
    plan = compare(desired(server(1)), running(shown(server(1), weight=0, up=up)), Means())
    assert actions(plan) == [SetWeight("nodes", "web-1", 100)]


@pytest.mark.parametrize(
    ("wanted", "added"),
    [
        (server(1, 0, DRAIN), []),
        (server(1, 0, MAINT), [SetState("nodes", "web-1", MAINT)]),
        (server(1, 9, DRAIN), [SetState("nodes", "web-1", DRAIN)]),
    ],
)
def test_a_new_server_that_is_out(wanted: Server, added: list[Action]) -> None:
    """By its tag, which is weight 0, or by hand before HAProxy was restarted."""
    assert actions(compare(desired(wanted), running(), Means()))[1:] == added


def test_more_additions_than_a_reload_takes_time_for() -> None:
    """Measured on an empty backend and on full ones."""
    assert (most_additions(0), most_additions(1_000), 60 < most_additions(10_000) < 80) == (700, 350, True)
    many = tuple(replace(server(1), name=f"web-{number}", id=number) for number in range(1, 702))
    plan = compare(desired(*many), running(), Means())
    assert isinstance(plan, Reload)
    assert [reason.kind for reason in plan.reasons] == [ReasonKind.SERVER_ADDED]
    assert plan.actions == ()


# --- changing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "wanted", "expected"),
    [
        ({}, server(1, 7), [SetWeight("nodes", "web-1", 7)]),
        ({}, server(1, port=81), [SetEndpoint("nodes", "web-1", IPv4Address("10.0.0.1"), 81)]),
        ({}, server(1, 0, DRAIN), [SetWeight("nodes", "web-1", 0)]),
        ({}, server(1, 0, MAINT), [SetState("nodes", "web-1", MAINT), SetWeight("nodes", "web-1", 0)]),
        (
            {"state": MAINT, "weight": 0},
            server(1),
            [SetState("nodes", "web-1", READY), SetWeight("nodes", "web-1", 100)],
        ),
        ({"weight": 0}, server(1, 100, DRAIN), [SetState("nodes", "web-1", DRAIN), SetWeight("nodes", "web-1", 100)]),
        ({"weight": 3}, server(1), [SetWeight("nodes", "web-1", 100)]),
    ],
)
def test_a_change(before: dict[str, object], wanted: Server, expected: list[Action]) -> None:
    """One command for each field, whoever changed it."""
    assert actions(compare(desired(wanted), running(shown(server(1), **before)), Means())) == expected


def test_another_id_needs_a_reload() -> None:
    """HAProxy cannot change it."""
    plan = compare(desired(server(1)), running(shown(server(1), id=5)), Means())
    assert isinstance(plan, Reload)
    assert plan.reasons[0].detail == "nodes/web-1: id 5 to 1"


# --- going ------------------------------------------------------------------------------------------------------


def test_a_server_on_its_way_out_step_by_step() -> None:
    """No new request, then the end of those that run, then away."""
    gone, means = desired(), departed(1, 99.0)
    plan = compare(gone, running(shown(server(1))), means)
    assert actions(plan) == [SetWeight("nodes", "web-1", 0)]
    drained = shown(server(1), weight=0)
    plan = compare(gone, running(drained), means)
    assert (actions(plan), is_settled(plan)) == ([], True)
    assert waits(compare(gone, running(drained, sessions={"web-1": 2}), means)) == [("web-1", "2 running requests")]
    last = [SetState("nodes", "web-1", MAINT), RemoveServer("nodes", "web-1")]
    assert actions(compare(gone, running(drained, sessions={"web-1": 0}), means)) == last
    busy = running(shown(server(1), weight=0, state=MAINT), sessions={"web-1": 0})
    assert actions(compare(gone, busy, means)) == [RemoveServer("nodes", "web-1")]


def test_its_time_is_over() -> None:
    """What runs is cut, with its number, and not a moment before."""
    drained = running(shown(server(1), weight=0), sessions={"web-1": 2})
    assert actions(compare(desired(), drained, departed(1, 100.0 - DRAIN_S + 0.1))) == []
    assert actions(compare(desired(), drained, departed(1, 100.0 - DRAIN_S))) == [
        SetState("nodes", "web-1", MAINT),
        CutSessions("nodes", "web-1", 2),
        RemoveServer("nodes", "web-1"),
    ]


def test_one_that_was_drained_by_hand_leaves() -> None:
    """Its weight goes before its maintenance, or that would look as if it had been set by hand, too."""
    drained = running(shown(server(1), state=DRAIN), sessions={"web-1": 0})
    assert actions(compare(desired(), drained, departed(1, 99.0))) == [
        SetWeight("nodes", "web-1", 0),
        SetState("nodes", "web-1", MAINT),
        RemoveServer("nodes", "web-1"),
    ]


def test_it_comes_back() -> None:
    """It has its weight again, at once."""
    assert actions(compare(desired(server(1)), running(shown(server(1), weight=0)), Means())) == [
        SetWeight("nodes", "web-1", 100)
    ]


def test_the_last_one_waits_for_the_next() -> None:
    """While the other has not passed its first check, somebody has to answer."""
    old = shown(server(1))
    plan = compare(desired(server(2)), running(old), departed(1, 100.0))
    assert ("web-1", REPLACEMENT) in waits(plan)
    plan = compare(desired(server(2)), running(old, shown(server(2), weight=0, checked=False)), departed(1, 100.0))
    assert (actions(plan), is_settled(plan)) == ([], False)
    plan = compare(desired(server(2)), running(old, shown(server(2), weight=0)), departed(1, 100.0))
    assert actions(plan) == [SetWeight("nodes", "web-2", 100)]


def test_it_does_not_wait_for_an_answer() -> None:
    """The next one is in, and its check fails: whoever is wanted to go goes. Whom to want is policy's to say."""
    down = shown(server(2), up=False)
    plan = compare(desired(server(2)), running(shown(server(1)), down), departed(1, 0.0))
    assert SetWeight("nodes", "web-1", 0) in actions(plan)
    for state in (DRAIN, MAINT):
        plan = compare(desired(server(1, 0, state), server(2)), running(shown(server(1)), down), Means())
        assert SetWeight("nodes", "web-1", 0) in actions(plan)


def test_one_of_several_does_not_wait() -> None:
    """Another one that stays has traffic already."""
    plan = compare(desired(server(2), server(3)), running(shown(server(1)), shown(server(2))), departed(1, 100.0))
    assert SetWeight("nodes", "web-1", 0) in actions(plan)


# --- and reloads ------------------------------------------------------------------------------------------------


def test_another_structure_does_not_keep_changes_back() -> None:
    """They go out at once, should the reload wait or fail."""
    wanted = desired(server(1, 7), server(2), structure="new")
    plan = compare(wanted, running(shown(server(1)), shown(server(3))), departed(3, 100.0))
    assert isinstance(plan, Reload)
    assert [reason.kind for reason in plan.reasons] == [ReasonKind.STRUCTURE]
    assert {type(action) for action in plan.actions} == {AddServer, SetWeight}


def test_a_configuration_that_is_not_ours_is_not_touched() -> None:
    """Its backend has the same name by chance."""
    foreign = replace(running(shown(server(1))), structure="")
    assert compare(desired(server(2)), foreign, Means()) == Reload(
        compare(desired(server(1)), foreign, Means()).reasons  # type: ignore[union-attr]
    )


def test_what_was_refused_is_a_reason() -> None:
    """With HAProxy's own words; the same worker is not asked again."""
    plan = compare(desired(server(1)), running(), Means())
    (action,) = actions(plan)
    plan = compare(desired(server(1)), running(), Means(refused={action: "no."}))
    assert isinstance(plan, Reload)
    assert (plan.reasons[0].kind, plan.actions) == (ReasonKind.COMMAND_REFUSED, ())
    assert plan.reasons[0].detail == "nodes/web-1: HAProxy refused: no."


def test_what_cannot_be_said_at_run_time_is_a_reason() -> None:
    """A server of an algorithm that takes none; one that leaves drains all the same."""
    plan = compare(desired(server(1), balance="static-rr"), running(shown(server(2))), departed(2, 0.0))
    assert isinstance(plan, Reload)
    assert [reason.kind for reason in plan.reasons] == [ReasonKind.SERVER_ADDED]


class TestAgent:
    """Servers whose own agent sets weight and state (`agent-check`)."""

    def agent_on(self, wanted: Server, **changes: object) -> RunningServer:
        """Return a server as HAProxy shows it while its agent is on."""
        changes = {"agent": AgentCheck.ON, "initial_weight": 100, "weight": 100, **changes}
        return shown(replace(wanted, weight=100), **changes)

    @pytest.mark.parametrize("by_agent", [READY, DRAIN, MAINT])
    def test_what_the_agent_sets_is_no_difference(self, by_agent: AdminState) -> None:
        """This holds at run time, and where only reloads are used."""
        found = running(self.agent_on(server(1), out_by_agent=by_agent))
        assert compare(desired(server(1)), found, Means()) == compare(desired(server(1)), found, None) == Nothing()

    def test_a_server_is_taken_from_its_agent_before_it_drains(self) -> None:
        """The agent would give it weight again."""
        plan = compare(desired(server(1, weight=0)), running(self.agent_on(server(1))), Means())
        assert actions(plan) == [DisableAgent("nodes", "web-1"), SetWeight("nodes", "web-1", 0)]

    def test_a_state_of_the_agent_does_not_look_like_one_by_hand_later(self) -> None:
        """The agent's state ends with the agent's part, once the server has no weight."""
        found = running(self.agent_on(server(1), out_by_agent=DRAIN))
        expected = [
            DisableAgent("nodes", "web-1"),
            SetWeight("nodes", "web-1", 0),
            SetState("nodes", "web-1", READY),
        ]
        assert actions(compare(desired(), found, Means())) == expected
        assert actions(compare(desired(server(1, weight=0)), found, Means())) == expected

    def test_maintenance_outlasts_what_the_agent_says(self) -> None:
        """Agents are asked in maintenance, too."""
        plan = compare(desired(server(1, weight=0, state=MAINT)), running(self.agent_on(server(1))), Means())
        assert actions(plan) == [
            DisableAgent("nodes", "web-1"),
            SetWeight("nodes", "web-1", 0),
            SetState("nodes", "web-1", MAINT),
        ]

    def test_a_server_that_comes_back_has_its_agent_again(self) -> None:
        """With the weight of its line, after its first check where it is new."""
        out = self.agent_on(server(1), agent=AgentCheck.OFF, weight=0)
        back = [SetWeight("nodes", "web-1", 100), EnableAgent("nodes", "web-1")]
        assert actions(compare(desired(server(1)), running(out), Means())) == back
        new = replace(out, checked=False)
        assert actions(compare(desired(server(1)), running(new), Means())) == []

    def test_an_agent_that_was_switched_off_by_hand_stays_off(self) -> None:
        """Weight and state are set as for any other server then."""
        found = self.agent_on(server(1), agent=AgentCheck.OFF, weight=30)
        assert actions(compare(desired(server(1)), running(found), Means())) == [SetWeight("nodes", "web-1", 100)]

    @pytest.mark.parametrize(("agent", "commands"), [(AgentCheck.ON, []), (AgentCheck.OFF, [60])])
    def test_another_weight_of_the_line_is_a_reason_to_reload(self, agent: AgentCheck, commands: list[int]) -> None:
        """An agent names a percentage of the weight of the line, which no command changes."""
        found = self.agent_on(server(1), agent=agent)
        plan = compare(desired(server(1, weight=60)), running(found), Means())
        assert isinstance(plan, Reload)
        assert [reason.detail for reason in plan.reasons] == [
            "nodes/web-1: weight 100 to 60, on a line with agent-check"
        ]
        assert list(plan.actions) == [SetWeight("nodes", "web-1", weight) for weight in commands]

"""Desired against running: nothing where they agree, and a reason for each thing in which they do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.model import (
    AdminState,
    Backend,
    Desired,
    Nothing,
    ReasonKind,
    Reload,
    Running,
    RunningServer,
    Server,
)
from rosterd.plan import compare

WEB_1 = Server("web-1", 7, IPv4Address("10.0.0.1"), 80, 100, AdminState.READY)
DESIRED = Desired("digest", (Backend("nodes", (WEB_1,)),), "")


def as_haproxy_shows(server: Server) -> RunningServer:
    """Return the server as HAProxy shows it: one that its tag drains has weight 0 there and no state of its own."""
    draining = server.state is AdminState.DRAIN and server.weight == 0
    return RunningServer(
        name=server.name,
        id=server.id,
        address=server.address,
        port=server.port,
        weight=0 if draining else server.weight,
        state=AdminState.READY if draining else server.state,
        up=True,
        checked=True,
    )


def loaded(desired: Desired) -> Running:
    """Return what a HAProxy runs that has loaded what is desired: backends without servers are not in its answer."""
    backends = {
        backend.service: {server.name: as_haproxy_shows(server) for server in backend.servers}
        for backend in desired.backends
        if backend.servers
    }
    return Running("2.6.12", 4711, desired.structure, backends, {})


def reasons(desired: Desired, running: Running) -> list[tuple[ReasonKind, str]]:
    """Return the reasons of a plan that reloads."""
    plan = compare(desired, running, None)
    assert isinstance(plan, Reload)
    return [(reason.kind, reason.detail) for reason in plan.reasons]


def with_server(server: Server) -> Desired:
    """Return a desired state of this one server."""
    return Desired("digest", (Backend("nodes", (server,)),), "")


def running_as(shown: RunningServer) -> Running:
    """Return what a HAProxy runs that has this one server."""
    return Running("2.6.12", 4711, "digest", {"nodes": {shown.name: shown}}, {})


class TestNothing:
    """What is no difference."""

    def test_what_was_loaded(self) -> None:
        """A HAProxy that has loaded the file is left alone."""
        assert compare(DESIRED, loaded(DESIRED), None) == Nothing()

    def test_health(self) -> None:
        """A server that HAProxy sees down is as desired as one that is up."""
        assert compare(DESIRED, running_as(replace(as_haproxy_shows(WEB_1), up=False)), None) == Nothing()

    def test_a_backend_without_servers(self) -> None:
        """HAProxy does not list it."""
        assert (
            compare(Desired("digest", (Backend("nodes", ()),), ""), Running("3.0", 1, "digest", {}, {}), None)
            == Nothing()
        )

    def test_backends_of_others(self) -> None:
        """A template may have backends of its own, whose servers are not ours."""
        running = loaded(DESIRED)
        own = {**running.backends, "letsencrypt": {"local": as_haproxy_shows(WEB_1)}}
        assert compare(DESIRED, replace(running, backends=own), None) == Nothing()

    @pytest.mark.parametrize("state", [AdminState.DRAIN, AdminState.MAINT])
    def test_a_server_that_its_tag_takes_out(self, state: AdminState) -> None:
        """It has no weight, in the file and in HAProxy."""
        desired = with_server(replace(WEB_1, state=state, weight=0))
        assert compare(desired, loaded(desired), None) == Nothing()

    @pytest.mark.parametrize("state", [AdminState.DRAIN, AdminState.MAINT])
    def test_a_server_that_was_taken_out_by_hand(self, state: AdminState) -> None:
        """It keeps its weight, and the state that somebody gave it."""
        desired = with_server(replace(WEB_1, state=state))
        assert compare(desired, running_as(replace(as_haproxy_shows(WEB_1), state=state)), None) == Nothing()

    def test_a_ready_server_with_weight_0(self) -> None:
        """Which is what a draining one looks like."""
        desired = with_server(replace(WEB_1, weight=0))
        assert compare(desired, loaded(desired), None) == Nothing()


class TestReload:
    """Each difference is a reason that names the service, the server and the fields."""

    def test_another_structure(self) -> None:
        """The template or a setting changed."""
        running = replace(loaded(DESIRED), structure="old")
        assert reasons(DESIRED, running) == [(ReasonKind.STRUCTURE, "template or settings: old to digest")]

    def test_a_configuration_that_is_not_ours(self) -> None:
        """HAProxy was started from a file of somebody else's."""
        running = replace(loaded(DESIRED), structure="")
        assert reasons(DESIRED, running) == [(ReasonKind.STRUCTURE, "template or settings: unknown to digest")]

    def test_a_new_server(self) -> None:
        """The reason says where it is."""
        running = replace(loaded(DESIRED), backends={})
        assert reasons(DESIRED, running) == [(ReasonKind.SERVER_ADDED, "nodes/web-1 at 10.0.0.1 port 80")]

    def test_a_server_too_many(self) -> None:
        """Ours, of an earlier state, or one that somebody added by hand."""
        desired = Desired("digest", (Backend("nodes", ()),), "")
        assert reasons(desired, loaded(DESIRED)) == [(ReasonKind.SERVER_REMOVED, "nodes/web-1")]

    @pytest.mark.parametrize(
        ("shown", "detail"),
        [
            ({"id": 8}, "id 8 to 7"),
            ({"address": IPv4Address("10.0.0.2")}, "address 10.0.0.2 to 10.0.0.1"),
            ({"address": None}, "address None to 10.0.0.1"),
            ({"port": 81}, "port 81 to 80"),
            ({"weight": 0}, "weight 0 to 100"),
            ({"weight": 99}, "weight 99 to 100"),
            ({"state": AdminState.DRAIN}, "state drain to ready"),
            ({"state": AdminState.MAINT}, "state maint to ready"),
            ({"port": 81, "weight": 1}, "port 81 to 80, weight 1 to 100"),
        ],
    )
    def test_a_changed_server(self, shown: Mapping[str, object], detail: str) -> None:
        """Each field that differs, from what is to what should be; a change by hand is one, too."""
        running = running_as(replace(as_haproxy_shows(WEB_1), **shown))  # type: ignore[arg-type]
        assert reasons(DESIRED, running) == [(ReasonKind.SERVER_CHANGED, f"nodes/web-1: {detail}")]

    @pytest.mark.parametrize(
        ("wanted", "state", "weight", "detail"),
        [
            (AdminState.DRAIN, AdminState.READY, 100, "weight 100 to 0"),
            (AdminState.DRAIN, AdminState.MAINT, 0, "state maint to ready"),
            (AdminState.MAINT, AdminState.READY, 100, "weight 100 to 0, state ready to maint"),
            (AdminState.MAINT, AdminState.DRAIN, 100, "weight 100 to 0, state drain to maint"),
        ],
    )
    def test_a_state_that_an_operator_asks_for(
        self, wanted: AdminState, state: AdminState, weight: int, detail: str
    ) -> None:
        """A drain is weight 0 in HAProxy, and maintenance is that and its own state."""
        running = running_as(replace(as_haproxy_shows(WEB_1), state=state, weight=weight))
        assert reasons(with_server(replace(WEB_1, state=wanted, weight=0)), running) == [
            (ReasonKind.SERVER_CHANGED, f"nodes/web-1: {detail}")
        ]

    def test_all_at_once(self) -> None:
        """Structure first, then each service in its order, its servers by name, the removed ones last."""
        desired = Desired(
            "new",
            (
                Backend("nodes", (replace(WEB_1, name="a"), replace(WEB_1, name="b", weight=1))),
                Backend("cache", (replace(WEB_1, name="c"),)),
            ),
            "",
        )
        running = loaded(
            Desired("old", (Backend("nodes", tuple(replace(WEB_1, name=name) for name in ("b", "y", "x"))),), "")
        )
        assert [kind for kind, _ in reasons(desired, running)] == [
            ReasonKind.STRUCTURE,
            ReasonKind.SERVER_ADDED,
            ReasonKind.SERVER_CHANGED,
            ReasonKind.SERVER_REMOVED,
            ReasonKind.SERVER_REMOVED,
            ReasonKind.SERVER_ADDED,
        ]
        assert [detail for _, detail in reasons(desired, running)][3:5] == ["nodes/x", "nodes/y"]


# --- laws -------------------------------------------------------------------------------------------------------

addresses = st.one_of(st.integers(1, 2**32 - 2).map(IPv4Address), st.integers(1, 2**64).map(IPv6Address))
servers = st.builds(
    Server,
    name=st.sampled_from([f"web-{number}" for number in range(9)]),
    id=st.integers(1, 2**31 - 1),
    address=addresses,
    port=st.integers(1, 65535),
    weight=st.integers(0, 256),
    state=st.sampled_from(AdminState),
)
backends = st.lists(servers, max_size=3, unique_by=lambda server: server.name).map(tuple)
desires = st.builds(
    lambda structure, nodes, cache: Desired(structure, (Backend("nodes", nodes), Backend("cache", cache)), ""),
    st.text("0123456789abcdef", min_size=16, max_size=16),
    backends,
    backends,
)

Mutation = Callable[[RunningServer], RunningServer]
MUTATIONS: Mapping[str, Mutation] = {
    "id": lambda shown: replace(shown, id=shown.id % (2**31 - 1) + 1),
    "address": lambda shown: replace(shown, address=IPv4Address("192.0.2.1")),
    "port": lambda shown: replace(shown, port=shown.port % 65535 + 1),
    "weight": lambda shown: replace(shown, weight=(shown.weight + 1) % 257),
    "state": lambda shown: replace(
        shown, state=AdminState.READY if shown.state is AdminState.MAINT else AdminState.MAINT
    ),
}


@given(desires)
def test_what_was_loaded_needs_nothing(desired: Desired) -> None:
    """Whatever is desired: a reload is followed by peace."""
    assert compare(desired, loaded(desired), None) == Nothing()


@given(desires.filter(lambda desired: any(backend.servers for backend in desired.backends)), st.data())
def test_any_one_change_is_found_and_named(desired: Desired, data: st.DataObject) -> None:
    """One server, one field, by whomever: exactly one reason, with the names of all three."""
    running = loaded(desired)
    service = data.draw(st.sampled_from(sorted(running.backends)))
    name = data.draw(st.sampled_from(sorted(running.backends[service])))
    field = data.draw(st.sampled_from(sorted(MUTATIONS)))
    changed = {**running.backends[service], name: MUTATIONS[field](running.backends[service][name])}
    plan = compare(desired, replace(running, backends={**running.backends, service: changed}), None)
    assert isinstance(plan, Reload)
    (reason,) = plan.reasons
    assert reason.kind is ReasonKind.SERVER_CHANGED
    assert reason.detail.startswith(f"{service}/{name}: ")
    assert field in reason.detail


@given(desires, desires)
def test_a_plan_is_nothing_or_has_reasons(one: Desired, other: Desired) -> None:
    """Between any two states; and there are none only where both serve the same."""
    plan = compare(one, loaded(other), None)
    if isinstance(plan, Nothing):
        assert loaded(one).backends == loaded(other).backends
        assert one.structure == other.structure
    else:
        assert isinstance(plan, Reload)
        assert plan.reasons
        assert all(reason.detail for reason in plan.reasons)

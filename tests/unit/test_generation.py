"""What is desired, in the file and running is compared by digests of the servers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from rosterd.generation import of_desired, of_running
from rosterd.model import AdminState, Backend, Desired, Running, RunningServer, Server

ONE = RunningServer("web-1", 1, IPv4Address("10.0.0.1"), 3000, 100, AdminState.READY, up=False, checked=True)
TWO = replace(ONE, name="web-2", address=None)


def running(*servers: RunningServer, service: str = "nodes", structure: str = "x") -> Running:
    """Return a HAProxy that runs these servers."""
    return Running("3.0", 7, structure, {service: {each.name: each for each in servers}}, {})


def test_the_digest_of_servers() -> None:
    """Two balancers that serve the same have the same, whatever the order and the health; any difference shows."""
    one, two = ONE, TWO

    def digest(*servers: RunningServer, service: str = "nodes") -> str:
        return of_running(running(*servers, service=service), 0.0, None).servers_digest

    assert digest(one, two) == digest(two, replace(one, up=True, id=5, checked=False))
    changed = [
        replace(one, port=1),
        replace(one, weight=1),
        replace(one, state=AdminState.MAINT),
        replace(one, address=IPv4Address("10.0.0.2")),
    ]
    others = [digest(one), digest(one, two, service="cache"), *(digest(two, other) for other in changed)]
    assert digest(one, two) not in others
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        ((100, AdminState.READY), (100, AdminState.READY)),
        ((0, AdminState.DRAIN), (0, AdminState.READY)),  # our own drain
        ((0, AdminState.MAINT), (0, AdminState.MAINT)),
        ((100, AdminState.DRAIN), (100, AdminState.DRAIN)),  # by hand, and kept
    ],
)
def test_a_server_that_is_as_desired_has_the_same_digest(
    wanted: tuple[int, AdminState], runs: tuple[int, AdminState]
) -> None:
    """Though HAProxy has another word for a drain than the tags have."""
    server = Server("web-1", 1, IPv4Address("10.0.0.1"), 3000, *wanted)
    seen = replace(ONE, weight=runs[0], state=runs[1])
    desired = of_desired(Desired("x", (Backend("nodes", (server,)),), ""), 5.0, None)
    assert desired.servers_digest == of_running(running(seen), 6.0, None).servers_digest
    assert of_running(running(seen), 7.0, desired) is desired


def test_health_and_order_make_no_other_generation() -> None:
    """Checks come and go all day."""
    first = of_running(running(ONE, TWO), 5.0, None)
    later = of_running(running(TWO, replace(ONE, up=True, checked=False)), 6.0, first)
    assert later is first
    assert later.since == 5.0


@pytest.mark.parametrize(
    "other",
    [
        running(ONE),
        running(ONE, TWO, structure="y"),
        running(ONE, TWO, service="cache"),
        running(ONE, replace(TWO, weight=1)),
        running(ONE, replace(TWO, state=AdminState.MAINT)),
        running(ONE, replace(TWO, port=1)),
    ],
)
def test_whatever_differs_in_a_server_or_beside_them_makes_another(other: Running) -> None:
    """From either side."""
    first = of_running(running(ONE, TWO), 5.0, None)
    second = of_running(other, 6.0, first)
    assert (second.since, of_running(running(ONE, TWO), 7.0, second).since) == (6.0, 7.0)

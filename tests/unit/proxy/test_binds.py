"""Trying new ports before HAProxy is asked to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosterd.errors import ConfigRefused
from rosterd.proxy.binds import try_new_binds
from tests.loopback import free_address

HUGE = f":{'9' * 5000}"
FILE = Path("/etc/haproxy/haproxy.cfg")


@pytest.fixture
def taken() -> Iterator[tuple[str, int]]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind((free_address(), 0))
        listener.listen()
        yield listener.getsockname()


def frontend(*binds: str) -> str:
    """Return a text with these addresses."""
    return "frontend a\n" + "".join(f"    bind {bind}\n" for bind in binds)


def test_a_taken_port_is_named_with_file_and_line(taken: tuple[str, int]) -> None:
    """As HAProxy names what is wrong with a line."""
    address, port = taken
    with pytest.raises(ConfigRefused, match=rf"\[/etc/haproxy/haproxy.cfg:3\].*{port} is taken"):
        try_new_binds(frontend(":1", f"{address}:{port} ssl"), frontend(":1"), FILE)


def test_a_port_that_haproxy_has_is_its_own(taken: tuple[str, int]) -> None:
    """It looks taken, by HAProxy itself; another address of the same port too."""
    address, port = taken
    try_new_binds(frontend(f"{address}:{port}", f"127.0.0.1:{port}"), frontend(f"{address}:{port}"), FILE)


def test_a_free_port_is_fine(taken: tuple[str, int]) -> None:
    """Also several, and a range of them."""
    address, _ = taken
    with socket.socket() as probe:
        probe.bind((address, 0))
        free = probe.getsockname()[1]
    try_new_binds(frontend(f"{address}:{free}", f"{address}:{free}-{free}"), "", FILE)


def test_ipv6_beside_ipv4(taken: tuple[str, int]) -> None:
    """Who has a port of an IPv4 address does not have that of all IPv6 addresses; who has that one, does."""
    _, port = taken
    try_new_binds(frontend(f"[::]:{port} v6only"), "", FILE)
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::", 0))
        listener.listen()
        with pytest.raises(ConfigRefused):
            try_new_binds(frontend(f"ipv6@:{listener.getsockname()[1]}"), "", FILE)


@pytest.mark.parametrize(
    "bind",
    [
        "/run/x.sock",
        "unix@x",
        "abns@x",
        "fd@3",
        "${ADDRESS}:80",
        "host.example:80",
        ":",
        "300.0.0.1:80",
        ":99999",
        f":{'9' * 5000}",
    ],
)
def test_what_cannot_be_tried_proves_nothing(bind: str) -> None:
    """HAProxy says what is wrong with it, if anything is."""
    try_new_binds(frontend(bind), "", FILE)

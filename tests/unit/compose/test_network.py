from __future__ import annotations

import socket
from ipaddress import IPv4Network

import pytest

from compose.network import Ports, free_networks, free_ports, listening_addresses, reserve
from tests.loopback import free_address


@pytest.mark.parametrize(
    ("first", "listeners", "expected"),
    [
        (0, (), "127.20.0.0/24"),
        (0, ("127.0.0.1", "0.0.0.0", "127.20.1.1"), "127.20.0.0/24"),  # noqa: S104  a listener in a table
        (0, ("127.20.0.11", "127.20.1.1"), "127.20.2.0/24"),
        (255, ("127.20.255.1",), "127.20.0.0/24"),
    ],
)
def test_the_first_network_without_listeners(first: int, listeners: tuple[str, ...], expected: str) -> None:
    """Somebody who listens on one address has the whole network."""
    assert next(free_networks(first, frozenset(listeners))) == IPv4Network(expected)


def test_no_network_left() -> None:
    """Two hundred and fifty-six clusters are enough."""
    assert list(free_networks(0, frozenset(f"127.20.{number}.1" for number in range(256)))) == []


def test_network_is_reserved_once() -> None:
    """A cluster that starts holds its network before anything listens there; it is free again afterwards."""
    network = IPv4Network("127.21.77.0/24")
    first = reserve(network)
    assert first is not None
    assert reserve(network) is None
    first.release()
    again = reserve(network)
    assert again is not None
    again.release()


def test_a_listener_is_seen() -> None:
    """The kernel's table says who listens, and on which address."""
    address = free_address()
    assert address not in listening_addresses()
    with socket.create_server((address, 0)):
        assert address in listening_addresses()


def test_a_port_that_is_taken_everywhere_is_replaced() -> None:
    """A listener on all addresses takes its port from every node; the next free one serves."""
    address = free_address()
    before = free_ports(address)
    with socket.create_server((address, before.http)):
        after = free_ports(address)

    assert after.http > before.http
    assert after == Ports(**{**_fields(before), "http": after.http})


def _fields(ports: Ports) -> dict[str, int]:
    return {name: getattr(ports, name) for name in Ports.__slots__}

from __future__ import annotations

from ipaddress import ip_network

import pytest

from webapp.networks import is_within, own_networks, read_own_networks

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t0000000A\t010011AC\t0003\t0\t0\t0\t000000FF\t0\t0\t0
wg0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
"""
ADDRESSES = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000005 02 40 00 80     eth0
"""


def test_own_networks_are_connected() -> None:
    """Not those behind a gateway, and none that covers every address."""
    own = {"127.0.0.0/8", "::1/128", "172.17.0.0/16", "2001:db8::/64"}
    assert set(own_networks(ROUTES, ADDRESSES)) == {ip_network(text) for text in own}


def test_without_tables_loopback_is_left() -> None:
    """As where IPv6 is off and no interface is up."""
    assert [str(network) for network in own_networks("", "")] == ["127.0.0.0/8", "::1/128"]


def test_this_machine_has_loopback() -> None:
    """The kernel's tables can be read here."""
    assert is_within("127.0.0.1", read_own_networks())
    assert not is_within("203.0.113.9", read_own_networks())


@pytest.mark.parametrize("text", ["", "unknown", "127.0.0.1:80", "127.1"])
def test_what_is_no_address_is_in_no_network(text: str) -> None:
    """Whatever the networks."""
    assert not is_within(text, [ip_network("0.0.0.0/0"), ip_network("::/0")])

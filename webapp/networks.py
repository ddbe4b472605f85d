"""The networks from which a node's delay may be set: this machine's own, and those that the environment names.

`own_networks` reads them out of the kernel's tables, `/proc/net/route` and `/proc/net/if_inet6`: the loopback networks,
and each network that an interface is connected to. A route over a gateway, and one that covers every address, is none.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Network = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
IPV4_ROUTES = Path("/proc/net/route")
IPV6_ADDRESSES = Path("/proc/net/if_inet6")


def read_own_networks() -> tuple[Network, ...]:
    """Return the networks of this machine; where the kernel shows no table, fewer."""
    return own_networks(_text(IPV4_ROUTES), _text(IPV6_ADDRESSES))


def own_networks(ipv4_routes: str, ipv6_addresses: str) -> tuple[Network, ...]:
    """Return the networks that these tables of the kernel name, and loopback."""
    return tuple(dict.fromkeys((*LOOPBACK, *_connected(ipv4_routes), *_addressed(ipv6_addresses))))


def is_within(text: str, networks: Iterable[Network]) -> bool:
    """Return whether the text is an address in one of the networks; an IPv4 address may be written as IPv6."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _connected(table: str) -> Iterator[IPv4Network]:
    for line in table.splitlines()[1:]:
        words = line.split()
        destination, gateway, mask = (_ipv4(words[number]) for number in (1, 2, 7))
        network = ip_network(f"{destination}/{mask}")
        if int(gateway) == 0 and network.prefixlen > 0 and isinstance(network, IPv4Network):
            yield network


def _ipv4(hexadecimal: str) -> IPv4Address:
    """`0100007F` is 127.0.0.1: the kernel prints the four bytes as one little-endian number."""
    return IPv4Address(bytes.fromhex(hexadecimal)[::-1])


def _addressed(table: str) -> Iterator[IPv6Network]:
    for line in table.splitlines():
        address, _, length, *_ = line.split()
        if int(length, 16) > 0:
            yield IPv6Network((int(address, 16), int(length, 16)), strict=False)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""

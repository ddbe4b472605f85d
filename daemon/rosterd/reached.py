"""Which machine an address really leads to, and the addresses that lead to none that may serve.

An IPv6 address can be another way to write an IPv4 one, and a translator or tunnel then delivers to that. So every rule
about addresses judges `reached`, never the notation. The deny list holds for every balancer, whatever the settings say:
no server of anybody is there, but services that a cloud gives its machines, or addresses that mean no single machine.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final

from rosterd.model import Address

_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")

_OF_NO_MACHINE: Final = tuple(map(IPv4Network, ("0.0.0.0/8", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4")))
"""This network, protocol assignments (192.0.0.192 has a cloud's metadata), multicast, reserved with broadcast."""

_OF_NO_MACHINE_V6: Final = tuple(map(IPv6Network, ("::/128", "64:ff9b:1::/48", "ff00::/8")))
"""Unspecified, NAT64 by local rules (the IPv4 address in it cannot be known), multicast."""

_OF_CLOUDS: Final = frozenset({IPv4Address("100.100.100.200"), IPv4Address("168.63.129.16")})
_OF_CLOUDS_V6: Final = (IPv6Network("fd00:ec2::/32"), IPv6Network("fd20:ce::/32"))
"""Where clouds answer their machines' questions, secrets among the answers; most do on link-local."""


def reached(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address carries in a standard form; the address itself where it has none."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner
    if address.teredo is not None:
        return address.teredo[1]
    embeds = any(address in network for network in (_COMPATIBLE, _NAT64, _TRANSLATED))
    if embeds and int(address) > 1:  # :: and ::1 are IPv6's own
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def denial(address: Address) -> str:
    """Why no server is at this address, as the rest of a sentence that begins with it; empty where one may be."""
    target = reached(address)
    led = "" if target == address else f"leads to {target}, which "
    if target.is_link_local:
        # IPv6 would need an interface; IPv4 is where clouds keep what their machines must not tell.
        return f"{led}is link-local"
    if isinstance(target, IPv4Address):
        is_machine, is_cloud = not any(target in each for each in _OF_NO_MACHINE), target in _OF_CLOUDS
    else:
        is_machine = not any(target in each for each in _OF_NO_MACHINE_V6)
        is_cloud = any(target in each for each in _OF_CLOUDS_V6)
    if not is_machine:
        return f"{led}is not that of one machine"
    return f"{led}is a cloud's own service" if is_cloud else ""

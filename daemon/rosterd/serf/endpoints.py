"""Where nodes gossip, and which seeds are missing from the cluster. Pure: `seeds` resolves names and asks the agent.

A seed is a host with a gossip port, as the settings give it. What it resolves to are endpoints; an endpoint is missing
when no alive member gossips there. The local agent is a member too, so a seed that names this very node never is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from rosterd.model import Address, Snapshot

DEFAULT_GOSSIP_PORT: Final = 7946

_ALIVE: Final = b"alive"


@dataclass(frozen=True, slots=True)
class Seed:
    """A node that the cluster should contain: a host name or address, and a gossip port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> Address | None:
        """The host as an address, None where it is a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


Endpoint: TypeAlias = tuple[Address, int]
"""Where a node gossips."""


def parse_seed(text: str) -> Seed:
    """Read `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; the port is 7946 where none is given.

    Raises:
        ValueError: the text is none of these; its own text says what is wrong.
    """
    host, port = _split(text.strip())
    if not host or any(letter.isspace() or letter in "[]/," for letter in host):
        raise ValueError(f"{text!r} is not a host, host:port or [IPv6]:port")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise ValueError(f"{text!r}: the port must be 1 to 65535")
    return Seed(host, int(port))


def _split(text: str) -> tuple[str, str]:
    default = str(DEFAULT_GOSSIP_PORT)
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing or not _is_v6(host) or (rest and not rest.startswith(":")):
            return "", default
        return host, rest[1:] if rest else default
    if text.count(":") > 1:
        return (text if _is_v6(text) else ""), default
    host, colon, port = text.partition(":")
    return host, port if colon else default


def _is_v6(text: str) -> bool:
    try:
        return isinstance(ip_address(text), IPv6Address)
    except ValueError:
        return False


def text_of(endpoint: Endpoint) -> str:
    """Return the endpoint as a `join` takes it: host:port, an IPv6 address in brackets."""
    address, port = endpoint
    return str(Seed(str(address), port))


def alive_endpoints(snapshot: Snapshot) -> frozenset[Endpoint]:
    """Return where the alive members gossip; a member whose address is of no known kind is passed over."""
    return frozenset(
        (address, record.port)
        for record in snapshot.records
        if record.status == _ALIVE and (address := _address(record.address)) is not None
    )


def others(snapshot: Snapshot) -> tuple[Endpoint, ...]:
    """Return where the alive members but the local agent's own gossip, ordered."""
    own = {(_address(record.address), record.port) for record in snapshot.records if record.name == snapshot.agent}
    return tuple(sorted(alive_endpoints(snapshot) - own, key=text_of))


def missing(wanted: Iterable[Endpoint], snapshot: Snapshot) -> tuple[Endpoint, ...]:
    """Return the wanted endpoints at which no alive member gossips, each once, in the given order."""
    present = alive_endpoints(snapshot)
    return tuple(dict.fromkeys(endpoint for endpoint in wanted if endpoint not in present))


def _address(packed: bytes) -> Address | None:
    if len(packed) == 4:
        return IPv4Address(packed)
    if len(packed) != 16:
        return None
    address = IPv6Address(packed)
    return address.ipv4_mapped or address

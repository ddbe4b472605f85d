"""Addresses and ports for a cluster on loopback: every node has an address of its own, all have the same ports."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Network
from pathlib import Path

NETWORKS = 256
_PORT_TRIES = 50


class NoNetworkError(Exception):
    """Every network or port that could be used is taken."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a node; unprivileged, the lab's own where that is possible."""

    http: int = 8080
    stats: int = 1936
    runtime: int = 9999
    admin: int = 9780
    service: int = 3000
    gossip: int = 7946
    rpc: int = 7373


def free_network(first: int, listeners: frozenset[str]) -> IPv4Network:
    """The first 127.20.x.0/24, from x = `first` on and round, in which none of `listeners` is.

    Raises:
        NoNetworkError: somebody listens in each of them.
    """
    taken = {address.rpartition(".")[0] for address in listeners}
    for number in range(first, first + NETWORKS):
        prefix = f"127.20.{number % NETWORKS}"
        if prefix not in taken:
            return IPv4Network(f"{prefix}.0/24")
    raise NoNetworkError("somebody listens in each of the networks 127.20.0.0/24 to 127.20.255.0/24")


def free_ports(address: str, above: Ports | None = None) -> Ports:
    """The usual ports, each replaced by the next free one where somebody listens on it; all above those, if given."""
    usual = Ports() if above is None else Ports(**{key: port + 1 for key, port in asdict(above).items()})
    return Ports(**{field.name: _free_port(address, getattr(usual, field.name)) for field in fields(usual)})


def listening_addresses() -> frozenset[str]:
    """Every IPv4 address of this machine on which a TCP socket listens."""
    table = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = [line.split() for line in table]
    return frozenset(_dotted(row[1].partition(":")[0]) for row in rows if row[3] == "0A")


def _dotted(hexadecimal: str) -> str:
    """`0100147F` is 127.20.0.1: the kernel prints the four bytes as one little-endian number."""
    return socket.inet_ntoa(bytes.fromhex(hexadecimal)[::-1])


def _free_port(address: str, usual: int) -> int:
    for port in range(usual, usual + _PORT_TRIES):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise NoNetworkError(f"no port from {usual} to {usual + _PORT_TRIES - 1} is free on {address}")

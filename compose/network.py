"""Addresses and ports for a cluster on loopback: every node has an address of its own, all have the same ports."""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Iterator
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


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket; `inode` is how /proc names it among the files of its process."""

    address: str
    port: int
    inode: int


def free_networks(first: int, listeners: frozenset[str]) -> Iterator[IPv4Network]:
    """Each 127.20.x.0/24, from x = `first` on and round, in which none of `listeners` is."""
    taken = {address.rpartition(".")[0] for address in listeners}
    for number in range(first, first + NETWORKS):
        prefix = f"127.20.{number % NETWORKS}"
        if prefix not in taken:
            yield IPv4Network(f"{prefix}.0/24")


class Reservation:
    """A network that no other cluster takes while this object lives.

    The kernel keeps it: an abstract unix socket, which ends with its process, and whose name one process has at a time.
    It covers the time until the nodes listen; from then on `listening_addresses` shows that the network is taken.
    """

    def __init__(self, network: IPv4Network, held: socket.socket) -> None:
        self.network = network
        self._release = weakref.finalize(self, os.close, held.detach())

    def release(self) -> None:
        """Let others have the network; twice is fine."""
        self._release()


def reserve(network: IPv4Network) -> Reservation | None:
    """Reserve a network; None where another cluster that starts has done so."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0rosterd-network-{network.network_address}")
    except OSError:
        held.close()
        return None
    return Reservation(network, held)


def reserve_free_network(first: int) -> Reservation:
    """Reserve the first network from `first` on that is neither listened in nor reserved.

    Raises:
        NoNetworkError: there is none.
    """
    for network in free_networks(first, listening_addresses()):
        made = reserve(network)
        if made is not None:
            # Between the look and the reservation another cluster may have begun to listen, and let its own one go.
            if network in free_networks(0, listening_addresses()):
                return made
            made.release()
    raise NoNetworkError("each of the networks 127.20.0.0/24 to 127.20.255.0/24 is listened in or reserved")


def free_ports(address: str, above: Ports | None = None) -> Ports:
    """The usual ports, each replaced by the next free one where somebody listens on it; all above those, if given."""
    usual = Ports() if above is None else Ports(**{key: port + 1 for key, port in asdict(above).items()})
    return Ports(**{field.name: _free_port(address, getattr(usual, field.name)) for field in fields(usual)})


def listening_addresses() -> frozenset[str]:
    """Every IPv4 address of this machine on which a TCP socket listens."""
    return frozenset(listener.address for listener in listeners())


def listeners() -> tuple[Listener, ...]:
    """Every TCP socket that listens on an IPv4 address of this machine."""
    table = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = [line.split() for line in table]
    return tuple(_listener(row[1], int(row[9])) for row in rows if row[3] == "0A")


def _listener(endpoint: str, inode: int) -> Listener:
    address, _, port = endpoint.partition(":")
    return Listener(_dotted(address), int(port, 16), inode)


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

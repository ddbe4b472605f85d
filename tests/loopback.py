"""Addresses for real agents and proxies: each test gets loopback addresses that nobody else holds.

Every agent of a cluster needs the same two ports (gossip 7946, RPC 7373), so nodes differ in their address and not in
their port. Linux answers on all of 127.0.0.0/8. A process starts at a place that its pid gives, far from that of the
next pid, and never hands out an address twice: a dead agent's neighbours may still gossip with the address for a while.
"""

from __future__ import annotations

import itertools
import os
import socket

GOSSIP_PORT = 7946
RPC_PORT = 7373

_BLOCKS = 256
_PER_BLOCK = 254
_TRIES = 1000

_STRIDE = 37
"""So many blocks lie between two processes of which one was started right after the other."""

# The one counter of this process: uniqueness is the whole point.
_numbers = itertools.count((os.getpid() * _STRIDE % _BLOCKS) * _PER_BLOCK)


def free_address(*ports: int) -> str:
    """Return an address of 127.77.0.0/16 on which every one of `ports` is free, and both of Serf's.

    Raises:
        RuntimeError: a thousand addresses in a row were taken.
    """
    wanted = (GOSSIP_PORT, RPC_PORT, *ports)
    for number in itertools.islice(_numbers, _TRIES):
        block, host = divmod(number, _PER_BLOCK)
        address = f"127.77.{block % _BLOCKS}.{host + 1}"
        if all(is_free(address, port) for port in wanted):
            return address
    raise RuntimeError(f"no free address in {_TRIES} tries")


def free_port(address: str = "127.0.0.1") -> int:
    """Return a TCP port of `address` that was free a moment ago."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(address: str, port: int) -> bool:
    """Say whether TCP `port` of `address` can be listened on now."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET

"""Trying the ports of new listeners before HAProxy is asked to bind them.

`haproxy -c` does not see that a port is taken, and a reload that meets one makes the old worker refuse clients for
about two seconds. Rules:

- Only what HAProxy does not hold already is tried: where it listens on that address and port, or on that port of every
  address, they are its own.
- A port that takes rights which HAProxy has and we lack is looked up among the listeners of this machine instead.
- What cannot be tried here proves nothing: a name, a path.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from rosterd.errors import ConfigRefused
from rosterd.server_lines import bind_lines
from rosterd.settings import bind_endpoints

_MOST_PORTS = 100
"""Of one range; each is tried."""

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENS = "0A"
_ACCEPT_S = 0.2

_Endpoint: TypeAlias = tuple[IPv4Address | IPv6Address, int]


def try_new_binds(text: str, held: str, shown_as: Path) -> None:
    """Raise `ConfigRefused`, with file and line, when `text` binds a port that is taken, and not by `held`."""
    ours = {endpoint for _, address in bind_lines(held) for endpoint in _endpoints(address)}
    for line, address in bind_lines(text):
        for endpoint in _endpoints(address):
            if not any(_overlap(endpoint, own) for own in ours) and _is_taken(endpoint):
                raise ConfigRefused(
                    f"[{shown_as}:{line}] : bind {address}: the port {endpoint[1]} is taken by another program"
                )


def _endpoints(address: str) -> Iterator[_Endpoint]:
    return islice(bind_endpoints(address), _MOST_PORTS)


def _overlap(one: _Endpoint, other: _Endpoint) -> bool:
    """Whether they are the same, or one is every address of the other."""
    if one[1] != other[1]:
        return False
    return one[0] == other[0] or one[0].is_unspecified or other[0].is_unspecified


def _is_taken(endpoint: _Endpoint) -> bool:
    address, port = endpoint
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                # The line may say so; then who has the port for IPv4 is no obstacle.
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((str(address), port))
            trial.listen(1)
    except PermissionError:
        return _is_listed(endpoint)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _is_listed(endpoint: _Endpoint) -> bool:
    """Whether somebody listens there, by the kernel's tables; one that listens on all of IPv6 may have IPv4 as well."""
    address, port = endpoint
    if any(_overlap(endpoint, other) for other in _listeners(address.version)):
        return True
    both = address.version == 4 and (IPv6Address("::"), port) in set(_listeners(6))
    return both and _accepts("127.0.0.1" if address.is_unspecified else str(address), port)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_ACCEPT_S).close()
    except OSError:
        return False
    return True


def _listeners(version: int) -> Iterator[_Endpoint]:
    """Who listens on this machine, by the kernel's table; nobody where it cannot be read."""
    try:
        rows = [line.split() for line in _TABLES[version == 6].read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return
    for row in rows:
        if row[3] == _LISTENS:
            address, _, port = row[1].partition(":")
            yield _address_in_table(address), int(port, 16)


def _address_in_table(text: str) -> IPv4Address | IPv6Address:
    """The kernel prints each four bytes of an address as a number of the machine's own byte order."""
    words = (text[start : start + 8] for start in range(0, len(text), 8))
    return ip_address(b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words))

"""Trying the addresses of new listeners before HAProxy is asked to bind them.

`haproxy -c` does not see that a port is taken or that an address is another machine's, and a reload that meets one
makes the old worker refuse clients for about two seconds. Rules:

- Only what HAProxy does not hold already is tried: where it listens on that address and port, or on that port of every
  address, they are its own.
- A port that takes rights which HAProxy has and we lack is looked up among the listeners of this machine instead.
- What cannot be tried here proves nothing: a name, a listener of another network.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TypeAlias

from rosterd.errors import ConfigRefused
from rosterd.proxy.needs import Listener, Needs, Transport
from rosterd.settings import Endpoint

_MOST_PORTS = 100
"""Of one range; each is tried."""

_TABLES = {
    (4, "tcp"): Path("/proc/net/tcp"),
    (6, "tcp"): Path("/proc/net/tcp6"),
    (4, "udp"): Path("/proc/net/udp"),
    (6, "udp"): Path("/proc/net/udp6"),
}
_LISTENS = {"tcp": "0A", "udp": "07"}
"""The state of a socket that takes what comes in, as the tables have it."""
_ACCEPT_S = 0.2

_IP_FREEBIND = 15
_IPV6_FREEBIND = 78
"""Options of Linux that Python's socket module does not name: bind to an address that is not here."""

_Own: TypeAlias = tuple[Endpoint, Transport]
"""An endpoint that HAProxy holds."""


def try_listeners(needs: Needs, held: Needs | None, shown_as: Path) -> None:
    """Raise `ConfigRefused`, with file and line, where HAProxy cannot listen.

    `held` is what HAProxy listens on. Without it, any port may be HAProxy's own, and only addresses are tried.
    """
    ours = None if held is None else {own for listener in held.listeners for own in _own(listener)}
    for listener in needs.listeners:
        for endpoint, _ in _own(listener):
            if problem := _problem(listener, endpoint, ours):
                number, words = listener.line
                raise ConfigRefused(f"[{shown_as}:{number}] : {words}: {problem}")


def _own(listener: Listener) -> Iterator[_Own]:
    return ((endpoint, listener.transport) for endpoint in listener.endpoints[:_MOST_PORTS])


def _problem(listener: Listener, endpoint: Endpoint, ours: set[_Own] | None) -> str:
    """Why HAProxy cannot listen there; empty where it does, or nothing is against it."""
    if ours is not None and (endpoint, listener.transport) in ours:
        return ""
    address, port = endpoint
    match _bind_error(listener, endpoint):
        case errno.EADDRNOTAVAIL:
            family = "ipv6" if address.version == 6 else "ipv4"
            return (
                f"this machine does not have the address {address}: give the line 'transparent' or set "
                f"net.{family}.ip_nonlocal_bind = 1 if the address comes later, as a virtual one does"
            )
        case errno.EAFNOSUPPORT:
            return f"this machine has no IPv{address.version}: leave the line out"
        case errno.EADDRINUSE if ours is not None and not _is_ours(endpoint, listener.transport, ours):
            return f"the port {port} is taken by another program"
        case _:
            return ""


def _is_ours(endpoint: Endpoint, transport: Transport, ours: set[_Own]) -> bool:
    return any(_overlap(endpoint, own) for own, its in ours if its == transport)


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    """Whether they are the same, or one is every address of the other."""
    if one[1] != other[1]:
        return False
    return one[0] == other[0] or one[0].is_unspecified or other[0].is_unspecified


def _bind_error(listener: Listener, endpoint: Endpoint) -> int:
    """Bind there as HAProxy would, and return the kernel's error number; 0 when it went well."""
    address, port = endpoint
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    kind = socket.SOCK_DGRAM if listener.transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as trial:
            if kind == socket.SOCK_STREAM:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # Unless the line says so, a listener on the port for IPv4 is no obstacle.
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not listener.takes_ipv4))
            if listener.is_transparent:
                _let_bind_anywhere(trial)
            trial.bind((str(address), port))
            if kind == socket.SOCK_STREAM:
                trial.listen(1)
    except PermissionError:
        return errno.EADDRINUSE if _is_listed(endpoint, listener.transport) else 0
    except OSError as error:
        return error.errno or 0
    return 0


def _let_bind_anywhere(trial: socket.socket) -> None:
    """As HAProxy does for a `transparent` line; this option, unlike some of its others, takes no rights."""
    if trial.family == socket.AF_INET6:
        trial.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        trial.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)


def _is_listed(endpoint: Endpoint, transport: Transport) -> bool:
    """Whether somebody listens there, by the kernel's tables; one that listens on all of IPv6 may have IPv4 as well."""
    address, port = endpoint
    if any(_overlap(endpoint, other) for other in _listeners(address.version, transport)):
        return True
    both = address.version == 4 and (IPv6Address("::"), port) in set(_listeners(6, transport))
    return both and transport == "tcp" and _accepts("127.0.0.1" if address.is_unspecified else str(address), port)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_ACCEPT_S).close()
    except OSError:
        return False
    return True


def _listeners(version: int, transport: Transport) -> Iterator[Endpoint]:
    """Who listens on this machine, by the kernel's table; nobody where it cannot be read."""
    try:
        rows = [line.split() for line in _TABLES[version, transport].read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return
    for row in rows:
        if row[3] == _LISTENS[transport]:
            address, _, port = row[1].partition(":")
            yield _address_in_table(address), int(port, 16)


def _address_in_table(text: str) -> IPv4Address | IPv6Address:
    """The kernel prints each four bytes of an address as a number of the machine's own byte order."""
    words = (text[start : start + 8] for start in range(0, len(text), 8))
    return ip_address(b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words))

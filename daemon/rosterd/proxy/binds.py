"""Trying the ports of new `bind` lines before HAProxy is asked to.

`haproxy -c` does not see that a port is taken, and a reload that meets one makes the old worker refuse clients for
about two seconds. Rules:

- Only what HAProxy does not hold already is tried: a port that one of its `bind` lines has is its own.
- What cannot be tried here proves nothing: a name, a path, a port that needs rights which HAProxy has and we lack.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from rosterd.errors import ConfigRefused
from rosterd.server_lines import bind_lines

_ENDPOINT = re.compile(
    r"(?P<family>ipv[46]@)?(?P<host>\*|[0-9.]*|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]+):(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?"
)
_MOST_PORTS = 100


def try_new_binds(text: str, held: str, shown_as: Path) -> None:
    """Raise `ConfigRefused`, with file and line, when a port that `text` binds and `held` does not is taken."""
    ours = {port for _, address in bind_lines(held) for _, port in _endpoints(address)}
    for line, address in bind_lines(text):
        for host, port in _endpoints(address):
            if port not in ours and _is_taken(host, port):
                raise ConfigRefused(
                    f"[{shown_as}:{line}] : bind {address}: the port {port} is taken by another program"
                )


def _endpoints(address: str) -> Iterator[tuple[str, int]]:
    match = _ENDPOINT.fullmatch(address)
    if match is None:
        return
    host = match["host"].strip("[]")
    if host in ("", "*"):
        host = "::" if match["family"] == "ipv6@" else "0.0.0.0"  # noqa: S104  what the line says
    first, last = int(match["first"]), int(match["last"] or match["first"])
    for port in range(first, min(last, first + _MOST_PORTS, 65535) + 1):
        yield host, port


def _is_taken(host: str, port: int) -> bool:
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                # The line may say so; then who has the port for IPv4 is no obstacle.
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((host, port))
            trial.listen(1)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    except (ValueError, OverflowError):
        return False  # HAProxy says it better
    return False

"""The kinds of value that a setting can have, each with the check that makes it one.

Pure. A value that passes can stand where it is used: what goes into HAProxy's configuration is one word, an address can
be looked up, a duration is in seconds and not nothing where nothing would mean for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from rosterd.model import Address
from rosterd.serf.endpoints import parse_seed

UNIX_PREFIX = "unix:"
"""How an address begins that is the path of a socket."""

Seconds = Annotated[float, Field(ge=0, le=86400)]
"""A duration from nothing to a day."""

PositiveSeconds = Annotated[float, Field(ge=0.001, le=86400)]
"""A duration from a millisecond to a day: intervals and deadlines. HAProxy counts whole milliseconds, and takes 0 for
"no limit" or refuses it."""


def split_host_port(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` in two parts; ValueError names the text when it is neither."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not _is_host(bare, in_brackets=bare != host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"'{text}' is not host:port")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"'{text}': the port is not from 1 to 65535")
    return bare, int(port)


def _is_host(text: str, *, in_brackets: bool) -> bool:
    """Whether this can be looked up: IPv6 in brackets, anything else without, no label empty or too long."""
    if in_brackets:
        return ":" in text
    return re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", text) is not None


def _one_word(value: str) -> str:
    """Refuse what would end a word or a line in HAProxy's configuration."""
    if re.search(r"[\s\"'#\\]", value) or not value.isprintable():
        raise ValueError("holds a blank, a quote, '#', a backslash or a control character")
    return value


def _host_port(value: str) -> str:
    split_host_port(value)
    return value


HostPort = Annotated[str, AfterValidator(_host_port)]
"""`host:port`."""


def _seed(value: str) -> str:
    parse_seed(value)
    return value


SeedName = Annotated[str, AfterValidator(_seed)]
"""A seed as `parse_seed` takes it."""


def _listen(value: str) -> str:
    if not value.startswith(UNIX_PREFIX):
        return _host_port(value)
    if value == UNIX_PREFIX:
        raise ValueError("the path is missing behind unix:")
    return value


Listen = Annotated[str, AfterValidator(_listen)]
"""`host:port` or `unix:PATH`."""

Word = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_one_word)]
"""Text that stands in the configuration as one word."""


def _file(value: Path) -> Path:
    if not value.name:
        raise ValueError("names no file")
    return value


FilePath = Annotated[Path, AfterValidator(_file)]
"""The path of a file."""


def _path_word(value: Path) -> Path:
    _one_word(str(value))
    return value


PathWord = Annotated[FilePath, AfterValidator(_path_word)]
"""A path that stands in the configuration as one word."""


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("is not absolute, and HAProxy would take it for a host name")
    return value


SocketPath = Annotated[PathWord, AfterValidator(_absolute)]
"""The path of a socket in the configuration."""


def _auto_or_absolute(value: str) -> str:
    if value != "auto" and not value.startswith("/"):
        raise ValueError(f"'{value}' is neither an absolute path nor auto")
    return value


Chroot = Annotated[Word, AfterValidator(_auto_or_absolute)]
"""The path of a directory, or `auto`."""


def _loopback(value: str) -> str:
    host, _ = split_host_port(value)
    if not ip_address(host).is_loopback:
        raise ValueError(f"'{value}' is not on loopback, and whoever reaches it commands HAProxy")
    return value


LoopbackBind = Annotated[Word, AfterValidator(_loopback)]
"""`address:port` on loopback."""

WILDCARD = "*."
"""How a host name begins that stands for all names with its end."""


def _host_name(value: str) -> str:
    name = value.removeprefix(WILDCARD)
    if value == "*":
        raise ValueError("'*' is every host: leave hosts out, and make the service the first one")
    if "*" in name:
        raise ValueError(f"'{value}': a wildcard is a first label alone, such as *.example.org")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", name):
        raise ValueError(
            f"'{value}' is not a host name as clients send it, without a port, such as www.example.org or *.example.org"
        )
    return value


HostName = Annotated[str, AfterValidator(_host_name)]
"""A host name as a client sends it, without a port; or a wildcard, `*.` and the end of such names."""


_BIND = re.compile(
    r"(?P<family>ipv[46]@)?(?P<host>\*|[0-9.]*|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]+)"
    r":(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?"
)
_MOST_PORTS = 1000


Endpoint: TypeAlias = tuple[Address, int]


def bind_endpoints(text: str) -> Iterator[Endpoint]:
    """Where the binds of a text listen, port by port: 0.0.0.0 or :: for every address, nothing for a name or a path."""
    for part in text.split(","):
        match = _BIND.fullmatch(part.strip())
        if match is None:
            continue
        host = match["host"].strip("[]")
        if host in ("", "*"):
            host = "::" if match["family"] == "ipv6@" else "0.0.0.0"  # noqa: S104  what the bind says
        try:
            address = ip_address(host)
        except ValueError:
            continue  # HAProxy says it better
        first, last = int(match["first"]), int(match["last"] or match["first"])
        for port in range(first, min(last, first + _MOST_PORTS, 65535) + 1):
            yield address, port

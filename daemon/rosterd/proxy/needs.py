"""What the start of a HAProxy needs beside a valid text: addresses, folders, rights, open files. No I/O.

`haproxy -c` reads a text and starts nothing, so it does not see that an address is taken or a folder is missing. The
rendered text is read here for what can be tried before HAProxy is asked. Rules:

- Only plain words are read: what is quoted, escaped or taken from the environment is not tried.
- Lines between `.if` and `.endif` are not tried: HAProxy may leave them out.

Sources: HAProxy's configuration manual, "Process management and security", "Address formats", `bind`, `peer`,
`dgram-bind`, and `program`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rosterd.config_lines import config_lines
from rosterd.settings import Endpoint, bind_endpoints

_UNREADABLE = frozenset("\"'\\$")

_STREAM_PREFIXES = ("ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@", "mptcp@", "mptcp4@", "mptcp6@")
_DATAGRAM_PREFIXES = ("udp@", "udp4@", "udp6@", "quic4@", "quic6@")
_UNIX_PREFIXES = ("unix@", "uxst@", "uxdg@")

_ELSEWHERE = frozenset({"interface", "namespace"})
"""Options of a bind line that say which of several networks it is about: the trial has another one."""

_MAX_DIGITS = 12

Transport: TypeAlias = Literal["tcp", "udp"]

Line: TypeAlias = tuple[int, str]
"""A line's number, and its words with single blanks."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One address and port that a start listens on."""

    line: Line
    address: str
    """As the line has it; `endpoints` are the same, port by port."""
    endpoints: tuple[Endpoint, ...]
    transport: Transport
    is_transparent: bool
    takes_ipv4: bool
    """True if a listener on all addresses of IPv6 is to take IPv4 as well."""


@dataclass(frozen=True, slots=True)
class NeededPath:
    """A path that a start creates or enters, and the line that names it."""

    line: Line
    path: str


@dataclass(frozen=True, slots=True)
class NeededFiles:
    """A number of files that a start has to be allowed to open, and the line that makes it so many."""

    line: Line
    count: int


@dataclass(slots=True)
class Needs:
    """What one text needs. `identities` are (keyword, value) of `user`, `uid`, `group` and `gid`."""

    listeners: list[Listener] = field(default_factory=list)
    socket_files: list[NeededPath] = field(default_factory=list)
    pidfiles: list[NeededPath] = field(default_factory=list)
    chroots: list[NeededPath] = field(default_factory=list)
    programs: list[NeededPath] = field(default_factory=list)
    identities: list[tuple[Line, str, str]] = field(default_factory=list)
    open_files: list[NeededFiles] = field(default_factory=list)
    is_strict: bool = True
    """True if HAProxy refuses to start with fewer open files than it needs."""


def read_needs(text: str, host_name: str = "") -> Needs:
    """Read what the start of HAProxy needs; `host_name` is what it takes for its own name among peers."""
    lines = list(_plain_lines(text))
    words_of_global = [words for _, section, words in lines if section == "global"]
    own_name = _last_value(words_of_global, ["localpeer"]) or host_name
    prefix = _last_value(words_of_global, ["unix-bind", "prefix"])
    needs = Needs()
    for line, section, words in lines:
        if section == "global":
            _take_global(needs, line, words)
        elif section == "program" and words[0] == "command" and words[1].startswith("/"):
            needs.programs.append(NeededPath(line, words[1]))
        elif words[0] in ("bind", "dgram-bind"):
            _take_addresses(needs, line, words[1], words[2:], prefix, "udp" if words[0] == "dgram-bind" else "tcp")
        elif section == "peers" and words[0] in ("peer", "server") and words[1] == own_name and len(words) > 2:
            _take_addresses(needs, line, words[2], words[3:], prefix, "tcp")
    return needs


def _last_value(lines: list[list[str]], before: list[str]) -> str:
    found = [words[len(before)] for words in lines if words[: len(before)] == before and len(words) > len(before)]
    return found[-1] if found else ""


def _plain_lines(text: str) -> Iterator[tuple[Line, str, list[str]]]:
    """Yield each line of two words or more that HAProxy certainly reads as it stands, with its section."""
    for line in config_lines(text):
        if line.is_conditional or line.begins_section or len(line.words) < 2 or _UNREADABLE & set(line.text):
            continue
        yield (line.number, " ".join(line.words)), line.section.keyword, list(line.words)


def _take_global(needs: Needs, line: Line, words: list[str]) -> None:
    match words:
        case ["stats", "socket", address, *options]:
            _take_addresses(needs, line, address, options, "", "tcp")
        case ["chroot", path]:
            needs.chroots = [NeededPath(line, path)]
        case ["pidfile", path]:
            needs.pidfiles = [NeededPath(line, path)]
        case [("user" | "uid" | "group" | "gid") as keyword, value]:
            needs.identities.append((line, keyword, value))
        case ["ulimit-n", count] if _is_number(count):
            needs.open_files.append(NeededFiles(line, int(count)))
        case ["maxconn", count] if _is_number(count):
            needs.open_files.append(NeededFiles(line, 2 * int(count)))
        case ["no", "strict-limits"]:
            needs.is_strict = False
        case _:
            pass


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < _MAX_DIGITS


def _take_addresses(
    needs: Needs, line: Line, addresses: str, options: list[str], prefix: str, transport: Transport
) -> None:
    if _ELSEWHERE & set(options):
        return
    for address in addresses.split(","):
        if path := _socket_path(address):
            needs.socket_files.append(NeededPath(line, prefix + path))
            continue
        bare, by_prefix = _without_prefix(address)
        needs.listeners.append(
            Listener(
                line=line,
                address=address,
                endpoints=tuple(bind_endpoints(bare)),
                transport=by_prefix or transport,
                is_transparent="transparent" in options,
                takes_ipv4="v4v6" in options,
            )
        )


def _socket_path(address: str) -> str:
    """The path of a unix socket; empty for any other address."""
    if address.startswith("/"):
        return address
    prefix, _, path = address.partition("@")
    return path if f"{prefix}@" in _UNIX_PREFIXES else ""


def _without_prefix(address: str) -> tuple[str, Transport | None]:
    """The address with at most a prefix that says its IP version, and the transport that its prefix names."""
    address = address.removeprefix("stream+")
    bare = address.removeprefix("dgram+")
    named: Transport | None = "udp" if bare != address else None
    for prefix in (*_STREAM_PREFIXES, *_DATAGRAM_PREFIXES):
        if bare.startswith(prefix):
            version = "ipv6@" if "6" in prefix else "ipv4@" if "4" in prefix else ""
            return version + bare.removeprefix(prefix), "udp" if prefix in _DATAGRAM_PREFIXES else named
    return bare, named

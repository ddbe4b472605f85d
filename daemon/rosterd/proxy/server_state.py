"""HAProxy's server state file: how health survives a reload.

A new worker takes every server for up until the server's first check has failed. HAProxy can start from the state that
a file gives instead. Pure: what the file says, and the lines of a configuration that have HAProxy read it.

- The file is written for one reload and emptied after it, so that a later start of HAProxy never reads old health.
- It says one thing only, "down", and only of servers that a check can bring up again. It carries no address, weight,
  drain or maintenance: those are in the configuration. Servers without a row start as they always do.
- A row has the 20 fields that the format demands. From the optional ones HAProxy would take TLS and the ports of
  checks, and so undo an edit of them.

Sources: HAProxy's management guide, "show servers state"; configuration manual, "server-state-file" and
"load-server-state-from-file"; `src/server_state.c`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from rosterd.proxy.commands import HealthRow, health_rows
from rosterd.server_lines import checked_endpoints

NO_HEALTH = "1\n"
"""A file without a row: the format's number alone. HAProxy 2.6 warns of a file that is missing."""

_FILE = "server-state-file"
_LOAD = "load-server-state-from-file"

_SOCKETS = ("unix@", "abns@", "abnsz@")


def known_down(servers_state: str, text: str) -> str:
    """The content of the state file for a reload to `text`; `servers_state` is what the running worker answers.

    It names the servers that a check has found down, and those that were added at run time and have not passed their
    first check, if `text` has them with a check, at the same address and port. Raises `ProxyGarbled`.
    """
    rows = [row for row in health_rows(servers_state) if _gets_no_traffic(row)]
    endpoints = checked_endpoints(text) if rows else {}
    return NO_HEALTH + "".join(_line(row) for row in rows if _is_at(row, endpoints.get((row.backend, row.server))))


def servers_in(content: str) -> int:
    """The number of servers that the content of a state file names."""
    return content.count("\n") - 1


def _gets_no_traffic(row: HealthRow) -> bool:
    if row.in_maintenance:
        return False  # a server in maintenance is stopped, whatever its check would find
    return not row.up or (row.weight == 0 and row.never_checked)


def _line(row: HealthRow) -> str:
    """The fields in the format's order, from `be_id` to `srvrecord`; "-" and 0 where HAProxy keeps what it has.

    A weight counts only where it was configured as the line says: 0 and 0 leave the configuration's. The check is one
    that has not run in the new worker (1), has failed (2) and is enabled (6).
    """
    return f"0 {row.backend} 0 {row.server} - 0 0 0 0 {row.age_s} 1 2 0 6 0 0 0 - {row.port} -\n"


def _is_at(row: HealthRow, endpoint: str | None) -> bool:
    """True if the row is about the server at this endpoint: the same port, and no other address or host name.

    HAProxy takes the port from the row. A host that cannot be compared, such as a variable, counts as the same: at
    worst a server has to pass its checks first.
    """
    if endpoint is None:
        return False
    if "/" in endpoint or endpoint.startswith(_SOCKETS):
        return row.address == "-"
    host, port = _host_and_port(endpoint)
    if port != row.port:
        return False
    try:
        return ip_address(host) == ip_address(row.address)
    except ValueError:
        return row.host_name in ("-", host)


def _host_and_port(endpoint: str) -> tuple[str, str]:
    """Both parts; the port is 0, as HAProxy shows it, where a server has none."""
    host, colon, port = endpoint.rpartition("@")[2].rpartition(":")
    return (host.strip("[]"), port) if colon else (port, "0")


# --- the configuration's lines ----------------------------------------------------------------------------------


_OWN_LINE = re.compile(rf"(?m)^[ \t]*(?:{_FILE}|{_LOAD})\b")
_GLOBAL = re.compile(r"(?m)^[ \t]*global\b[^\n]*\n")
_BACKEND = re.compile(r"(?m)^[ \t]*(?:backend|listen)[ \t]+[^\s#][^\n]*\n")


def with_server_state(text: str, path: str) -> str:
    """A configuration that has HAProxy read the state file at `path`, and is the same otherwise.

    A text that says itself which state file HAProxy reads, or that it reads none, stays as it is.
    """
    if _OWN_LINE.search(text):
        return text
    lines = (
        "    # By rosterd: what was down before a reload stays down until its checks pass.\n"
        f"    {_FILE} {_quoted(path)}\n"
    )
    text = _GLOBAL.sub(lambda heading: heading[0] + lines, text, count=1)
    return _BACKEND.sub(lambda heading: f"{heading[0]}    {_LOAD} global\n", text)


def reads_server_state(text: str, path: str) -> bool:
    """True if HAProxy reads the state file at `path` when it starts from this text."""
    wanted = (f"{_FILE} {path}", f"{_FILE} {_quoted(path)}")
    return any(line.strip() in wanted for line in text.split("\n"))


def _quoted(path: str) -> str:
    """The path as one word of HAProxy's configuration, blanks and all."""
    return '"' + re.sub(r'(["\\$])', r"\\\1", path) + '"'

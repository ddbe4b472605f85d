"""Whether something answers: for HEALTHCHECK, so it starts in no time and needs nothing installed.

    python -S -m compose.node.healthy http://127.0.0.1:3000/      200 is healthy
    python -S -m compose.node.healthy tcp://127.0.0.1:2514        a program that listens is healthy

Exit codes: 0 it is, 1 it is not, and why on standard error.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

ANSWER_S = 2.0
LISTENS = "0A"


def problem_with(url: str) -> str:
    """Why it is not healthy; empty when it is."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "tcp":
            # By the kernel's table: a connection that says nothing would be an error in the program's log each time.
            return "" if parts.port in listening_ports() else f"{url}: nobody listens"
        status = _status(parts.hostname or "", parts.port or 80, parts.path or "/")
    except (OSError, HTTPException) as error:
        return f"{url}: {error}"
    return "" if status == 200 else f"{url}: status {status}"


def listening_ports() -> frozenset[int]:
    """The TCP ports on which programs of this container listen."""
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    lines = [line.split() for table in tables for line in table.read_text(encoding="ascii").splitlines()[1:]]
    return frozenset(int(words[1].rpartition(":")[2], 16) for words in lines if words[3] == LISTENS)


def _status(host: str, port: int, path: str) -> int:
    connection = HTTPConnection(host, port, timeout=ANSWER_S)
    try:
        # HEAD is what HAProxy's check sends, and changes no session.
        connection.request("HEAD" if path == "/" else "GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    problem = problem_with(sys.argv[1])
    sys.stderr.write(problem and f"{problem}\n")
    sys.exit(1 if problem else 0)

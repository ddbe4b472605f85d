"""The first line of a connection to the runtime relay: a command of HAProxy, or something that must not reach it.

Pure. HAProxy's runtime API skips the lines that it does not know and obeys the next one. A web page can therefore send
commands as the body of a request, and a server that fetches addresses for others can do the same. Each protocol that
such a sender is bound to shows in the first line: HTTP by its request line, TLS and the binary protocols by a byte that
no command starts with.
"""

from __future__ import annotations

import re

MAX_FIRST_LINE = 16384
"""Bytes; HAProxy takes no longer line either."""

_HTTP_VERSION = re.compile(rb"HTTP/", re.IGNORECASE)
_REQUEST_LINE = re.compile(rb"\S+\s+(?:/|\*|\w+://)")
_COMMAND = re.compile(rb"[a-z@;][\x20-\x7e\t]*\s*|[a-z@;].*<<.*", re.DOTALL)


def refusal(line: bytes) -> str:
    """Return why this first line must not reach HAProxy; empty if it may."""
    if len(line) > MAX_FIRST_LINE:
        return f"the first line is longer than {MAX_FIRST_LINE} bytes"
    text = line.strip()
    if _HTTP_VERSION.search(text) or _REQUEST_LINE.match(text):
        return "the first line is an HTTP request"
    if not _COMMAND.fullmatch(text):
        return "the first line does not start like a command of HAProxy"
    return ""

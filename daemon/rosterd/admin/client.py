"""How a command asks the running daemon, and follows what it tells."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from rosterd.admin.events import ALIVE_EVERY_S, STREAM
from rosterd.admin.server import MARK
from rosterd.errors import DaemonUnreachable
from rosterd.settings import UNIX_PREFIX

DEADLINE_S = 5.0

LONGEST_EVENT = 2**20
"""Bytes; a line names so many members and commands that it stays far below."""


async def ask(listen: str, path: str) -> dict[str, Any]:
    """GET a path of the admin interface and return its JSON object.

    DaemonUnreachable when nobody answers there, or somebody else does.
    """
    try:
        async with _session(listen, aiohttp.ClientTimeout(DEADLINE_S)) as session, session.get(path) as response:
            answer = await response.json() if _is_ours(response) else None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise _unreachable(listen, error) from error
    if not isinstance(answer, dict):
        raise DaemonUnreachable(f"what answers at {listen} is not rosterd")
    return answer


async def follow(listen: str, after: str) -> AsyncIterator[dict[str, Any]]:
    """The daemon's events after the one with the id `after`, as they come; an empty id starts with what comes next.

    DaemonUnreachable when nobody answers, somebody else does, or the daemon goes away.
    """
    silence = aiohttp.ClientTimeout(total=None, sock_connect=DEADLINE_S, sock_read=2 * ALIVE_EVERY_S)
    headers = {"Accept": STREAM} | ({"Last-Event-ID": after} if after else {})
    try:
        async with _session(listen, silence) as session, session.get("/v1/events", headers=headers) as response:
            if not _is_ours(response) or response.content_type != STREAM:
                raise DaemonUnreachable(f"what answers at {listen} is not rosterd, or has too many readers")
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise _unreachable(listen, error) from error
    raise DaemonUnreachable(f"rosterd at {listen} has ended the stream")


def _session(listen: str, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    connector = aiohttp.UnixConnector(listen.removeprefix(UNIX_PREFIX)) if listen.startswith(UNIX_PREFIX) else None
    base = "http://rosterd" if connector else f"http://{listen}"
    # A line of the stream is one event, which may list many commands.
    return aiohttp.ClientSession(base, connector=connector, timeout=timeout, read_bufsize=LONGEST_EVENT)


def _is_ours(response: aiohttp.ClientResponse) -> bool:
    return response.ok and response.headers.get(MARK) is not None


def _unreachable(listen: str, error: Exception) -> DaemonUnreachable:
    return DaemonUnreachable(
        f"no rosterd answers at {listen} ({error}); is it running, and is admin.listen the same for both?"
    )

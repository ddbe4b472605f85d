"""How a command asks the running daemon, and follows what it tells."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from rosterd.admin.events import ALIVE_EVERY_S, STREAM
from rosterd.admin.server import MARK
from rosterd.errors import DaemonUnreachable
from rosterd.parse import escaped
from rosterd.settings import UNIX_PREFIX

DEADLINE_S = 5.0

LONGEST_EVENT = 2**20
"""Bytes; a line names so many members and commands that it stays far below."""

LONGEST_REFUSAL = 500
"""Bytes of what a daemon says when it does not give what was asked for."""


async def ask(listen: str, path: str) -> dict[str, Any]:
    """GET a path of the admin interface and return its JSON object.

    DaemonUnreachable when nobody answers there, somebody else does, or the daemon does not give it.
    """
    try:
        async with _session(listen, aiohttp.ClientTimeout(DEADLINE_S)) as session, session.get(path) as response:
            await _check(response, listen)
            answer = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise _unreachable(listen, error) from error
    if not isinstance(answer, dict):
        raise DaemonUnreachable(f"rosterd at {listen} answers {path} with no JSON object")
    return answer


async def follow(listen: str, after: str) -> AsyncIterator[dict[str, Any]]:
    """The daemon's events after the one with the id `after`, as they come; an empty id starts with what comes next.

    DaemonUnreachable when nobody answers, somebody else does, or the daemon has too many readers or goes away.
    """
    silence = aiohttp.ClientTimeout(total=None, sock_connect=DEADLINE_S, sock_read=2 * ALIVE_EVERY_S)
    headers = {"Accept": STREAM} | ({"Last-Event-ID": after} if after else {})
    try:
        async with _session(listen, silence) as session, session.get("/v1/events", headers=headers) as response:
            await _check(response, listen)
            if response.content_type != STREAM:
                raise DaemonUnreachable(f"rosterd at {listen} answers with no stream of events")
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


async def _check(response: aiohttp.ClientResponse, listen: str) -> None:
    """Raise what a person should know of an answer that is not a daemon's, or not the one that was asked for."""
    if MARK not in response.headers:
        raise DaemonUnreachable(f"what answers at {listen} is not rosterd")
    if not response.ok:
        said = (await response.content.read(LONGEST_REFUSAL)).decode(errors="replace")
        why = escaped(" ".join(said.split())) or "without a word"
        raise DaemonUnreachable(f"rosterd at {listen} answers {response.status}: {why}")


def _unreachable(listen: str, error: Exception) -> DaemonUnreachable:
    return DaemonUnreachable(
        f"no rosterd answers at {listen} ({error}); is it running, and is admin.listen the same for both?"
    )

"""How a command asks the running daemon."""

from __future__ import annotations

from typing import Any

import aiohttp

from rosterd.admin.server import MARK
from rosterd.errors import DaemonUnreachable
from rosterd.settings import UNIX_PREFIX

DEADLINE_S = 5.0


async def ask(listen: str, path: str) -> dict[str, Any]:
    """GET a path of the admin interface and return its JSON object.

    DaemonUnreachable when nobody answers there, or somebody else does.
    """
    connector = aiohttp.UnixConnector(listen.removeprefix(UNIX_PREFIX)) if listen.startswith(UNIX_PREFIX) else None
    base = "http://rosterd" if connector else f"http://{listen}"
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(DEADLINE_S)) as session,
            session.get(base + path) as response,
        ):
            is_ours = response.ok and response.headers.get(MARK) is not None
            answer = await response.json() if is_ours else None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise DaemonUnreachable(
            f"no rosterd answers at {listen} ({error}); is it running, and is admin.listen the same for both?"
        ) from error
    if not isinstance(answer, dict):
        raise DaemonUnreachable(f"what answers at {listen} is not rosterd")
    return answer

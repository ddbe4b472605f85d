"""How many old workers HAProxy still has, by its master's word."""

from __future__ import annotations

from rosterd.errors import ProxyError
from rosterd.proxy.reload import Master


async def count_old_workers(master: Master) -> int | None:
    """Those that still finish their connections; None where the master does not say."""
    try:
        return len((await master.processes()).old_workers)
    except ProxyError:
        return None

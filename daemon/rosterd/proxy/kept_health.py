"""What HAProxy knows of the health of its servers, kept over one reload.

The server state file is written just before the reload and emptied as soon as that is over, however it ended. Health
that cannot be read or written is lost, and the reload goes on without: a configuration that waits for ever is worse
than a server that has to fail its first check again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from rosterd.errors import ConfigFileError, ProxyError
from rosterd.proxy.commands import Processes
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.reload import Master
from rosterd.proxy.server_state import NO_HEALTH, known_down, reads_server_state, servers_in

log = structlog.get_logger(__name__)


@asynccontextmanager
async def kept_health(master: Master, file: ConfigFile, processes: Processes, text: str) -> AsyncIterator[int]:
    """Have a reload to `text` start from the health that the running worker knows; the number of servers kept down.

    `processes` is how HAProxy stands before the reload.
    """
    if not reads_server_state(text, str(file.server_state)):
        yield 0
        return
    try:
        yield await _write_health(master, file, processes, text)
    finally:
        _write(file, NO_HEALTH)


async def _write_health(master: Master, file: ConfigFile, processes: Processes, text: str) -> int:
    content = NO_HEALTH
    try:
        if processes.workers:
            content = known_down(await master.servers_state(processes.workers[0]), text)
    except ProxyError as error:
        _log_loss(error)
    return servers_in(content) if _write(file, content) else 0


def _write(file: ConfigFile, content: str) -> bool:
    try:
        file.write_server_state(content)
    except ConfigFileError as error:
        _log_loss(error)
        return False
    return True


def _log_loss(error: ProxyError) -> None:
    log.warning(
        "reload.health_lost",
        error=str(error),
        effect="servers that are down may get requests until their first check after the reload has failed",
    )

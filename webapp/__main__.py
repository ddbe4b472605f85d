"""`python -m webapp`: serve until SIGTERM or SIGINT, finish what runs, exit 0.

Exit codes: 0 stopped as asked, 2 wrong settings, 3 cannot listen (uvicorn has logged why).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import uvicorn

from webapp.app import LONGEST_DELAY_MS, create_app
from webapp.logs import log_to_stdout
from webapp.networks import read_own_networks
from webapp.settings import WebappSettingsError, read_settings

if TYPE_CHECKING:
    from types import FrameType

    from webapp.settings import WebappSettings

EXIT_SETTINGS = 2
# Longer than the longest answer, shorter than the `stopwaitsecs` in supervisord.conf.
LONGEST_GOODBYE_S = LONGEST_DELAY_MS // 1000 + 2
# HAProxy keeps idle connections for reuse and purges them after some seconds: it must be the first to let go, or
# it sends a request into a connection that this end has just closed.
LONGEST_IDLE_S = 60

log = logging.getLogger("webapp")


async def serve(settings: WebappSettings) -> None:
    """Serve until uvicorn caught a signal and every running request has its answer."""
    config = uvicorn.Config(
        create_app(settings, asyncio.sleep),
        host=settings.address,
        port=settings.port,
        log_config=None,
        access_log=False,  # HAProxy's access log has each request already, with the server that answered it
        server_header=False,
        proxy_headers=False,  # the app itself judges both addresses: the peer's, and the one that the balancer names
        timeout_keep_alive=LONGEST_IDLE_S,
        timeout_graceful_shutdown=LONGEST_GOODBYE_S,
    )
    log.info("webapp.started", extra={"fields": {"address": settings.address, "port": settings.port}})
    try:
        await uvicorn.Server(config).serve()
    finally:
        log.info("webapp.stopped")


def main() -> None:
    """Read the settings and serve."""
    try:
        settings = read_settings(os.environ, read_own_networks())
    except WebappSettingsError as error:
        sys.stderr.write(f"webapp: {error}\n")
        sys.exit(EXIT_SETTINGS)
    log_to_stdout(settings.node)
    # uvicorn takes these signals over while it serves and, when all is done, raises them again for whoever
    # had them before. That is us: a stop that was asked for is success, not a death by signal.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    asyncio.run(serve(settings))


def _end(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()

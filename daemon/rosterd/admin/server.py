"""The admin interface: aiohttp inside the daemon's loop, read-only, on loopback or a unix socket.

    /             the page for people, see page.py
    /healthz      200 while the daemon answers
    /readyz       200 once a first complete state is in force, while HAProxy answers and the agent has not been silent
                  for too long; else 503 with the reasons
    /metrics      numbers, for Prometheus (metrics.py)
    /v1/status    everything worth knowing, as JSON
    /v1/members   the member table, as JSON
    /v1/events    what happened: a list, or a stream that goes on (events.py)
    /v1/openapi.json  a description of all this, for programs

Every answer carries the header `X-Rosterd-Version`. It asks the controller for one report a request, and HAProxy at
most once a second for what only HAProxy knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

from aiohttp import web

from rosterd import __version__
from rosterd.admin import page
from rosterd.admin.connections import Limits, serving_at
from rosterd.admin.etag import tagged
from rosterd.admin.events import EventSource
from rosterd.admin.insight import Insight
from rosterd.admin.metrics import Figures
from rosterd.answers import Status, members_answer, ready_answer, status_answer
from rosterd.exposition import CONTENT_TYPE, exposition
from rosterd.usage import usage

MARK = "X-Rosterd-Version"
"""The header by which a command knows that it is a rosterd that answers."""

LIMITS = Limits()

OPENAPI = files("rosterd.admin") / "openapi.json"


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    response.headers[MARK] = __version__


def application(insight: Insight) -> web.Application:
    """The routes."""
    report = insight.report
    source = EventSource(insight.history)
    description = OPENAPI.read_bytes()

    async def whole_status() -> Status:
        reading = await insight.traffic()
        return status_answer(report(), reading)

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        now = report()
        return web.json_response(ready_answer(now), status=200 if now.ready else 503)

    async def status(request: web.Request) -> web.Response:
        return tagged(request, await whole_status())

    async def members(request: web.Request) -> web.Response:
        return tagged(request, members_answer(report()))

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        figures = Figures(insight.metrics, report(), usage(), await insight.old_workers())
        return web.Response(body=exposition(figures.families()).encode(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.on_response_prepare.append(_sign)
    app.on_shutdown.append(source.close)
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/v1/status", status),
            web.get("/v1/members", members),
            web.get("/v1/events", source.get, allow_head=False),  # a stream has no end that HEAD could tell of
            web.get("/v1/openapi.json", openapi),
            *page.routes(whole_status, insight.history.newest),
        ]
    )
    return app


@asynccontextmanager
async def serving(listen: str, insight: Insight, limits: Limits = LIMITS) -> AsyncIterator[None]:
    """Serve at `listen` (host:port or unix:PATH) until the context is left; AdminAddressTaken when that cannot be."""
    async with serving_at(listen, application(insight), limits):
        yield

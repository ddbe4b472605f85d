"""The web app: one page that says who answered, and one knob that makes this node slow.

- `GET /` answers `{hello, ip, host, tag, sessionViews, id}` and the header `x-backend-ip`. `sessionViews`
  counts this browser's visits; the count travels in the signed cookie `NODESESSID`, so any node can go on
  with it.
- `POST /delay {"delay": ms}` slows every later answer of this node, 0 to 10,000 ms. The body has the content type
  `application/json`, which a form of another site cannot send. The request comes from one of the settings' networks:
  its peer does, and so does the client that the balancer in front names in `X-Forwarded-For`.
- `HEAD /` is HAProxy's health check: no session and no delay. The check asks whether the node lives, and a
  node that was made slow does; were the check slow too, a long delay would show up as a death.

Rules: nothing blocks the loop; no state but the delay, which belongs to one `create_app`; every refusal is
JSON that names the key at fault; a client that hangs up is one line in the log.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from webapp.networks import is_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from webapp.networks import Network
    from webapp.settings import WebappSettings

    Sleep = Callable[[float], Awaitable[None]]

SESSION_COOKIE = "NODESESSID"
LONGEST_DELAY_MS = 10_000
LONGEST_DELAY_BODY = 256

log = logging.getLogger("webapp")


class JSONLine(JSONResponse):
    """JSON with a line end, so that a terminal's prompt does not stick to it."""

    def render(self, content: object) -> bytes:
        """The body."""
        return super().render(content) + b"\n"


@dataclass(slots=True)
class Pace:
    """How long this node waits before each answer, in seconds."""

    delay_s: float = 0.0


class DelayRefused(ValueError):
    """The body of `POST /delay` is not what it must be; `key` names the part at fault."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


class SlowDown:
    """ASGI middleware that waits before every answer but the health check's."""

    def __init__(self, app: ASGIApp, pace: Pace, sleep: Sleep) -> None:
        self._app = app
        self._pace = pace
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait as long as the node's pace says, then answer."""
        if scope["type"] == "http" and scope["method"] != "HEAD" and self._pace.delay_s > 0:
            await self._sleep(self._pace.delay_s)
        await self._app(scope, receive, send)


class Pages:
    """The two pages of one node; `delay_from` are the networks from which its delay may be set."""

    def __init__(self, node: str, pace: Pace, delay_from: tuple[Network, ...]) -> None:
        self._node = node
        self._delay_from = delay_from
        self._host = socket.gethostname()
        self._pace = pace

    async def home(self, request: Request) -> Response:
        """Say who answered, and count this browser's visit."""
        address = _own_address(request)
        headers = {"x-backend-ip": address, "cache-control": "no-store"}
        if request.method == "HEAD":
            return Response(headers=headers)
        session = request.session
        session["id"] = session.get("id") or uuid4().hex
        session["views"] = session.get("views", 0) + 1
        answer = {
            "hello": "world!",
            "ip": address,
            "host": self._host,
            "tag": self._node,
            "sessionViews": session["views"],
            "id": session["id"],
        }
        return JSONLine(answer, headers=headers)

    async def delay(self, request: Request) -> Response:
        """Set the wait before every later answer of this node."""
        outside = [address for address in _senders(request) if not is_within(address, self._delay_from)]
        if outside:
            problem = f"client: {outside[0]} is in none of the networks of WEBAPP_DELAY_FROM"
            return JSONLine({"error": problem, "key": "client"}, status_code=403)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            problem = f"content-type: must be application/json, not {media_type!r}"
            return JSONLine({"error": problem, "key": "content-type"}, status_code=415)
        try:
            body = await _short_body(request)
        except ClientDisconnect:
            log.info("request.abandoned", extra={"fields": {"path": request.url.path}})
            return Response(status_code=400)  # nothing is sent: the connection is gone
        if body is None:
            problem = f"body: longer than {LONGEST_DELAY_BODY} bytes"
            return JSONLine({"error": problem, "key": "body"}, status_code=413)
        try:
            delay_ms = parse_delay(body)
        except DelayRefused as refused:
            return JSONLine({"error": str(refused), "key": refused.key}, status_code=422)
        self._pace.delay_s = delay_ms / 1000
        log.info("delay.changed", extra={"fields": {"delay_ms": delay_ms}})
        return JSONLine({"delay": delay_ms})


def create_app(settings: WebappSettings, sleep: Sleep) -> Starlette:
    """The app of one node; each call has a pace of its own. `sleep` waits for so many seconds."""
    pace = Pace()
    pages = Pages(settings.node, pace, settings.delay_from)
    return Starlette(
        routes=[
            Route("/", pages.home, methods=["GET"]),  # starlette answers HEAD wherever it answers GET
            Route("/delay", pages.delay, methods=["POST"]),
        ],
        middleware=[
            Middleware(SlowDown, pace=pace, sleep=sleep),
            Middleware(SessionMiddleware, secret_key=settings.secret, session_cookie=SESSION_COOKIE),
        ],
        exception_handlers={HTTPException: _refusal},
    )


def parse_delay(body: bytes) -> int:
    """The milliseconds in the body of `POST /delay`.

    Raises:
        DelayRefused: the body is no JSON object, has no `delay`, or `delay` is no whole number in range.
    """
    try:
        value = json.loads(body)
    except ValueError:
        raise DelayRefused("body", 'must be JSON such as {"delay": 250}') from None
    if not isinstance(value, dict) or "delay" not in value:
        raise DelayRefused("delay", 'missing; send JSON such as {"delay": 250}')
    delay = value["delay"]
    whole = isinstance(delay, int) and not isinstance(delay, bool)
    if not whole or not 0 <= delay <= LONGEST_DELAY_MS:
        raise DelayRefused(
            "delay",
            f"must be a whole number of milliseconds from 0 to {LONGEST_DELAY_MS}, not {json.dumps(delay)}",
        )
    return int(delay)


async def _short_body(request: Request) -> bytes | None:
    """The request's body, or None as soon as it is longer than any sensible one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_DELAY_BODY:
            return None
    return body


def _senders(request: Request) -> tuple[str, ...]:
    """Return the peer's address, and the client's where a balancer names it: the last one, which no client writes."""
    peer = request.client.host if request.client else "unknown"
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    return (peer, forwarded.rpartition(",")[2].strip()) if forwarded else (peer,)


def _own_address(request: Request) -> str:
    """Where this request reached the node: right in a container and on a loopback address alike."""
    server = request.scope.get("server")
    return str(server[0]) if server else "unknown"


async def _refusal(_request: Request, error: Exception) -> Response:
    """Unknown page or method, as JSON."""
    assert isinstance(error, HTTPException)  # noqa: S101  starlette calls it for nothing else; narrows the type
    return JSONLine({"error": error.detail}, status_code=error.status_code, headers=error.headers)

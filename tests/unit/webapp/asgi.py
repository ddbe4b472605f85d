"""Calls an ASGI app in this very process: one request in, one answer out, no socket and no client library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True)
class Answer:
    """What the app sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  JSON is any value
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def cookie(self) -> str:
        """The `name=value` of the cookie that was set."""
        return self.headers["set-cookie"].split(";")[0]


JSON = {"content-type": "application/json"}


async def call(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes | None = b"",
    headers: Mapping[str, str] = JSON,
    *,
    client: str = "127.0.0.1",
) -> Answer:
    """Send one request that arrived on 127.9.9.9; without a body the client hangs up before it has sent one."""
    sent: list[Message] = []

    async def receive() -> Message:
        if body is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(key.encode(), value.encode()) for key, value in headers.items() if value],
        "server": ("127.9.9.9", 3000),
        "client": (client, 50_000),
    }
    await app(scope, receive, send)
    answered = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))

"""The page at `/`: what an operator wants to see at a glance, rendered here.

Rules:

- Everything comes from the status and the events, as programs get them, and in the words that the commands use.
- Without JavaScript the facts are all there. The script only fetches the same page again and takes over what differs.
- Nothing from outside: no font, no image, no script of others, and a policy by which a browser would refuse them. Text
  from the network is escaped by the template, everywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jinja2
from aiohttp import web

from rosterd import words

Json = Mapping[str, Any]
NewestEvents = Callable[[int], Iterable[Json]]
"""Gives so many of the newest events at most."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What every answer of this module carries."""

SHOWN_CHANGES = 20
"""How many traces the page shows."""

READ_EVENTS = 200
"""Among how many of the newest events these are looked for."""

SHOWN_SERVERS = 300
"""How many servers of a service it shows; they take milliseconds to render, in which the loop stands still."""

_FOLDER = files("rosterd.admin") / "page"
_STATIC = {"page.css": "text/css", "page.js": "text/javascript", "page.svg": "image/svg+xml"}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((_FOLDER / "page.html").read_text(encoding="utf-8"))


_PAGE = _template()


def render(status: Json, events: Iterable[Json], now: datetime) -> str:
    """The whole page."""
    troubles = words.troubles(status)
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def when(time: str) -> str:
        """The time of day, and the day if it was another."""
        return f"{time[11:19]} UTC" if time[:10] == at[:10] else f"{time[:10]} {time[11:19]} UTC"

    return _PAGE.render(
        status=status,
        title=_title(status, troubles),
        at=at,
        when=when,
        urgent=[trouble for trouble in troubles if trouble.urgent],
        notes=[trouble for trouble in troubles if not trouble.urgent],
        services=words.services(status, SHOWN_SERVERS),
        changes=words.changes(events, SHOWN_CHANGES),
        facts=list(_facts(status)),
    )


def _title(status: Json, troubles: Sequence[words.Trouble]) -> str:
    """What a tab shows: the worst first."""
    urgent = [trouble.kind for trouble in troubles if trouble.urgent]
    name = f"rosterd {status['agent'].get('address') or ''}".strip()
    return f"{', '.join(urgent) or 'ready'} - {name}"


def _facts(status: Json) -> Iterator[tuple[str, str]]:
    agent, proxy = status["agent"], status["proxy"]
    yield "Serf agent", f"{words.side(agent)}, health score {agent['health_score']}"
    yield (
        "HAProxy",
        f"{words.side(proxy)}, version {proxy['version'] or words.UNKNOWN}, pid {proxy['pid'] or words.UNKNOWN}",
    )
    yield "Plan", {"nothing": "nothing to do"}.get(status["plan"]["action"], status["plan"]["action"])
    yield from _generations(status["generations"])
    last = status["last_reload"]
    ago = f", the last {words.duration(last['age_s'])} ago" if last else ""
    yield "Reloads", f"{status['reloads']} done, {status['reloads_failed']} failed{ago}"
    if status["traffic"]["error"]:
        yield "Traffic", f"not known: {status['traffic']['error']}"
    yield "rosterd", f"{status['version']}, pid {status['pid']}, up {words.duration(status['uptime_s'])}"


def _generations(generations: Json) -> Iterator[tuple[str, str]]:
    """What should be, what HAProxy would start from, what it runs; where all is level the digests are the same."""
    for name, title in ("desired", "Desired"), ("file", "In the file"), ("running", "HAProxy runs"):
        one = generations[name]
        yield title, f"servers {one['servers_digest']}, for {words.duration(one['age_s'])}" if one else words.UNKNOWN


def routes(status: Callable[[], Awaitable[Json]], newest: NewestEvents) -> list[web.RouteDef]:
    """The page and its files."""

    async def page(_: web.Request) -> web.Response:
        text = render(await status(), newest(READ_EVENTS), datetime.now(UTC))
        return web.Response(text=text, content_type="text/html", headers=HEADERS | {"Cache-Control": "no-store"})

    return [web.get("/", page), *(_static(name, kind) for name, kind in _STATIC.items())]


def _static(name: str, kind: str) -> web.RouteDef:
    body = (_FOLDER / name).read_bytes()

    async def static(_: web.Request) -> web.Response:
        # No charset in the kind of an image; the others are UTF-8, as the page says of itself.
        return web.Response(body=body, content_type=kind, headers=HEADERS | {"Cache-Control": "no-cache"})

    return web.get(f"/{name}", static)

"""The page as it is served: its markup, its files and what a browser is told besides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rosterd.admin.page import render, routes
from rosterd.answers import status_answer
from tests.page.scenes import HOSTILE, changed, event, quiet, server, service, troubled
from tests.unit.test_report import EARLY

NOW = datetime(2026, 11, 25, 16, 30, tzinfo=UTC)


class Tags(HTMLParser):
    """Collects each start tag with its attributes, and what was not closed."""

    EMPTY = frozenset({"meta", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, Mapping[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one."""
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it ends what was begun last."""
        assert self.open.pop() == tag


@pytest.mark.parametrize("status", [status_answer(EARLY), quiet(), troubled()], ids=["early", "quiet", "troubled"])
@pytest.mark.parametrize("events", [[], [changed(1, "web-1", "t.1")]], ids=["none", "some"])
def test_the_markup_is_whole(status: dict[str, object], events: list[dict[str, object]]) -> None:
    """Each element is closed; nothing is fetched from elsewhere, and no script or style stands in it."""
    tags = Tags(render(status, events, NOW))
    assert tags.open == []
    asked = [attributes[name] for _, attributes in tags.found for name in ("src", "href") if name in attributes]
    assert set(asked) <= {"page.svg", "page.css", "page.js", "#services", "", "v1/status", "v1/members"}
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on") or name == "style"]
    assert [attributes for tag, attributes in tags.found if tag in {"script", "style"}] == [
        {"src": "page.js", "defer": None}
    ]


def test_hostile_text_makes_no_elements() -> None:
    """Wherever it stands, there are as many tags as with harmless text."""

    def page(text: str) -> list[str]:
        status = {
            **quiet(service(text, server(text, check=text, up=False, held=text))),
            **dict.fromkeys(("guard", "action_error"), text),
            "quarantined": [{"name": text, "reason": text}],
        }
        return [tag for tag, _ in Tags(render(status, [changed(1, text, text), event(2, text, why=text)], NOW)).found]

    assert page(HOSTILE) == page("harmless")


def test_another_day_is_told() -> None:
    """The time of day alone would mislead."""
    yesterday = {**event(1, "x.y"), "time": "2026-11-24T09:08:07.5Z"}
    text = render(quiet(), [event(2, "a.b"), yesterday], NOW)
    assert ">16:00:02 UTC<" in text
    assert ">2026-11-24 09:08:07 UTC<" in text


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/page.svg", "image/svg+xml")],
)
async def test_what_a_browser_is_told(path: str, kind: str) -> None:
    """What it may load (nothing but our own), that the type is the type, that no other site may frame or read it."""

    async def status() -> dict[str, object]:
        return dict(quiet())

    app = web.Application()
    app.add_routes(routes(status, lambda _: []))
    async with TestClient(TestServer(app)) as client, client.get(path) as answer:
        assert answer.status == 200
        assert answer.content_type == kind
        headers = answer.headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cache-Control"] == ("no-store" if path == "/" else "no-cache")

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.webapp.asgi import call
from webapp.app import LONGEST_DELAY_MS, create_app
from webapp.settings import WebappSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette

SHARED = "what all nodes share"


class Naps:
    """Stands for the clock: remembers each wait and does not wait."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Return at once."""
        self.taken.append(seconds)


def app_of(node: str, naps: Naps, secret: str = SHARED) -> Starlette:
    """The app of one node of a cluster."""
    return create_app(WebappSettings(node, "127.9.9.9", 3000, secret), naps.sleep)


async def test_home_says_who_answered() -> None:
    """The page and the header name the node, under the address on which the request reached it."""
    answer = await call(app_of("s1", Naps()), "GET", "/")

    assert answer.status == 200
    assert list(answer.json) == ["hello", "ip", "host", "tag", "sessionViews", "id"]
    assert (answer.json["ip"], answer.json["tag"]) == ("127.9.9.9", "s1")
    assert answer.headers["x-backend-ip"] == "127.9.9.9"
    assert answer.body.endswith(b"}\n"), "the prompt of who asks with curl would stick to it"


async def test_any_node_goes_on_with_a_session() -> None:
    """The count and the id travel in the cookie, so a second node continues what the first began."""
    first = await call(app_of("s1", Naps()), "GET", "/")
    second = await call(app_of("s2", Naps()), "GET", "/", cookie=first.cookie)

    assert first.cookie.startswith("NODESESSID=")
    assert (first.json["sessionViews"], second.json["sessionViews"]) == (1, 2)
    assert second.json["id"] == first.json["id"]


@pytest.mark.parametrize("change", [lambda text: text[:-2], lambda _: "NODESESSID=x", lambda text: text + "A"])
async def test_a_forged_session_begins_anew(change: object) -> None:
    """A cookie whose signature does not fit is worth nothing, and is no error."""
    assert callable(change)
    first = await call(app_of("s1", Naps()), "GET", "/")
    second = await call(app_of("s1", Naps()), "GET", "/", cookie=change(first.cookie))

    assert (second.status, second.json["sessionViews"]) == (200, 1)
    assert second.json["id"] != first.json["id"]


async def test_another_secret_does_not_accept_the_session() -> None:
    """Only nodes that share the secret share sessions."""
    first = await call(app_of("s1", Naps()), "GET", "/")
    second = await call(app_of("s2", Naps(), "another secret, as long"), "GET", "/", cookie=first.cookie)

    assert second.json["sessionViews"] == 1


async def test_delay_slows_every_later_answer_but_the_check() -> None:
    """Pages and refusals wait; HEAD does not, so that a slow node is not taken for a dead one."""
    naps = Naps()
    app = app_of("s1", naps)

    set_to = await call(app, "POST", "/delay", b'{"delay": 250}')
    assert (set_to.status, set_to.json, naps.taken) == (200, {"delay": 250}, [])
    await call(app, "HEAD", "/")
    assert naps.taken == []
    await call(app, "GET", "/")
    await call(app, "GET", "/nowhere")
    assert naps.taken == [0.25, 0.25]


async def test_delay_ends_with_zero() -> None:
    """Zero is a delay like any other, and the last one counts."""
    naps = Naps()
    app = app_of("s1", naps)
    await call(app, "POST", "/delay", b'{"delay": 10000}')
    await call(app, "POST", "/delay", b'{"delay": 0}')
    naps.taken.clear()
    await call(app, "GET", "/")

    assert naps.taken == []


async def test_the_delay_belongs_to_one_node() -> None:
    """Two apps in one process do not slow each other."""
    naps = Naps()
    await call(app_of("s1", naps), "POST", "/delay", b'{"delay": 250}')
    await call(app_of("s2", naps), "GET", "/")

    assert naps.taken == []


@pytest.mark.parametrize(
    ("body", "status", "key"),
    [
        (b"", 422, "body"),
        (b"delay=250", 422, "body"),
        (b"\xff\xfe", 422, "body"),
        (b"[" * 256, 422, "body"),
        (b"[250]", 422, "delay"),
        (b'{"dealy": 250}', 422, "delay"),
        (b'{"delay": "250"}', 422, "delay"),
        (b'{"delay": true}', 422, "delay"),
        (b'{"delay": null}', 422, "delay"),
        (b'{"delay": 1.5}', 422, "delay"),
        (b'{"delay": NaN}', 422, "delay"),
        (b'{"delay": -1}', 422, "delay"),
        (b'{"delay": %d}' % (LONGEST_DELAY_MS + 1), 422, "delay"),
        (b" " * 257, 413, "body"),
    ],
)
async def test_bad_delay_is_refused_by_name(body: bytes, status: int, key: str) -> None:
    """Each wrong body gets a 4xx that names the key at fault, and changes nothing."""
    naps = Naps()
    app = app_of("s1", naps)
    answer = await call(app, "POST", "/delay", body)

    assert (answer.status, answer.json["key"]) == (status, key)
    assert answer.json["error"].startswith(f"{key}: ")
    await call(app, "GET", "/")
    assert naps.taken == []


async def test_head_is_cheap() -> None:
    """The health check gets no body and starts no session."""
    answer = await call(app_of("s1", Naps()), "HEAD", "/")

    assert (answer.status, answer.body) == (200, b"")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/x", 404), ("PUT", "/", 405), ("GET", "/delay", 405)])
async def test_what_is_not_there_is_refused_as_json(method: str, path: str, status: int) -> None:
    """An unknown page and a wrong method answer JSON too."""
    answer = await call(app_of("s1", Naps()), method, path)

    assert answer.status == status
    assert answer.json["error"]

from __future__ import annotations

import logging
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from tests.unit.webapp.asgi import call
from webapp.app import LONGEST_DELAY_MS, create_app
from webapp.settings import WebappSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette

NETWORKS = (ip_network("127.0.0.0/8"), ip_network("10.1.0.0/16"), ip_network("2001:db8::/64"))
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
    return create_app(WebappSettings(node, "127.9.9.9", 3000, secret, NETWORKS), naps.sleep)


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
    second = await call(app_of("s2", Naps()), "GET", "/", headers={"cookie": first.cookie})

    assert first.cookie.startswith("NODESESSID=")
    assert (first.json["sessionViews"], second.json["sessionViews"]) == (1, 2)
    assert second.json["id"] == first.json["id"]


@pytest.mark.parametrize("change", [lambda text: text[:-2], lambda _: "NODESESSID=x", lambda text: text + "A"])
async def test_a_forged_session_begins_anew(change: object) -> None:
    """A cookie whose signature does not fit is worth nothing, and is no error."""
    assert callable(change)
    first = await call(app_of("s1", Naps()), "GET", "/")
    second = await call(app_of("s1", Naps()), "GET", "/", headers={"cookie": change(first.cookie)})

    assert (second.status, second.json["sessionViews"]) == (200, 1)
    assert second.json["id"] != first.json["id"]


async def test_another_secret_does_not_accept_the_session() -> None:
    """Only nodes that share the secret share sessions."""
    first = await call(app_of("s1", Naps()), "GET", "/")
    second = await call(app_of("s2", Naps(), "another secret, as long"), "GET", "/", headers={"cookie": first.cookie})

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


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
)
async def test_delay_takes_json_only(content_type: str) -> None:
    """A form or a simple request of another site's page cannot have the type of JSON."""
    naps = Naps()
    app = app_of("s1", naps)
    answer = await call(app, "POST", "/delay", b'{"delay": 250}', headers={"content-type": content_type})

    assert (answer.status, answer.json["key"]) == (415, "content-type")
    await call(app, "GET", "/")
    assert naps.taken == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_delay_takes_json_in_any_spelling(content_type: str) -> None:
    """With a parameter, and in capitals."""
    app = app_of("s1", Naps())
    answer = await call(app, "POST", "/delay", b'{"delay": 250}', headers={"content-type": content_type})

    assert answer.status == 200


@pytest.mark.parametrize(
    ("client", "forwarded", "status"),
    [
        ("127.0.0.1", "", 200),
        ("10.1.2.3", "", 200),
        ("::ffff:10.1.2.3", "", 200),
        ("2001:db8::1", "", 200),
        ("10.1.2.3", "10.1.2.4", 200),
        ("10.1.2.3", "203.0.113.9, 10.1.2.4", 200),
        ("10.2.0.1", "", 403),
        ("2001:db8:0:1::1", "", 403),
        ("10.1.2.3", "203.0.113.9", 403),
        ("10.1.2.3", "127.0.0.1, 203.0.113.9", 403),
        ("203.0.113.9", "127.0.0.1", 403),
        ("10.1.2.3", "localhost", 403),
        ("10.1.2.3", "127.0.0.1,", 403),
    ],
)
async def test_delay_is_set_from_the_networks_of_the_settings_alone(client: str, forwarded: str, status: int) -> None:
    """Both the peer and the client that a balancer names; of several the last one, which the balancer wrote."""
    naps = Naps()
    app = app_of("s1", naps)
    headers = {"content-type": "application/json", "x-forwarded-for": forwarded}
    answer = await call(app, "POST", "/delay", b'{"delay": 250}', headers=headers, client=client)

    assert answer.status == status
    await call(app, "GET", "/", client=client)
    assert naps.taken == ([0.25] if status == 200 else [])
    if status == 403:
        assert answer.json["key"] == "client"
        assert "WEBAPP_DELAY_FROM" in answer.json["error"]


async def test_a_client_that_hangs_up_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """And no traceback."""
    caplog.set_level(logging.INFO)
    await call(app_of("s1", Naps()), "POST", "/delay", None)

    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [("request.abandoned", None)]


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

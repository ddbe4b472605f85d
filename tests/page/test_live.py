"""The page of a running balancer: real agents, a real HAProxy, a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer import Balancer, Daemon
from tests.page.browser import Browser, Look

SHOWN_WITHIN_S = 1.0
EVIL = b"<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def balancer(tmp_path: Path, chromium: Browser) -> Iterator[Balancer]:
    """A balancer that serves; the browser is gone before it stops."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        yield balancer
        chromium.leave()


def page_of(daemon: Daemon) -> str:
    """Return the address of a daemon's page."""
    host, port = daemon.admin
    return f"http://{host}:{port}/"


def test_a_join_shows_within_a_second(balancer: Balancer, chromium: Browser) -> None:
    """Without a reload: its server, and then that it is up; and nothing is said on the console."""
    chromium.look(page_of(balancer.daemon))
    chromium.until(lambda page: "0 of 0 servers up" in page.text("#services"), "the empty service")
    chromium.evaluate("window.isTheSame = true")
    mark = balancer.daemon.mark()
    name = "web-joins"
    joining = threading.Thread(target=balancer.add_web, kwargs={"name": name})
    joining.start()
    try:
        balancer.daemon.wait_event("member.joined", mark, member=name)
        chromium.until(lambda page: name in page.text("#services"), "the new server", within=SHOWN_WITHIN_S)
    finally:
        joining.join()
    chromium.until(lambda page: "1 of 1 server up" in page.text("#services"), "its first check")
    assert "Ready" in chromium.text("header")
    assert chromium.title.startswith(f"ready - rosterd {balancer.address}")
    assert chromium.evaluate("return window.isTheSame") is True
    assert chromium.complaints() == []


def test_a_changed_tag_shows_within_a_second(balancer: Balancer, chromium: Browser) -> None:
    """From the daemon's knowing of it to the page; what the server does comes along."""
    web = balancer.add_web()
    balancer.wait_served(web)
    chromium.look(page_of(balancer.daemon))
    mark = balancer.daemon.mark()
    web.agent.set_tags(state="drain")
    balancer.daemon.wait_event("member.updated", mark, member=web.name)
    chromium.until(lambda page: "drain" in page.text("#services tbody"), "the drain", within=SHOWN_WITHIN_S)


def test_traffic_shows(balancer: Balancer, chromium: Browser) -> None:
    """Requests under way, as HAProxy counts them, in the row and in the head of the service."""
    web = balancer.add_web()
    balancer.wait_served(web)
    chromium.look(page_of(balancer.daemon))
    waiting = threading.Thread(target=balancer.get, kwargs={"path": "/wait/4"})
    waiting.start()
    try:
        chromium.until(lambda page: "1 session," in page.text("#services caption"), "the request that is under way")
        assert chromium.texts('#services td[data-label="Sessions"]') == ["1"]
    finally:
        waiting.join()


def test_a_hostile_member_shows_as_text(balancer: Balancer, chromium: Browser) -> None:
    """Its name is markup, it has come through gossip, and it is no more than a line among the troubles."""
    chromium.look(page_of(balancer.daemon))
    balancer.add_agent(EVIL, {b"role": b"backend", b"port": b"80"})
    chromium.until(lambda page: EVIL.decode() in page.text("#notes"), "the quarantined member")
    assert chromium.texts("#notes strong") == ["quarantined:"]
    assert chromium.evaluate("return document.images.length") == 0
    assert chromium.title.startswith("nobody serves - ")
    assert chromium.complaints() == []


def test_the_facts_are_there_without_javascript(balancer: Balancer, chromium: Browser) -> None:
    """As the browser gets them, and again as they are when it looks again."""
    web = balancer.add_web()
    balancer.wait_served(web)
    for look in (Look(javascript=False), Look(javascript=False, width=360)):
        chromium.look(page_of(balancer.daemon), look)
        row = chromium.text("#services tbody tr")
        assert web.name in row
        assert "up" in row
        assert f"{web.address}:{web.server.port}" in row
        assert "answers since" in chromium.text("#facts")


def test_a_daemon_that_restarts(balancer: Balancer, chromium: Browser) -> None:
    """While it is away the page says so; then it goes on, without a reload."""
    web = balancer.add_web()
    balancer.wait_served(web)
    chromium.look(page_of(balancer.daemon))
    chromium.evaluate("window.isTheSame = true")
    assert balancer.daemon.end() == 0
    chromium.until(lambda page: "does not answer" in page.text("#lost"), "the page to say so")
    balancer.daemon.start()
    chromium.until(lambda page: page.text("#lost") == "", "the page to go on")
    chromium.until(lambda page: "1 of 1 server up" in page.text("#services"), "the server")
    assert chromium.evaluate("return window.isTheSame") is True

"""Who asks again is told that nothing has changed, unless something has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
import pytest_asyncio

from rosterd.admin.server import serving
from rosterd.model import Member
from rosterd.report import Report
from tests.loopback import free_port
from tests.unit.admin.insight import insight
from tests.unit.test_report import at_work

PATHS = ["/v1/status", "/v1/members"]


class Daemon:
    """An admin interface whose report can be changed."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Begin with a daemon at work."""
        self.report: Report = at_work()
        self.session = session

    async def get(self, path: str, known: str = "") -> tuple[int, str, bytes]:
        """Return status, tag and body."""
        headers = {"If-None-Match": known} if known else {}
        async with self.session.get(path, headers=headers) as response:
            return response.status, response.headers["ETag"], await response.read()


@pytest_asyncio.fixture
async def daemon() -> AsyncIterator[Daemon]:
    """Serve on loopback."""
    listen = f"127.0.0.1:{free_port()}"
    async with aiohttp.ClientSession(f"http://{listen}") as session:
        made = Daemon(session)
        async with serving(listen, insight(lambda: made.report)):
            yield made


@pytest.mark.parametrize("path", PATHS)
async def test_ages_make_no_other_answer(daemon: Daemon, path: str) -> None:
    """They pass by themselves."""
    _, tag, body = await daemon.get(path)
    daemon.report = replace(daemon.report, now=daemon.report.now + 5)
    assert tag.startswith('W/"')
    assert await daemon.get(path, tag) == (304, tag, b"")
    status, same, later = await daemon.get(path)
    assert (status, same) == (200, tag)
    assert later != body


@pytest.mark.parametrize("path", PATHS)
async def test_what_has_changed_is_told(daemon: Daemon, path: str) -> None:
    """With another tag."""
    _, tag, _ = await daemon.get(path)
    table = daemon.report.table
    fewer = dict(list(table.entries.items())[1:])
    daemon.report = replace(daemon.report, table=replace(table, entries=fewer), reloads=daemon.report.reloads + 1)
    status, other, body = await daemon.get(path, tag)
    assert status == 200
    assert other != tag
    assert body


async def test_another_tag_is_no_match(daemon: Daemon) -> None:
    """Nor is that of another path; one of several is, and so is any."""
    _, tag, _ = await daemon.get("/v1/status")
    assert (await daemon.get("/v1/members", tag))[0] == 200
    assert (await daemon.get("/v1/status", f'"x", {tag}'))[0] == 304
    assert (await daemon.get("/v1/status", "*"))[0] == 304


async def test_a_tag_of_a_member_counts_whatever_it_is_called(daemon: Daemon) -> None:
    """Members choose the names of their tags; only our own fields are known to pass."""
    _, tag, _ = await daemon.get("/v1/members")
    entries = dict(daemon.report.table.entries)
    name, entry = next((name, entry) for name, entry in entries.items() if isinstance(entry.subject, Member))
    assert isinstance(entry.subject, Member)
    entries[name] = replace(entry, subject=replace(entry.subject, tags={**entry.subject.tags, "release_s": "2"}))
    daemon.report = replace(daemon.report, table=replace(daemon.report.table, entries=entries))
    assert (await daemon.get("/v1/members", tag))[0] == 200

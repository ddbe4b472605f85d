"""One Chromium for all tests of the page, and scenes to look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.page.browser import Browser, browser
from tests.page.scenes import quiet
from tests.page.stage import Stage, staged


@pytest.fixture(scope="session")
def running_browser() -> Iterator[Browser]:
    """Chromium starts once."""
    with browser() as chromium:
        yield chromium


@pytest.fixture
def chromium(running_browser: Browser) -> Iterator[Browser]:
    """A browser that looks at nothing before and after."""
    yield running_browser
    running_browser.leave()


@pytest.fixture
def stage(chromium: Browser) -> Iterator[Stage]:
    """The page of a quiet balancer, to be changed by the test; the browser is gone before it is."""
    with staged(Stage(quiet())) as stage:
        yield stage
        chromium.leave()

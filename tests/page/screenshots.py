"""Takes the pictures that the documentation shows, of the page, `rosterd top` and the demo's end.

`python -m tests.page.screenshots` does it. Nothing in them is made up: the demo is run, and a browser and a terminal
look at a balancer with three web nodes under load.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from rosterd.picture import Said, picture
from rosterd.top import look
from tests.balancer import Balancer, WebNode
from tests.page.browser import Browser, Look, browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESK = Look(width=1100, height=760)
PHONE = Look(width=360, height=760, scale=2)
RATE = 200.0
SLOW_REQUESTS = 7


@contextmanager
def busy_balancer(directory: Path) -> Iterator[tuple[Balancer, list[WebNode]]]:
    """A balancer with three web nodes, one of them with less weight; many fast requests flow, and some slow ones."""
    with Balancer(directory) as balancer:
        balancer.start()
        webs = [balancer.add_web(name=f"web{number}") for number in (1, 2, 3)]
        balancer.wait_served(*webs)
        webs[1].agent.set_tags(weight="25")
        balancer.until(lambda: balancer.daemon.server("web2")["weight"] == 25, "the weight")
        with balancer.load(RATE), slow_requests(balancer):
            yield balancer, webs


@contextmanager
def slow_requests(balancer: Balancer) -> Iterator[None]:
    """Have some requests under way at any time."""
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            with suppress(OSError):  # its server was crashed for the picture
                balancer.get(path="/wait/1")

    threads = [threading.Thread(target=ask) for _ in range(SLOW_REQUESTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def is_quiet(page: Browser) -> bool:
    """Whether all servers are up and the load flows."""
    head = page.text("#services caption")
    rate = re.search(r"(\d+)/s", head)
    return "3 of 3 servers up" in head and rate is not None and int(rate[1]) > 0.9 * RATE


def shows_guard(page: Browser) -> bool:
    """Whether the guard is engaged."""
    return "guard:" in page.texts("#urgent strong") and page.texts("#notes strong") == ["held:", "held:"]


def take(chromium: Browser, url: str, name: str, look: Look, is_ready: Callable[[Browser], bool]) -> None:
    """Take one picture, once the page shows what it should."""
    chromium.look(url, replace(look, still=True))
    chromium.until(lambda page: page.text("header").endswith(", live") and is_ready(page), name, within=60.0)
    IMAGES.mkdir(exist_ok=True)
    chromium.screenshot(IMAGES / f"{name}.png")
    sys.stdout.write(f"wrote docs/images/{name}.png\n")


def take_top(balancer: Balancer) -> None:
    """Draw what `rosterd top` shows at 80 columns."""
    host, port = balancer.daemon.admin
    said = asyncio.run(look(Said(f"{host}:{port}")))
    draw("top", "rosterd top", picture(said, 80, 24))


def take_demo() -> None:
    """Run the demo in local processes, and draw how it ends."""
    command = [sys.executable, "-m", "compose", "demo"]
    done = subprocess.run(command, env=os.environ | {"DEMO": "local"}, capture_output=True, text=True, check=True)
    table = done.stdout[done.stdout.rindex("\n step ") + 1 :]
    draw("demo", "make demo DEMO=local", map(Text, table.rstrip().splitlines()))


def draw(name: str, title: str, lines: Iterable[Text]) -> None:
    """Draw lines of a terminal of 80 columns, as text in a picture."""
    console = Console(record=True, width=80, file=io.StringIO(), highlight=False, force_terminal=True)
    for line in lines:
        console.print(line, no_wrap=True)
    drawn = console.export_svg(title=title, unique_id=name)
    # The font that it would have fetched from elsewhere is left out: every reader has one of a fixed width.
    own = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    (IMAGES / f"{name}.svg").write_text(own, encoding="utf-8")
    sys.stdout.write(f"wrote docs/images/{name}.svg\n")


def main() -> None:
    """Take all of them."""
    take_demo()
    with (
        browser() as chromium,
        tempfile.TemporaryDirectory(prefix="shots-") as directory,
        busy_balancer(Path(directory)) as (balancer, webs),
    ):
        host, port = balancer.daemon.admin
        url = f"http://{host}:{port}/"
        take(chromium, url, "page-light", DESK, is_quiet)
        take(chromium, url, "page-dark", replace(DESK, dark=True), is_quiet)
        take(chromium, url, "page-phone", PHONE, is_quiet)
        take_top(balancer)
        for web in webs[:2]:
            web.crash()
        take(chromium, url, "page-guard", DESK, shows_guard)
        chromium.leave()


if __name__ == "__main__":
    main()

"""Files that are written in place, by the tools that people use, while the daemon runs and requests flow."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.balancer import Balancer, WebNode, replace, throughout

COPIES = 20
TEES = 10
BETWEEN_S = 0.15
PAUSE_S = 0.5
"""How long a slow writer rests in the middle of its file."""
SHOP = "shop.example"
SHOP_TABLE = f"""
[[services]]
name = "shop"
match = {{ role = "shop" }}
hosts = ["{SHOP}"]
"""
AFTER = "frontend traffic\n"
GOOD_LINE = "    http-response set-header x-edited yes\n"
MOST_REQUESTS = 2000


class Shops:
    """A balancer with two services, each with a web node; the second one serves the host `shop.example`."""

    def __init__(self, balancer: Balancer, shop: WebNode) -> None:
        self.balancer = balancer
        self.daemon = balancer.daemon
        self.template = balancer.template
        self.settings = balancer.daemon.settings_file
        self.shop = shop

    def header(self) -> str | None:
        """Return what the good edit of the template adds to each answer."""
        return self.balancer.get()[2].get("x-edited")

    def edited(self) -> str:
        """Return the template with one more line in the frontend."""
        return self.template.read_text().replace(AFTER, AFTER + GOOD_LINE)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    """Both services serve."""
    with Balancer(tmp_path_factory.mktemp("b"), {"reload": {"least_interval_s": 0.1}}) as made:
        with made.daemon.settings_file.open("a") as file:
            file.write('[[services]]\nname = "nodes"\n' + SHOP_TABLE)
        made.start()
        made.wait_served(made.add_web())
        shop = made.add_web(role="shop")
        made.until(lambda: made.answering(4, host=SHOP) == {shop.address}, "the shop to serve")
        made.wait_content()
        yield Shops(made, shop)


@pytest.fixture
def shops(running: Shops) -> Iterator[Shops]:
    """The same, with template and settings put back afterwards."""
    template, settings = running.template.read_text(), running.settings.read_text()
    yield running
    replace(running.template, template)
    replace(running.settings, settings)
    running.balancer.until(lambda: running.daemon.status()["blueprint"]["error"] == "", "the files as they were")
    running.balancer.until(lambda: running.header() is None, "the template as it was")
    running.balancer.wait_content()


@contextmanager
def asking(balancer: Balancer, host: str) -> Iterator[list[str]]:
    """Send requests for this host meanwhile, 50 a second at most; yields the addresses of the servers that answer."""
    answers: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.02) and len(answers) < MOST_REQUESTS:
            status, _, headers = balancer.get(host)
            answers.append(headers.get("x-backend-ip", f"status {status}"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def of_several_pages(text: str) -> str:
    """Return a template that `cp` and `tee` write in more than one piece."""
    return text + "".join(f"{{# line {number} of a long remark #}}\n" for number in range(5000))


def test_copying_a_good_template_over_itself_is_never_rejected(shops: Shops, tmp_path: Path) -> None:
    """`cp` empties the file before it fills it: the empty file and a half of it are not judged."""
    copy, before = tmp_path / "copy.cfg.j2", (shops.balancer.running().pid, shops.daemon.mark())
    shutil.copy(shops.template, copy)
    for _ in range(COPIES):
        subprocess.run(["cp", str(copy), str(shops.template)], check=True)
        time.sleep(BETWEEN_S)
    throughout(lambda: shops.daemon.events("edit.rejected", before[1]) == [], 0.5, "no rejection")
    assert shops.balancer.running().pid == before[0]


def test_template_written_by_a_pipe_is_never_rejected(shops: Shops) -> None:
    """`tee` writes what it reads, piece by piece."""
    text, mark = of_several_pages(shops.template.read_text()), shops.daemon.mark()
    for _ in range(TEES):
        subprocess.run(["tee", str(shops.template)], input=text.encode(), stdout=subprocess.DEVNULL, check=True)
        time.sleep(BETWEEN_S)
    throughout(lambda: shops.daemon.events("edit.rejected", mark) == [], 0.5, "no rejection")


@pytest.mark.parametrize("command", [["cp"], ["install"], ["mv"], ["sed", "-i", "s/^{#$/{#/"]], ids=lambda it: it[0])
def test_edit_by_a_usual_command_is_in_force_once(shops: Shops, tmp_path: Path, command: list[str]) -> None:
    """Each of them writes in its own way, and costs one reload."""
    copy, mark = tmp_path / "copy.cfg.j2", shops.daemon.mark()
    copy.write_text(shops.edited())
    if command == ["sed", "-i", "s/^{#$/{#/"]:
        command = ["sed", "-i", f"s/^{AFTER.strip()}$/&\\n{GOOD_LINE.strip()}/"]
        arguments = [str(shops.template)]
    else:
        arguments = [str(copy), str(shops.template)]
    with shops.balancer.traffic():
        subprocess.run([*command, *arguments], check=True)
        shops.balancer.until(lambda: shops.header() == "yes", "the edit in an answer")
    shops.daemon.wait_event("proxy.reloaded", mark)
    shops.daemon.only_event("edit.taken", mark)
    shops.daemon.only_event("proxy.reloaded", mark)
    assert shops.daemon.events("edit.rejected", mark) == []


def test_settings_are_read_when_their_writer_has_closed_them(shops: Shops) -> None:
    """The first half is valid by itself, and gives the second service's requests to the first service."""
    first, table, rest = shops.settings.read_text().partition(SHOP_TABLE)
    assert table
    mark = shops.daemon.mark()
    with asking(shops.balancer, SHOP) as answers:
        shops.balancer.until(lambda: len(answers) > 20, "answers")
        with shops.settings.open("w") as file:
            file.write(first)
            file.flush()
            time.sleep(PAUSE_S)
            file.write(table + rest)
        shops.balancer.until(lambda: len(answers) > 60, "answers")
    assert set(answers) == {shops.shop.address}
    assert shops.daemon.events("edit.taken", mark) == []


def test_edit_that_takes_a_service_away_is_a_warning(shops: Shops) -> None:
    """The edit is in force all the same: the operator may mean it."""
    first, _, _ = shops.settings.read_text().partition(SHOP_TABLE)
    mark = shops.daemon.mark()
    tried = shops.settings.with_name("tried.toml")
    tried.write_text(first)
    command = [*shops.daemon.program, "plan", "--settings", str(tried)]
    planned = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (planned.returncode, planned.stderr) == (1, "rosterd: warning: service shop is taken away, servers: 1\n")
    replace(shops.settings, first)
    line = shops.daemon.wait_event("config.service_removed", mark)
    assert (line["level"], line["services"]) == ("warning", ["shop"])
    shops.balancer.until(lambda: "shop" not in shops.balancer.running().backends, "the service to go")


def test_end_of_a_rejection_is_logged_when_the_error_goes(shops: Shops) -> None:
    """The log has the end of the trouble, and for how long it lasted, in the moment in which the status drops it."""
    mark, good = shops.daemon.mark(), shops.template.read_text()
    replace(shops.template, good.replace(AFTER, AFTER + "    bogus keyword\n"))
    shops.daemon.wait_event("edit.rejected", mark)
    shops.balancer.until(lambda: shops.daemon.status()["blueprint"]["error"], "the status to say so")
    assert shops.daemon.events("edit.accepted", mark) == []
    replace(shops.template, good.replace(AFTER, AFTER + GOOD_LINE))
    line = shops.daemon.wait_event("edit.accepted", mark)
    assert line["after_s"] > 0
    assert shops.daemon.status()["blueprint"]["error"] == ""
    assert shops.header() == "yes"


def test_included_file_is_part_of_the_template(shops: Shops) -> None:
    """An edit of it is in force at once; a broken one is rejected, also beside a daemon that has just started."""
    part, balancer = shops.template.parent / "headers.cfg.j2", shops.balancer
    mark = shops.daemon.mark()
    replace(shops.template, shops.template.read_text().replace(AFTER, AFTER + '{% include "headers.cfg.j2" %}\n'))
    error = shops.daemon.wait_event("edit.rejected", mark)["error"]
    assert "headers.cfg.j2 cannot be read: No such file or directory" in error
    part.write_text(GOOD_LINE)
    balancer.until(lambda: shops.header() == "yes", "the new file in an answer")
    shops.daemon.wait_event("edit.accepted", mark)

    subprocess.run(["tee", str(part)], input=GOOD_LINE.replace("yes", "again").encode(), check=True)
    balancer.until(lambda: shops.header() == "again", "the edit in an answer")

    mark = shops.daemon.mark()
    part.write_text("{% if %}\n")
    assert shops.daemon.wait_event("edit.rejected", mark)["error"].startswith(f"{part}:1: ")
    mark = shops.daemon.mark()
    shops.balancer.restart_daemon()
    balancer.wait_ready()
    shops.daemon.wait_event("edit.rejected", mark)
    assert shops.header() == "again"
    web = balancer.add_web()
    balancer.wait_served(web)
    balancer.remove(web)
    assert shops.header() == "again"

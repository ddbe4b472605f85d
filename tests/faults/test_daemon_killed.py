"""The daemon is killed at random moments while members, template and HAProxy change: nothing is left half done."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.balancer import Balancer, WebNode
from tests.faults.schedule import moments
from tests.haproxy_process import BINARY

KILLS = 200
LATEST_S = 0.5
"""From when the daemon knows its agent until it would be level; edits and changes come all the while."""

WEIGHTS = ("10", "20")
EDITS = ("# the one", "# the other")

_SERVER = re.compile(r"^    server (?P<name>\S+) (?P<at>\S+) id \d+ weight (?P<weight>\d+)$", re.MULTILINE)


def test_two_hundred_kills_at_random_moments(tmp_path: Path) -> None:
    """The file is valid and says what was wanted once, HAProxy serves all the while, and in the end all is level.

    The moments fall between write, check, rename and reload as well: each life of the daemon has an edit to reload for.
    """
    when = moments()
    with Balancer(tmp_path, {"reload": {"quiet_s": 0.0, "least_interval_s": 0.0, "most_old_workers": 50}}) as balancer:
        balancer.start()
        webs = [balancer.add_web(weight=WEIGHTS[0]) for _ in range(2)]
        balancer.wait_served(*webs)
        with balancer.traffic(rate=50.0), changing(balancer, webs):
            for _ in range(KILLS):
                assert balancer.daemon.process is not None
                balancer.daemon.end(signal.SIGKILL)
                look_at_file(balancer, webs)
                mark = balancer.daemon.mark()
                balancer.daemon.spawn()
                balancer.daemon.wait_event("agent.reached", mark)
                time.sleep(when.uniform(0.0, LATEST_S))
        balancer.until(balancer.daemon.status, "the daemon to answer")
        balancer.wait_content()
        balancer.wait_served(*webs)
        assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".haproxy.cfg")} == set()
        assert balancer.daemon.command("plan").stdout.startswith("nothing")
        assert len(balancer.daemon.events("proxy.reloaded")) > KILLS / 10


@contextmanager
def changing(balancer: Balancer, webs: list[WebNode]) -> Iterator[None]:
    """Change weights and template over and over meanwhile."""
    stop = threading.Event()
    text = balancer.template.read_text()

    def change() -> None:
        for number in itertools.count():
            webs[number % 2].agent.set_tags(weight=WEIGHTS[number // 2 % 2])
            balancer.edit_template(f"{text}{EDITS[number % 2]}\n")
            if stop.wait(0.2):
                return

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def look_at_file(balancer: Balancer, webs: list[WebNode]) -> None:
    """The file is one that HAProxy takes, and every line of it is from one of the states that were wanted."""
    path = balancer.haproxy.config
    command = [BINARY, "-c", "-q", "-f", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert checked.returncode == 0, checked.stderr
    text = path.read_text()
    servers = {match["name"]: (match["at"], match["weight"]) for match in _SERVER.finditer(text)}
    assert set(servers) == {web.name for web in webs}
    for web in webs:
        at, weight = servers[web.name]
        assert at == f"{web.address}:{web.server.port}"
        assert weight in WEIGHTS
    assert text.splitlines()[-1] in {*EDITS, *(line for line in text.splitlines() if line.startswith("    server "))}

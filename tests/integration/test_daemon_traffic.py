"""Traffic figures of a running daemon: asked of a real HAProxy, and what they cost when it hangs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.balancer import Balancer, Json
from tests.frozen import freeze


@contextmanager
def waiting_request(balancer: Balancer, seconds: int) -> Iterator[None]:
    """Have one request under way for so long."""
    thread = threading.Thread(target=balancer.get, kwargs={"path": f"/wait/{seconds}"})
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """Have a process stand still meanwhile."""
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def nodes(balancer: Balancer) -> Json:
    """Return the status of the service."""
    (service,) = balancer.daemon.status()["services"]
    found: Json = service
    return found


def test_the_status_has_the_traffic(tmp_path: Path) -> None:
    """Requests under way and new ones, of each server and of the service, with the last check and since when."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        with waiting_request(balancer, 3), balancer.load(50.0):
            balancer.until(lambda: balancer.daemon.server(web.name)["rate_per_s"], "requests in the status")
            balancer.until(lambda: nodes(balancer)["rate_per_s"], "the service's requests in the status")
            balancer.until(lambda: balancer.daemon.server(web.name)["sessions"], "the request that is under way")
            row = balancer.daemon.server(web.name)
            assert (row["check"], row["queue"], row["errors"]) == ("L7OK", 0, 0)
            assert 0 <= row["since_s"] < 30
            assert nodes(balancer)["sessions"] >= 1
            assert balancer.daemon.status()["traffic"]["age_s"] < 1.5
        balancer.until(lambda: balancer.daemon.server(web.name)["sessions"] == 0, "nothing to be under way")


def test_a_haproxy_that_hangs_costs_the_figures_alone(tmp_path: Path) -> None:
    """The status comes with all the rest, the figures null and the reason beside them; they are back afterwards."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        balancer.until(lambda: balancer.daemon.server(web.name)["sessions"] == 0, "the figures to be known")
        with standing_still(balancer.running().pid):
            balancer.until(lambda: balancer.daemon.server(web.name)["sessions"] is None, "the figures to be unknown")
            before = time.monotonic()
            status = balancer.daemon.status()
            assert time.monotonic() - before < 2.0
            assert "did not answer 'show stat" in status["traffic"]["error"]
            row = balancer.daemon.server(web.name)
            assert (row["weight"], row["check"], row["since_s"]) == (100, None, None)
        balancer.until(lambda: balancer.daemon.server(web.name)["sessions"] == 0, "the figures to be back")
        balancer.wait_content()

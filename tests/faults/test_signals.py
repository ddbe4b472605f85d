"""Signals to the daemon at any moment, once and twice: it ends in order and in time, and HAProxy is left alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.balancer import Balancer, throughout
from tests.faults.schedule import moments
from tests.frozen import freeze

TRIALS = 12
LATEST_S = 0.9
"""From when its program has begun until it is level."""

ENDS_WITHIN_S = 5.0


@contextmanager
def left_alone(directory: Path) -> Iterator[Balancer]:
    """Give a balancer with a web node that HAProxy serves, and no daemon."""
    with Balancer(directory) as balancer:
        balancer.start()
        balancer.wait_served(balancer.add_web())
        assert balancer.daemon.end() == 0
        yield balancer


def spawn(balancer: Balancer) -> None:
    """Start the daemon, and wait until it is our program that takes signals, and no longer Python's start."""
    balancer.daemon.spawn()
    path, hangup = Path(f"/proc/{balancer.daemon.pid}/status"), 1 << signal.SIGHUP - 1

    def is_itself() -> bool:
        masks = [line.split() for line in path.read_text().splitlines() if line.startswith(("SigIgn", "SigCgt"))]
        return any(int(mask, 16) & hangup for _, mask in masks)

    balancer.until(is_itself, "the daemon to take signals")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_at_any_moment_and_again(tmp_path: Path, number: signal.Signals) -> None:
    """The exit is clean: code 0, or the signal itself before the loop had begun; nothing of HAProxy changes."""
    when = moments()
    with left_alone(tmp_path) as balancer:
        before = balancer.running(), balancer.file_identity()
        with balancer.traffic():
            for _ in range(TRIALS):
                spawn(balancer)
                time.sleep(when.uniform(0.0, LATEST_S))
                pid = balancer.daemon.pid
                os.kill(pid, number)
                time.sleep(when.uniform(0.0, 0.05))
                assert balancer.daemon.process is not None
                balancer.daemon.process.send_signal(number)
                assert balancer.daemon.process.wait(ENDS_WITHIN_S) in {0, -number}
        assert (balancer.running(), balancer.file_identity()) == before
        balancer.daemon.start()
        balancer.wait_ready()


def test_hangups_at_any_moment(tmp_path: Path) -> None:
    """SIGHUP never ends the daemon, however early, and it takes edits afterwards as before."""
    when = moments()
    with left_alone(tmp_path) as balancer:
        with balancer.traffic():
            spawn(balancer)
            for _ in range(20):
                os.kill(balancer.daemon.pid, signal.SIGHUP)
                time.sleep(when.uniform(0.0, 0.1))
            mark = balancer.daemon.mark()
            balancer.edit_template(balancer.template.read_text() + "# with a hangup\n")
            os.kill(balancer.daemon.pid, signal.SIGHUP)
            balancer.daemon.wait_event("proxy.reloaded", mark)
        balancer.wait_content()
        balancer.wait_ready()


def test_a_machine_that_is_paused_for_half_a_minute(tmp_path: Path) -> None:
    """Agent, daemon and HAProxy stand still, as those of a machine that is being moved: no storm, no early removal."""
    with Balancer(tmp_path, {"policy": {"hold_s": 5.0, "longest_hold_s": 5.0}}) as balancer:
        balancer.start()
        webs = [balancer.add_web() for _ in range(3)]
        balancer.wait_served(*webs)
        names = {web.name for web in webs}
        pids = (balancer.haproxy.pid, balancer.running().pid, balancer.daemon.pid, balancer.agent.pid)
        mark = balancer.daemon.mark()
        for pid in pids:
            freeze(pid)
        time.sleep(30.0)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        with balancer.traffic():
            throughout(lambda: balancer.running_names() == names, 10.0, "every server in HAProxy")
        balancer.wait_ready()
        balancer.wait_served(*webs)
        assert balancer.daemon.status()["reloads"] == 0
        assert len(balancer.daemon.log.splitlines()) - mark < 20

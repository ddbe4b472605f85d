"""`rosterd events` beside a real daemon: what happened, and what happens, over a restart of the daemon too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.balancer import Balancer


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    """A balancer that runs, with one web node."""
    with Balancer(tmp_path) as made:
        made.start()
        made.wait_served(made.add_web())
        yield made


@contextmanager
def following(balancer: Balancer, tmp_path: Path, *options: str) -> Iterator[Path]:
    """Follow in a process of its own, until it gets Ctrl-C; its output is in the file, and it ends well."""
    output = tmp_path / "followed"
    command = [sys.executable, "-m", "rosterd", "events", "--follow", *options]
    environment = os.environ | {"ROSTERD_SETTINGS": str(balancer.daemon.settings_file)}
    with (
        output.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment) as it,
    ):
        try:
            yield output
            it.send_signal(signal.SIGINT)
            assert it.wait(10) == 0
        finally:
            it.kill()


def names(text: str) -> list[str]:
    """Return the names of the events that were printed as JSON."""
    return [json.loads(line)["event"] for line in text.splitlines() if line.startswith("{")]


def test_what_happened(balancer: Balancer) -> None:
    """The newest last: from the start of the daemon to the weight of the server; or so many of them."""
    printed = balancer.daemon.command("events", "--json")
    assert printed.returncode == 0
    found = names(printed.stdout)
    assert found[0] == "daemon.started"
    assert found.index("member.joined") < found.index("servers.changed")
    assert names(balancer.daemon.command("events", "--json", "-n", "2").stdout) == found[-2:]
    assert balancer.daemon.command("events", "-n", "0").returncode == 2


def test_for_people_it_is_a_line_each(balancer: Balancer) -> None:
    """With the time, the trace that the log has, and the fields."""
    joined = balancer.daemon.events("member.joined")[-1]
    line = [line for line in balancer.daemon.command("events").stdout.splitlines() if "member.joined" in line][-1]
    assert joined["trace"] in line.split()
    assert f"member={joined['member']}" in line
    assert line.startswith(joined["time"][:10])


def test_who_follows_goes_on_over_a_restart(balancer: Balancer, tmp_path: Path) -> None:
    """It says that the daemon went away, and misses nothing that the new one tells."""
    with following(balancer, tmp_path, "--json", "-n", "1") as output:
        balancer.until(lambda: names(output.read_text()), "the newest event")
        node = balancer.add_web()
        balancer.until(lambda: "member.joined" in names(output.read_text()), "the join to be followed")
        balancer.restart_daemon()
        balancer.until(lambda: "state.completed" in names(output.read_text()), "the new daemon to be followed")
        balancer.remove(node)
        balancer.until(lambda: "member.left" in names(output.read_text()), "the leave to be followed")
    text = output.read_text()
    assert "trying again" in text
    found = names(text)
    assert found.index("daemon.stopped") < found.index("daemon.started") < found.index("member.left")
    ids = [json.loads(line)["id"] for line in text.splitlines() if line.startswith("{")]
    assert len(ids) == len(set(ids))


def test_without_a_daemon_it_says_so(balancer: Balancer) -> None:
    """At the start that is an error, with its exit code."""
    assert balancer.daemon.end() == 0
    for options in ([], ["--follow"]):
        printed = balancer.daemon.command("events", *options)
        assert printed.returncode == 7
        assert "no rosterd answers at" in printed.stderr

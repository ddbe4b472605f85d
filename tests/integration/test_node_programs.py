"""The small programs of a node, each as a real process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from compose.cluster import HOME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIMEOUT_S = 10.0


def spawn(module: str, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
    """Start a program of the package compose.node."""
    return subprocess.Popen(
        [sys.executable, "-m", f"compose.node.{module}", *arguments],
        env={"PATH": os.environ["PATH"]} | environ,
        cwd=HOME,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait(condition: Callable[[], bool]) -> None:
    """Wait, 10 s at most."""
    give_up_at = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_the_syslog_receiver_writes_a_line_for_each_datagram(tmp_path: Path) -> None:
    """A stale socket of an earlier life is no obstacle."""
    path, file = tmp_path / "log.sock", tmp_path / "access.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(str(path))
    with (
        spawn("syslog_receiver", str(path), str(file)) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        try:
            wait(file.exists)
            for number in range(3):
                sender.sendto(b"<134>Nov 22 22:10:00 haproxy[1]: request %d" % number, str(path))
            wait(lambda: file.read_text().count("\n") == 3)
        finally:
            process.kill()

    assert [line.split(" ", 1)[1] for line in file.read_text().splitlines()] == [
        f"haproxy[1]: request {number}" for number in range(3)
    ]


def test_a_command_starts_once_its_file_is_there(tmp_path: Path) -> None:
    """It keeps the process id, so that signals reach it."""
    file = tmp_path / "haproxy.cfg"
    with spawn("wait_for_file", str(file), "sh", "-c", "echo $$") as process:
        time.sleep(0.3)
        assert process.poll() is None
        file.touch()
        output = process.communicate(timeout=TIMEOUT_S)[0]

    assert process.returncode == 0
    assert int(output) == process.pid


def test_a_command_that_is_missing_is_named(tmp_path: Path) -> None:
    """At once, not when the file comes."""
    with spawn("wait_for_file", str(tmp_path / "x"), "no-such-program") as process:
        output = process.communicate(timeout=TIMEOUT_S)[0].decode()

    assert process.returncode == 2
    assert "no-such-program" in output


def test_an_agent_with_wrong_variables_names_them_all() -> None:
    """Exit code 2, one line for each mistake, no traceback."""
    with spawn("serf_agent", SERVICE_PORT="x") as process:
        output = process.communicate(timeout=TIMEOUT_S)[0].decode()

    assert process.returncode == 2
    keys = [line.removeprefix("serf agent: ").split(":")[0] for line in output.splitlines()]
    assert keys == ["NODE", "NODE_RUN", "SERF_ROLE", "SERVICE_PORT"]


def test_the_agent_waits_for_its_service(tmp_path: Path) -> None:
    """A node announces itself when it can answer: until then its configuration is written and no agent runs."""
    program = tmp_path / "bin" / "serf"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "became $@"\n')
    program.chmod(0o755)
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        environ = {
            "NODE": "web1",
            "NODE_RUN": str(tmp_path),
            "SERF_ROLE": "backend",
            "NODE_ADDRESS": "127.0.0.1",
            "SERVICE_PORT": str(service.getsockname()[1]),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }
        with spawn("serf_agent", **environ) as process:
            wait((tmp_path / "serf.json").exists)
            time.sleep(0.2)
            assert process.poll() is None
            service.listen()
            output = process.communicate(timeout=TIMEOUT_S)[0].decode()

    assert output == f"became agent -config-file={tmp_path / 'serf.json'}\n"
    assert json.loads((tmp_path / "serf.json").read_text())["node_name"].startswith("web1-")
    assert json.loads((tmp_path / "serf-tags.json").read_text())["port"] == environ["SERVICE_PORT"]

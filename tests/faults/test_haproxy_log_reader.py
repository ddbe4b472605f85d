"""A reader of HAProxy's or the agent's output that stands still, beside the commands by which these are shipped."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from configparser import RawConfigParser
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from compose.cluster import HOME
from tests.faults.test_log_reader import reader_that_stands_still
from tests.haproxy_process import BINARY, HAProxyProcess
from tests.loopback import free_address, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STARTS_WITHIN_S = 60.0
ANSWERS_WITHIN_S = 10.0
ROUNDS = 900
"""Of a server that goes down and comes back: several times what a pipe takes."""

LINES_OF_AGENT = 200

NODE = "haproxy/supervisord.conf"
STANDALONE = "haproxy/standalone/supervisord.conf"
UNIT = "haproxy/standalone/haproxy.service.conf"


def command_in(file: str, haproxy: HAProxyProcess) -> list[str]:
    """Return the command by which this file starts HAProxy, with the paths of the test."""
    if file == UNIT:
        line = next(line for line in (HOME / UNIT).read_text(encoding="utf-8").splitlines() if "EXTRAOPTS=" in line)
        options = line.partition("EXTRAOPTS=")[2].rstrip('"')
        command = f"/usr/sbin/haproxy -W -db -f /var/lib/rosterd/haproxy.cfg {options}"
    else:
        parser = RawConfigParser(delimiters=("=",), comment_prefixes=(";",))
        parser.read(HOME / file, encoding="utf-8")
        command = parser["program:haproxy"]["command"]
    for path in ("%(ENV_NODE_STATE)s/haproxy.cfg", "/var/lib/rosterd/haproxy.cfg"):
        command = command.replace(path, str(haproxy.config))
    for path in ("%(ENV_NODE_RUN)s/master.sock,mode,660", "/run/rosterd/master.sock,mode,660,group,rosterd"):
        command = command.replace(path, f"{haproxy.master_socket},mode,660")
    words = shlex.split(command.replace("%(ENV_NODE_PYTHON)s", sys.executable))
    return [BINARY if word in ("haproxy", "/usr/sbin/haproxy") else word for word in words]


@contextmanager
def started(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command whose output goes into the pipe at `output`."""
    with output.open("ab", buffering=0) as pipe:
        process = subprocess.Popen(command, cwd=HOME, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(ANSWERS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_answered(haproxy: HAProxyProcess) -> None:
    """Wait until the worker answers on its runtime socket."""
    give_up_at = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            if "Pid" in haproxy.ask("show info"):
                return
        except OSError:
            pass
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def request(haproxy: HAProxyProcess) -> bytes:
    """Send a request; return the first line of the answer."""
    with socket.create_connection((haproxy.address, haproxy.port), ANSWERS_WITHIN_S) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("file", [NODE, STANDALONE, UNIT])
def test_haproxy_serves_while_the_reader_of_its_output_stands_still(file: str, tmp_path: Path) -> None:
    """Each change of a server's state is a line or two on standard error, where nobody reads them."""
    haproxy = HAProxyProcess(tmp_path)
    lines = ("http-request return status 200", "server web 127.0.0.1:9 check inter 60s")
    haproxy.config.write_text(haproxy.text("first", *lines), encoding="utf-8")
    with reader_that_stands_still(tmp_path / "pipe"), started(command_in(file, haproxy), tmp_path / "pipe"):
        until_answered(haproxy)
        for _ in range(ROUNDS // 50):
            changes = ["set server nodes/web state maint", "set server nodes/web state ready"] * 50
            haproxy.ask(";".join(changes))
        assert [request(haproxy) for _ in range(12)] == [b"HTTP/1.1 200 OK"] * 12


def test_agent_answers_while_the_reader_of_its_output_stands_still(tmp_path: Path) -> None:
    """Each connection that sends nonsense to the gossip port is a line of the agent's log."""
    address = free_address()
    ports = [free_port(address), free_port(address)]
    variables = {
        "PATH": os.environ["PATH"],
        "NODE": "web",
        "NODE_RUN": str(tmp_path),
        "NODE_ADDRESS": address,
        "SERF_ROLE": "backend",
        "SERF_GOSSIP_PORT": str(ports[0]),
        "SERF_RPC_ADDRESS": f"{address}:{ports[1]}",
    }
    command = ["env", "-i", *(f"{key}={value}" for key, value in variables.items())]
    command += [sys.executable, "-m", "compose.node.serf_agent"]
    ask = ["serf", "members", f"-rpc-addr={address}:{ports[1]}"]
    with reader_that_stands_still(tmp_path / "pipe"), started(command, tmp_path / "pipe"):
        until_alive(ask)
        for _ in range(LINES_OF_AGENT):
            with socket.create_connection((address, ports[0]), ANSWERS_WITHIN_S) as client:
                client.sendall(b"nonsense")
        done = subprocess.run(ask, capture_output=True, timeout=ANSWERS_WITHIN_S, check=False)
        assert b"alive" in done.stdout, done.stderr


def until_alive(ask: list[str]) -> None:
    """Wait until the agent answers."""
    give_up_at = time.monotonic() + STARTS_WITHIN_S
    while b"alive" not in subprocess.run(ask, capture_output=True, timeout=STARTS_WITHIN_S, check=False).stdout:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)

"""The small programs of a node, each as a real process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from compose.cluster import HOME
from compose.node import log_relay, state_handler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIMEOUT_S = 30.0
POLL_S = 0.01
LINES = 5000
"""Many times what a pipe takes."""


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
    """Wait, `TIMEOUT_S` at most."""
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


def test_relay_copies_all_lines_to_a_reader_that_reads(tmp_path: Path) -> None:
    """The last words of a program arrive, with or without a line's end."""
    written = "".join(f"{number} {'x' * 100}\n" for number in range(1000)) + "the end"
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-I", "-S", log_relay.__file__],
            input=written.encode(),
            stdout=log,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0
    assert (tmp_path / "log").read_text() == f"{written}\n"


def test_relay_drops_and_counts_lines_while_its_reader_stands_still() -> None:
    """The program that writes is never blocked; the reader learns later how many lines are missing."""
    read_end, write_end = os.pipe()
    lines: list[bytes] = []
    with subprocess.Popen(
        [sys.executable, "-I", "-S", log_relay.__file__], stdin=subprocess.PIPE, stdout=write_end
    ) as relay:
        os.close(write_end)
        assert relay.stdin is not None
        for number in range(LINES):
            relay.stdin.write(b"%d %s\n" % (number, b"x" * 100))
        relay.stdin.flush()
        sent = LINES
        with os.fdopen(read_end, "rb") as reader:
            reading = threading.Thread(target=lambda: lines.extend(reader))
            reading.start()
            while not any(line.startswith(b"log_relay: ") for line in lines):
                assert sent < LINES + TIMEOUT_S / POLL_S
                relay.stdin.write(b"later\n")
                relay.stdin.flush()
                sent += 1
                time.sleep(POLL_S)
            relay.stdin.close()
            reading.join(TIMEOUT_S)
    reports = [int(line.split()[1]) for line in lines if line.startswith(b"log_relay: ")]
    assert sum(reports) > LINES / 2
    assert sum(reports) + len(lines) - len(reports) == sent


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


# --- the handler of the state -----------------------------------------------------------------------------------


def stand_in(directory: Path, script: str) -> dict[str, str]:
    """A program `serf` in front of the real one: an environment in which it is found."""
    program = directory / "bin" / "serf"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def answer(payload: bytes, environ: dict[str, str], *options: str) -> tuple[int, str]:
    """What the handler ends with and prints when an agent runs it: alone, as a file, with nothing of ours to import."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", state_handler.__file__, *options],
        input=payload,
        env=environ,
        cwd="/",
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert len(done.stdout) <= 1000
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize(
    ("payload", "change"),
    [(b"drain\n", "-set=state=drain"), (b"maint", "-set=state=maint"), (b"ready\n", "-delete=state")],
)
def test_a_state_is_set_at_the_nodes_own_agent(payload: bytes, change: str, tmp_path: Path) -> None:
    """One change of one tag; the key of the RPC comes from the node's file, and is in no argument."""
    key, seen = tmp_path / "key", tmp_path / "seen"
    key.write_text("secret\n")
    environ = stand_in(tmp_path, f'echo "$@ at $SERF_RPC_ADDR with $SERF_RPC_AUTH" >{seen}')
    variables = {"SERF_RPC_ADDRESS": "127.9.9.1:7373", "SERF_RPC_AUTH_FILE": str(key)}

    assert answer(payload, environ | variables) == (0, "ok")
    assert seen.read_text() == f"tags {change} at 127.9.9.1:7373 with secret\n"
    seen.unlink()
    assert answer(payload, environ, "--rpc-addr=127.9.9.1:7373", f"--rpc-auth-file={key}") == (0, "ok")
    assert seen.read_text() == f"tags {change} at 127.9.9.1:7373 with secret\n"


def test_serfs_own_variables_are_enough(tmp_path: Path) -> None:
    """A node of somebody else's has them, or neither: then Serf's own defaults hold."""
    seen = tmp_path / "seen"
    environ = stand_in(tmp_path, f'echo "$SERF_RPC_ADDR $SERF_RPC_AUTH" >{seen}')

    assert answer(b"drain\n", environ | {"SERF_RPC_ADDR": "127.9.9.1:7373", "SERF_RPC_AUTH": "k"}) == (0, "ok")
    assert seen.read_text() == "127.9.9.1:7373 k\n"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\n",
        b"DRAIN\n",
        b"drain\n\n",
        b" drain",
        b"drain -set role=x",
        b"drain;id\n",
        b"\xff\n",
        b"drain\0",
        b"d" * 9000,
    ],
)
def test_any_other_payload_is_refused(payload: bytes, tmp_path: Path) -> None:
    """Three words there are. `serf` is not even run, and the payload is not repeated."""
    environ = stand_in(tmp_path, f"touch {tmp_path}/ran")

    assert answer(payload, environ) == (0, "error: the payload is none of ready, drain, maint")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'Error setting tags: too long'; exit 1", "serf tags: Error setting tags: too long"),
        ("head -c 5000 /dev/zero | tr '\\0' x; exit 1", f"serf tags: {'x' * 482}"),
    ],
)
def test_what_serf_says_is_the_answer(script: str, why: str, tmp_path: Path) -> None:
    """In so few bytes that the agent sends them, and with exit code 0: of a failed handler nothing is sent."""
    assert answer(b"drain\n", stand_in(tmp_path, script)) == (0, f"error: {why}")


def test_what_the_handler_lacks_is_the_answer(tmp_path: Path) -> None:
    """A key that cannot be read, a machine without the program `serf`."""
    absent = {"PATH": str(tmp_path), "SERF_RPC_AUTH_FILE": f"{tmp_path}/key"}
    code, text = answer(b"drain\n", absent)
    assert (code, text) == (0, f"error: [Errno 2] No such file or directory: '{tmp_path}/key'")
    (tmp_path / "key").write_text("k")
    code, text = answer(b"drain\n", absent)
    assert (code, text) == (0, "error: [Errno 2] No such file or directory: 'serf'")


def test_a_serf_that_hangs_is_given_up(tmp_path: Path) -> None:
    """The agent waits for its handlers, so none may take for ever."""
    environ = stand_in(tmp_path, "exec sleep 60")
    assert state_handler.change_tags("-delete=state", environ, longest_s=0.2) == "error: serf tags: no end after 0.2 s"

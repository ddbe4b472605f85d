"""The process behind a socket, as the kernel shows it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosterd.proxy.process import MasterProcess, continue_stopped, listening_process
from tests.frozen import freeze

LISTEN = """
import socket, sys, time
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("listens", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a socket."""
    return tmp_path / "master.sock"


@pytest.fixture
def child(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens at the path."""
    with subprocess.Popen([sys.executable, "-c", LISTEN, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds`, five seconds at most."""
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def found(path: Path) -> MasterProcess:
    """Return the process that listens at a path."""
    process = listening_process(path)
    assert process is not None
    return process


def test_process_is_found_by_its_socket(path: Path, child: subprocess.Popen[bytes]) -> None:
    """Its number here counts, whatever number it has in a namespace of its own."""
    assert found(path).pid == child.pid
    assert not found(path).has_ended


def test_killed_process_has_ended_before_its_parent_takes_the_exit_status(
    path: Path, child: subprocess.Popen[bytes]
) -> None:
    """A supervisor may take the exit status much later."""
    process = found(path)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: process.has_ended)
    child.wait()
    assert process.has_ended


def test_later_process_of_the_same_number_is_another_one() -> None:
    """The kernel gives the numbers of ended processes out again."""
    assert MasterProcess(os.getpid(), started="0").has_ended


def test_socket_without_a_listener_leads_to_no_process(path: Path) -> None:
    """Neither a path without a file nor a file without a listener leads to a process."""
    assert listening_process(path) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert listening_process(path) is None


def test_stopped_process_receives_the_signal_that_waits_for_it(child: subprocess.Popen[bytes]) -> None:
    """The kernel delivers no SIGTERM to a process that is stopped."""
    freeze(child.pid)
    os.kill(child.pid, signal.SIGTERM)
    assert continue_stopped([child.pid]) == (child.pid,)
    assert child.wait(5) == -signal.SIGTERM


def test_process_that_runs_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    """A process that runs gets no signal."""
    assert continue_stopped([child.pid, os.getpid()]) == ()

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from compose.processes import kill_processes, processes_of, signal_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A leader with two children, one of them in a process group of its own as supervisord's are.
TREE = "sleep 60 & setsid --fork true; sh -mc 'sleep 60 & wait' & wait"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A session of processes that belongs to a node in `tmp_path`; killed at the end whatever happened."""
    environ = {"PATH": os.environ["PATH"], "NODE_RUN": str(tmp_path)}
    with subprocess.Popen(["sh", "-c", TREE], env=environ, start_new_session=True) as leader:
        try:
            while len(processes_of(leader.pid, tmp_path)) < 4 and leader.poll() is None:
                continue
            yield leader
        finally:
            kill_processes(leader.pid, tmp_path)


def test_a_node_is_its_session(tree: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """The leader comes first, and children count in whichever process group they are."""
    pids = processes_of(tree.pid, tmp_path)

    assert pids[0] == tree.pid
    assert len(pids) == 4
    assert os.getpid() not in pids


def test_a_session_of_somebody_else_is_not_ours(tree: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """The number alone proves nothing: it may have been given to others since."""
    assert processes_of(tree.pid, tmp_path / "other") == ()
    kill_processes(tree.pid, tmp_path / "other")
    assert len(processes_of(tree.pid, tmp_path)) == 4


def test_a_kill_takes_all_of_it(tree: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Nothing is left, and the leader died of SIGKILL."""
    kill_processes(tree.pid, tmp_path)

    assert tree.wait(5) == -signal.SIGKILL
    assert processes_of(tree.pid, tmp_path) == ()


def test_what_waits_to_be_reaped_is_gone(tree: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A dead leader that nobody has waited for yet does not count as running."""
    kill_processes(tree.pid, tmp_path)

    assert processes_of(tree.pid, tmp_path) == ()
    assert tree.returncode is None


def test_a_signal_to_the_dead_is_no_error() -> None:
    """The process may end between the look and the signal."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait(5)
    signal_process(gone.pid, signal.SIGTERM)

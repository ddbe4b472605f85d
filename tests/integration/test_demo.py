"""The demo as a real process: how it ends when it is not let to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compose.cluster import HOME, ClusterError, LocalCluster
from compose.demo.local import LocalStage
from compose.processes import kill_processes, processes_of
from compose.run_directory import RunDirectory

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("only_cluster")

TIMEOUT_S = 60.0
DEMO = """
import os, pathlib, sys
from compose.demo.runner import main
sys.exit(main(os.environ, pathlib.Path(sys.argv[1])))
"""


def spawn(directory: Path, **options: str) -> subprocess.Popen[str]:
    """Start the demo with its cluster in a directory."""
    return subprocess.Popen(
        [sys.executable, "-c", DEMO, str(directory)],
        cwd=HOME,
        env={"PATH": os.environ["PATH"]} | options,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path_factory: pytest.TempPathFactory, number: signal.Signals) -> None:
    """A signal in the middle stops every node, although DEMO_STAY is set, and the exit code tells."""
    directory = tmp_path_factory.mktemp("d")
    with spawn(directory, DEMO="local", DEMO_STAY="1") as process:
        assert process.stdout is not None
        # Until the load runs, or the demo has ended: each line comes within the demo's own deadlines.
        lines = iter(process.stdout.readline, "")
        assert any("requests flow" in line for line in lines)
        cluster = LocalCluster.open(directory)
        assert len(cluster.running()) == 3
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 128 + number
    assert cluster.running() == ()


ADD_WEB = """
import pathlib, sys
from compose.cluster import LocalCluster
LocalCluster.open(pathlib.Path(sys.argv[1])).add_web()
"""


def add_web(cluster: LocalCluster) -> None:
    """Start a web node as another process does."""
    subprocess.run([sys.executable, "-c", ADD_WEB, str(cluster.directory)], cwd=HOME, check=True, timeout=TIMEOUT_S)


async def test_what_an_earlier_demo_left_up_is_stopped(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Demo after demo needs nothing in between."""
    directory = tmp_path_factory.mktemp("d") / "c"
    await LocalStage.create(directory, print)
    add_web(LocalCluster.open(directory))
    session = RunDirectory(directory).session_of(LocalCluster.open(directory).node("web1"))
    assert session is not None
    said: list[str] = []
    try:
        await LocalStage.create(directory, said.append)
        assert said == ["stopping the cluster that an earlier demo left up ..."]
        assert processes_of(session, directory / "web1") == ()
    finally:
        kill_processes(session, directory / "web1")


async def test_a_cluster_that_a_person_brought_up_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It goes on, and the text says how it is stopped."""
    cluster = LocalCluster.create(tmp_path_factory.mktemp("d"))
    add_web(cluster)
    try:
        with pytest.raises(ClusterError, match=r"web1 still run; stop them first .*compose down"):
            await LocalStage.create(cluster.directory, print)
        assert [node.name for node in cluster.running()] == ["web1"]
    finally:
        cluster.kill_all()


@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        ("compose", "no container engine answers"),
        ("somewhere", "DEMO=somewhere: there is no such mode"),
    ],
)
def test_a_mode_that_cannot_be_had_ends_at_once(tmp_path: Path, mode: str, problem: str) -> None:
    """One line that says why; nothing was started."""
    with spawn(tmp_path / "d", DEMO=mode, DOCKER_HOST=f"unix://{tmp_path}/nobody.sock") as process:
        output = process.communicate(timeout=TIMEOUT_S)[0]

    assert process.returncode == 2
    assert output.startswith(f"demo: {problem}")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which an engine answers, but compose cannot do anything."""
    folder = tmp_path_factory.mktemp("broken")
    for name, script in {
        "docker": '[ "$1" != compose ]',
        "docker-compose": "echo no compose today >&2; exit 1",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_containers_that_were_asked_for_and_cannot_be_had(tmp_path: Path, broken: str) -> None:
    """The text says why, and what can be done."""
    with spawn(tmp_path / "d", DEMO="compose", PATH=broken) as process:
        output = process.communicate(timeout=TIMEOUT_S)[0]

    assert process.returncode == 2
    assert "no compose today" in output
    assert output.endswith("DEMO=local needs no containers\n")


def test_local_processes_where_containers_cannot_be_had(tmp_path_factory: pytest.TempPathFactory, broken: str) -> None:
    """Nobody asked for containers by name: the demo says why there are none, and goes on."""
    directory = tmp_path_factory.mktemp("d")
    with spawn(directory, PATH=broken) as process:
        assert process.stdout is not None
        lines = []
        for line in iter(process.stdout.readline, ""):
            lines.append(line)
            if "requests flow" in line:
                process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)

    output = "".join(lines)
    assert "no compose today" in output
    assert "local mode: a container engine answers, but containers cannot be had" in output
    assert process.returncode == 128 + signal.SIGTERM
    assert LocalCluster.open(directory).running() == ()


def test_demo_ends_after_a_first_step_that_fails(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a cluster no other step is run, and none is said to have held."""
    folder = tmp_path_factory.mktemp("no-haproxy")
    (folder / "haproxy").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    (folder / "haproxy").chmod(0o755)
    with spawn(tmp_path_factory.mktemp("d"), DEMO="local", PATH=f"{folder}:{os.environ['PATH']}") as process:
        output = process.communicate(timeout=120)[0]

    assert process.returncode == 1
    assert "1/9 the cluster starts" in output
    assert "2/9" not in output
    assert "not run: three nodes join, one node stops in order" in output
    assert "\u2713" not in output

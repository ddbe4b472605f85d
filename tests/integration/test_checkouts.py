"""Clusters of several checkouts on one machine, whatever their paths are, and disks that cannot be written."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from compose.cluster import LocalCluster
from compose.settled import require_own, wait_settled

pytestmark = pytest.mark.usefixtures("only_cluster")

TREE = Path(__file__).parents[2]
FOLDERS = ("compose", "daemon", "haproxy", "webapp")
TIMEOUT_S = 120.0


def checkout(folder: Path) -> Path:
    """A copy of what runs a cluster, with this project's .venv."""
    folder.mkdir()
    for name in FOLDERS:
        shutil.copytree(TREE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "wheels"))
    venv = folder / ".venv"
    venv.mkdir()
    for part in ("bin", "lib", "include", "pyvenv.cfg"):
        (venv / part).symlink_to(Path(sys.prefix) / part)
    return folder


def compose(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the checkout's cluster."""
    return subprocess.run(
        [".venv/bin/python", "-m", "compose", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "daemon")},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


def test_two_checkouts_that_start_at_once_have_networks_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also where a path has blanks and other characters: both serve, each with its own nodes."""
    folder = tmp_path_factory.mktemp("d")
    checkouts = [checkout(folder / name) for name in ("a", "a clöne")]
    try:
        with ThreadPoolExecutor() as pool:
            started = list(pool.map(lambda one: compose(one, "up", "--web", "1"), checkouts))
        assert [one.returncode for one in started] == [0, 0], [one.stderr for one in started]
        urls = [compose(one, "url").stdout.strip() for one in checkouts]
        assert urls[0] != urls[1]
        for one, url in zip(checkouts, urls, strict=True):
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  an address of 127.20.0.0/16
                address = answer.headers["x-backend-ip"]
            record = json.loads((one / ".run" / "demo" / "web1" / "node.json").read_text())
            assert address == record["address"]
    finally:
        for one in checkouts:
            with suppress(subprocess.TimeoutExpired):
                compose(one, "down")


async def test_listener_of_another_program_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cluster whose addresses are served by something else as well is an error."""
    cluster = LocalCluster.create(tmp_path_factory.mktemp("d") / "c")
    try:
        cluster.add_balancer()
        node = cluster.add_web()
        await wait_settled(cluster)
        require_own(cluster)
        with socket.create_server((node.address, 0)) as stranger:
            port = stranger.getsockname()[1]
            assert await asyncio.to_thread(cluster.strangers) == (f"{node.address}:{port}",)
    finally:
        cluster.kill_all()


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        (
            "-t tmpfs -o size=4k tmpfs $1 && ! head -c 9000 /dev/zero 2>/dev/null >$1/full",
            "No space left on device; make",
        ),
        ("-t tmpfs -o ro tmpfs $1 && true", "Read-only file system; use a clone on a disk that can be written"),
    ],
)
def test_disk_that_cannot_be_written_is_named(tmp_path: Path, mount: str, problem: str) -> None:
    """One line with the path and the remedy, and exit code 2."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("mounts of its own are not allowed to this user here")
    program = "import pathlib, sys, compose.__main__ as m; m.RUN = pathlib.Path(sys.argv.pop(1)); m.main()"
    done = subprocess.run(
        [*unshare, "sh", "-c", f'mount {mount} && exec "$2" -c "$3" "$1" up', "sh", tmp_path, sys.executable, program],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"compose: {tmp_path}/demo")
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1

"""An engine, the images, and a cluster for each test that asks for one.

Where no engine answers, one is started here (which needs root and `dockerd`) and ended after the tests. The images are
made once. A machine that can do neither skips the tests, loudly and by name; CI has all of it, so CI skips none.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from compose.containers import ContainerCluster
from compose.engine import Engine, answers
from compose.images import make_images

ENGINE_START_S = 60.0
ENGINE_STOP_S = 60.0


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """A container engine that answers."""
    if answers():
        yield
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs a container engine, or root and dockerd to start one")
    with tempfile.TemporaryDirectory(prefix="rosterd-engine-") as folder, (Path(folder) / "log").open("wb") as log:
        command = ["dockerd", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
            try:
                give_up_at = time.monotonic() + ENGINE_START_S
                while not answers():
                    assert process.poll() is None, (Path(folder) / "log").read_text(errors="replace")[-2000:]
                    assert time.monotonic() < give_up_at, "dockerd does not answer"
                    time.sleep(0.2)
                yield
            finally:
                process.terminate()
                process.wait(ENGINE_STOP_S)


@pytest.fixture(scope="session")
def images(engine: None) -> None:  # noqa: ARG001  images are made on an engine
    """The images of the tree as it is."""
    make_images(Engine.find("rosterd-images"), print)


@pytest_asyncio.fixture
async def cluster(images: None, tmp_path: Path) -> AsyncIterator[ContainerCluster]:  # noqa: ARG001  containers are made of images
    """A cluster without containers yet; whatever a test starts in it is removed with its volumes."""
    made = ContainerCluster.create(tmp_path, f"rosterd-test-{uuid4().hex[:8]}")
    try:
        yield made
    finally:
        await asyncio.to_thread(made.remove_all)

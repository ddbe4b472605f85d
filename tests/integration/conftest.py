"""What tests that run beside each other must not do at the same time."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def only_cluster() -> Iterator[None]:
    """Be the only test that starts clusters as a person does: they take the first network in which nobody listens."""
    with (Path(tempfile.gettempdir()) / "rosterd-tests-cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""What the daemon holds for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer import Balancer

MAX_MB = 72.0
"""A bound that a large import would break. Python 3.14 holds 4 MB more than 3.11; the goal is in the bench."""


@pytest.fixture
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer that serves one node."""
    with Balancer(tmp_path_factory.mktemp("b")) as made:
        made.start()
        made.wait_served(made.add_web())
        yield made


def test_the_memory_of_a_daemon_at_work(balancer: Balancer) -> None:
    """It stays bounded, with what it needs loaded and a state applied."""
    assert resident_mb(balancer.daemon.pid) < MAX_MB


def test_a_daemon_has_no_openssl(balancer: Balancer) -> None:
    """It speaks TLS with nobody, and what is not there needs no care."""
    mapped = Path(f"/proc/{balancer.daemon.pid}/maps").read_text(encoding="utf-8")
    assert "python" in mapped
    assert "libssl" not in mapped
    assert "libcrypto" not in mapped


def resident_mb(pid: int) -> float:
    """What a process holds, in millions of bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1_000_000

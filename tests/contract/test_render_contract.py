"""The real HAProxy takes what is rendered."""

from __future__ import annotations

import subprocess

import pytest

from tests.fixtures.render.record import CASES, FOLDER, TREE


@pytest.mark.parametrize("case", CASES)
def test_haproxy_accepts_each_golden_file(case: str) -> None:
    """Golden files are what a person read, and also what HAProxy can read."""
    command = ["haproxy", "-c", "-f", str(FOLDER / f"{case}.cfg")]
    result = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr

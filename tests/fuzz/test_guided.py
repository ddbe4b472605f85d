"""Every target for some seconds: no exception that is not ours, no hang, no flood of memory."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, corpus

SECONDS = 20
ONE_INPUT_S = 5
MOST_MEMORY_MB = 1024
LONGEST_INPUT = 8192
TREE = Path(__file__).parents[2]
LEAST_RUNS = 200


@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris, which there is for x86_64")
@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str, tmp_path: Path) -> None:
    """Guided by what the code does with them, from what real programs said."""
    seeds = tmp_path / "corpus"
    seeds.mkdir()
    for number, seed in enumerate(corpus(name)):
        (seeds / str(number)).write_bytes(seed)
    limits = [
        f"-max_total_time={SECONDS}",
        f"-timeout={ONE_INPUT_S}",
        f"-rss_limit_mb={MOST_MEMORY_MB}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={tmp_path}/",
    ]
    command = [sys.executable, "-m", "tests.fuzz", name, str(seeds), *limits]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=SECONDS + 100, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    runs = re.search(r"Done (\d+) (?:runs )?in \d+ second", done.stderr)
    assert runs is not None, done.stderr[-1000:]
    assert int(runs[1]) > LEAST_RUNS

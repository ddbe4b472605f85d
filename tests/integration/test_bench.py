"""The benchmark itself, in a smoke run: it measures, counts what fails, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from tests.bench.children import Traffic, WebFarm, wait_for_answers
from tests.bench.samples import Outcome
from tests.bench.waiting import until
from tests.loopback import free_address

TREE = Path(__file__).parents[2]


def start(report: Path, **variables: str) -> subprocess.Popen[str]:
    """Start a smoke run in a session of its own, by which its processes can be found."""
    environ = {"BENCH_QUICK": "1", "BENCH_REPORT": str(report), "BENCH_PLOTS": ""} | variables
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench"],
        cwd=TREE,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(session: int) -> set[int]:
    """Find the processes of a session, other than those that have ended and wait to be asked."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, _, its_session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(its_session) == session and state != "Z":
                found.add(int(entry.name))
    return found


def is_under_load(session: int) -> bool:
    """Whether the generator runs, which is what a scenario starts last."""
    commands = (Path(f"/proc/{pid}/cmdline") for pid in processes_of(session))
    return any(b"tests.bench.generator" in path.read_bytes() for path in commands if path.exists())


def test_a_smoke_run_measures(tmp_path: Path) -> None:
    """The report has its shape, and its figures are possible."""
    report = tmp_path / "report.json"
    bench = start(report, SCENARIO="join", CONTENDER="rosterd,static")
    output, _ = bench.communicate(timeout=60)
    assert bench.returncode == 0, output
    results = json.loads(report.read_text(encoding="utf-8"))
    figures = results["join_5"]["rosterd"]
    assert figures["requests"] > 0
    assert isinstance(figures["failed"], int)
    assert 0 < figures["visible_p50_s"] <= figures["p50_s"] <= figures["p95_s"] < 20
    assert set(results["join_5"]["static"]) == {"not_measured"}
    assert set(results) == {"about", "join_5", "join_50"}
    assert processes_of(bench.pid) == set()


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C, which reaches every process of the group, ends all of them."""
    bench = start(tmp_path / "report.json", SCENARIO="churn", CONTENDER="static")
    until(lambda: is_under_load(bench.pid), "the load to have begun")
    os.killpg(bench.pid, signal.SIGINT)
    output, _ = bench.communicate(timeout=30)
    assert bench.returncode == 130, output
    assert processes_of(bench.pid) == set()


def test_a_mistake_is_wrong_usage(tmp_path: Path) -> None:
    """Said at once, with what would be right."""
    bench = start(tmp_path / "report.json", SCENARIO="joyn")
    output, _ = bench.communicate(timeout=30)
    assert bench.returncode == 2
    assert "SCENARIO=joyn: may be any of join, leave" in output


def test_the_load_counts_what_fails() -> None:
    """Each request that was due is a sample, and those that nobody took are failures."""
    address = free_address(3000)
    with WebFarm() as farm:
        farm.open(address)
        with Traffic((address, 3000), rate=500.0) as traffic:
            wait_for_answers(traffic, 5.0)
            time.sleep(0.5)
            farm.close_site(address)
            time.sleep(0.5)
    kinds = {Outcome(sample.outcome) for sample in traffic.samples}
    assert {Outcome.ANSWERED, Outcome.REFUSED} <= kinds
    dues = [sample.due for sample in sorted(traffic.samples)]
    assert all(abs(later - sooner - 1 / 500) < 1e-6 for sooner, later in pairwise(dues))

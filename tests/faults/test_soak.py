"""The soak itself: a short one breaks things, heals, counts and leaves nothing behind. docs/soak.md has long ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.census import processes_below
from tests.soak.faults.fault import Fault
from tests.soak.place import WEB_NODES, Place
from tests.soak.report import report_of
from tests.soak.runner import Patience, Runner, Story
from tests.soak.schedule import Part, turns

TREE = Path(__file__).parents[2]
FAULTS = "node-killed,daemon-killed,tags-changed,template-edited,haproxy-worker-killed"
SEED = "38"
"""All five are dealt within three turns."""


def start(report: Path, **variables: str) -> subprocess.Popen[str]:
    """Start a soak of some faults in a session of its own."""
    environ = {"SOAK_SEED": SEED, "FAULTS": FAULTS, "SOAK_REPORT": str(report)} | variables
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soak"],
        cwd=TREE,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_short_soak(tmp_path: Path) -> None:
    """Every fault was tried and healed; requests failed with an excuse alone, and the report says when."""
    report = tmp_path / "report.json"
    soak = start(report, MINUTES="0.5")
    output, _ = soak.communicate(timeout=240)
    assert soak.returncode == 0, output
    found = json.loads(report.read_text(encoding="utf-8"))
    assert (found["ok"], found["orphans"], found["problems"]) == (True, 0, [])
    assert found["requests"]["requests"] > 2000
    assert found["requests"]["failed"] == 0
    assert set(found["faults"]) == set(FAULTS.split(","))
    assert all(row["tried"] and row["heal_median_s"] is not None for row in found["faults"].values())
    worker = found["faults"]["haproxy-worker-killed"]
    assert worker["excused"] == found["requests"]["excused"] > 0
    assert found["uses"]["rosterd"]["rss_mb"]["most"] > 20
    assert f"SOAK_SEED={SEED}" in output


def test_an_interrupted_soak_leaves_nothing_behind(tmp_path: Path) -> None:
    """It tells what happened until then, and ends every process."""
    report = tmp_path / "report.json"
    soak = start(report, MINUTES="5", FAULTS="tags-changed")
    assert soak.stdout is not None
    output = ""
    while "well" not in output:
        output += soak.stdout.readline()
    cluster = Path(output.splitlines()[0].rpartition(" ")[2])
    assert processes_below(cluster) != ()
    os.kill(soak.pid, signal.SIGINT)
    rest, _ = soak.communicate(timeout=60)
    assert soak.returncode == 130, rest
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["faults"]["tags-changed"]["tried"] > 0
    assert found["requests"]["requests"] > 0
    assert processes_below(cluster) == ()


class Sabotage(Fault):
    """A web node is killed, and nobody starts it again."""

    name = "sabotage"
    what = "a fault that nobody undoes"
    parts = frozenset({Part.NODES})
    nodes = 1

    async def inject(self) -> None:
        """Kill it."""
        self.place.cluster.kill(self.victims[0])


async def test_a_fault_that_does_not_heal_is_a_failure(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is told what is amiss, with the status and the end of the log; the soak ends there, long before its time."""
    story = Story()
    async with Place.open(tmp_path_factory.mktemp("s") / "c", 120.0) as place:
        story.ledger, story.left_over = place.ledger, place.left_over
        runner = Runner(place, [Sabotage], lambda _: None, story, Patience(2.0, 1.0))
        await runner.run(turns(1, [Sabotage], WEB_NODES), 300.0)
        (victim,) = [web for web in place.webs if not place.cluster.is_running(web)]
    report = report_of({}, [Sabotage], story)
    assert (report["ok"], report["faults"]["sabotage"]["not_healed"]) == (False, 1)
    told = "\n".join(report["problems"])
    assert "the soak ended at turn 1" in told
    assert f"no member at {victim.address}" in told or f"servers at {victim.address}: ready, weight 100, down" in told
    assert "member.joined" in told
    assert (report["orphans"], report["requests"]["failed"]) == (0, 0)

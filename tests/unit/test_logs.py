"""How a log line looks, seen from outside: in a process like the daemon's, since the set-up is the process's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SECRET = "correct horse"  # noqa: S105  a test's own

SCRIPT = """
from rosterd.__main__ import leave_out
leave_out()
import asyncio, logging, sys, time
import structlog
from rosterd import logs
from rosterd.stdlib_logs import StdlibLogs
from rosterd.log_writer import LogWriter

seen = []

def keep(_logger, _method, event):
    seen.append(event["event"])
    return event

early = structlog.get_logger("early")
writer = LogWriter(sys.stderr.fileno())
logs.configure(sys.argv[1], sys.argv[2], keep, writer, StdlibLogs(time.monotonic))
log = structlog.get_logger("late")

def fail():
    key = "correct " + "horse"
    raise ValueError("it broke")

early.info("member.joined", member="web-1", weight=7)
log.debug("member.seen")
try:
    fail()
except ValueError:
    log.exception("turn.failed")

async def speak():
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("something is wrong")

asyncio.run(speak())
writer.close()
"""


def written(level: str, style: str) -> str:
    """Return what the script writes on standard error; it writes nothing else."""
    command = [sys.executable, "-c", SCRIPT, level, style]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize("style", ["json", "auto"])
def test_json_away_from_a_terminal(style: str) -> None:
    """One object a line: event, level, time, and the fields as they were given."""
    joined, failed, library = written("info", style).splitlines()
    line = json.loads(joined)
    assert line.pop("time").endswith("Z")
    assert line == {"event": "member.joined", "level": "info", "member": "web-1", "weight": 7}
    assert (json.loads(failed)["event"], json.loads(failed)["level"]) == ("turn.failed", "error")
    line = json.loads(library)
    assert (line["event"], line["library"], line["error"]) == ("library.warned", "library", "something is wrong")


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_values(style: str) -> None:
    """It says what broke and where, and not what the variables held: one of them may be a secret."""
    text = written("info", style)
    assert "it broke" in text
    assert "fail" in text
    assert SECRET not in text


def test_the_level_is_the_least_that_is_written() -> None:
    """Debug shows all, error little."""
    assert "member.seen" in written("debug", "json")
    assert "member.seen" not in written("info", "json")
    assert "member.joined" not in written("error", "json")
    assert "turn.failed" in written("error", "json")

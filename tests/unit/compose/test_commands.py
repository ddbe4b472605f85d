from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

ASK = "import json, os, sys; print(json.dumps([sys.stdin.isatty(), sys.stdout.isatty(), os.environ.get('TERM')]))"
BECOME = f"""
import sys
from compose.commands import become
print("before")
become([sys.executable, "-c", {ASK!r} + "; sys.exit(7)"], {{"NODE": "n"}})
"""


def test_what_a_person_runs_has_the_terminal() -> None:
    """It can draw on it and read keys, knows its kind, and ends with its own exit code."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", BECOME],
            stdin=theirs,
            stdout=theirs,
            env={"PATH": os.environ["PATH"], "TERM": "xterm"},
        )
        assert process.wait(30) == 7
        said = os.read(ours, 1000).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)

    assert said[0] == "before"
    assert json.loads(said[1]) == [True, True, "xterm"]

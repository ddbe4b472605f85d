"""`python -m compose logs` as a process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from compose.cluster import HOME
from compose.run_directory import RunDirectory

LINES = 300


def write_logs(directory: Path) -> None:
    """A cluster of one node that has written more than a pipe holds."""
    logs = directory / "web1" / "logs"
    logs.mkdir(parents=True)
    (directory / "cluster.json").write_text("{}", encoding="ascii")
    line = {"time": "2026-01-01T00:00:00.000Z", "level": "info", "event": "member.joined", "detail": "x" * 900}
    (logs / "rosterd.log").write_text(f"{json.dumps(line)}\n" * LINES, encoding="ascii")


def test_interrupt_ends_following_although_the_output_is_not_read(tmp_path: Path) -> None:
    """The signal's default action ends the process, which no state of the interpreter can delay."""
    write_logs(RunDirectory(tmp_path / "c").path)
    program = "import sys, pathlib, compose.__main__ as m; m.RUN = pathlib.Path(sys.argv.pop(1)); m.main()"
    command = [sys.executable, "-c", program, str(tmp_path), "logs", "--cluster", "c"]
    with subprocess.Popen(command, cwd=HOME, env=os.environ, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert b"member.joined" in os.read(process.stdout.fileno(), 4096)
            time.sleep(0.2)  # until the pipe is full, or nearly so: both must do
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == -signal.SIGINT
        finally:
            process.kill()

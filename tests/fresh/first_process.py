"""The first process of a fresh machine: starts one command, reaps all processes, and reports those that stay.

It runs on the machine's own Python, without this project. Exit codes: the command's own, or `LEFT_RUNNING` where the
command succeeded and processes that it started still run `LINGER_S` later.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

LEFT_RUNNING = 125
LINGER_S = 5.0


def run(command: list[str]) -> int:
    """Run the command to its end, and reap every other process that ends meanwhile; the exit code."""
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)  # noqa: S606  the command is the caller's
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status) % 256


def left_running() -> list[str]:
    """The command lines of the processes that still run after a moment."""
    give_up_at = time.monotonic() + LINGER_S
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        found = [
            _command_line(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit() and entry.name != "1"
        ]
        found = [line for line in found if line]
        if not found or time.monotonic() > give_up_at:
            return found
        time.sleep(0.1)


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def main(command: list[str]) -> int:
    """Run the command, then look for what it left running."""
    code = run(command)
    left = left_running()
    for line in left:
        sys.stderr.write(f"fresh: still runs after the command ended: {line}\n")
    return LEFT_RUNNING if left and not code else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

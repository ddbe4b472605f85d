"""Keeps a program's output from blocking the program: `log_relay.py` copies standard input to standard output.

A pipe to a supervisor that stands still takes 64 KiB, and then each write blocks, and with it whatever the program does
beside it. The relay always reads, and drops what its own output does not take. Rules:

- Lines are copied whole, or in pieces of `MAX_PIECE` bytes where they are longer: a pipe takes so much whole or not at
  all.
- What was dropped is counted; the number stands in the log once there is room again.
- Signals of the terminal are ignored: the relay ends when the last writer closes the pipe.

The file runs alone, with nothing of the package to import: `start` executes it so.
"""

from __future__ import annotations

import os
import signal
import stat
import sys

MAX_PIECE = 4096
STDIN, STDOUT, STDERR = 0, 1, 2


def start() -> None:
    """Put a relay between this process and the pipe that is its standard output; do nothing where that is no pipe.

    Standard error goes the same way. The process keeps its id, so that it can become another program.
    """
    if not stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
        return
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        os.dup2(read_end, STDIN)
        # Each other descriptor is closed at the execution. The path names this file, not a command of a user.
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__])  # noqa: S606
    for descriptor in (STDOUT, STDERR):
        os.dup2(write_end, descriptor)
    os.close(read_end)
    os.close(write_end)


def relay() -> None:
    """Copy until the end of the input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_blocking(STDOUT, False)
    dropped, rest = 0, b""
    while chunk := os.read(STDIN, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if dropped and _put(b"log_relay: %d lines were dropped while the log's reader stood still" % dropped):
                dropped = 0
            dropped += not _put(line)
        if len(rest) >= MAX_PIECE:
            dropped, rest = dropped + (not _put(rest)), b""
    if rest:
        _put(rest)


def _put(line: bytes) -> bool:
    """Write a line; False if there is no room for all of it."""
    text = line + b"\n"
    try:
        for begin in range(0, len(text), MAX_PIECE):
            os.write(STDOUT, text[begin : begin + MAX_PIECE])
    except OSError:  # no room, or no reader any more
        return False
    return True


if __name__ == "__main__":
    relay()

"""`python -m compose.node.wait_for_file FILE COMMAND …`: becomes COMMAND once FILE is there.

HAProxy cannot start without the configuration that rosterd writes first; until then this process holds its place
under supervisord, so that no start order is wrong and no failed start is counted.

HAProxy writes each change of a server's health on its standard error, from threads that carry traffic. The pipe to
supervisord is made non-blocking before: a line is lost while supervisord stands still, and HAProxy goes on.
The reasons of a start or a reload that fails stay in the log, which `haproxy -q` would silence.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from pathlib import Path

POLL_S = 0.02
EXIT_USAGE = 2


def main(arguments: list[str]) -> None:
    """Wait for as long as it takes, then execute the command."""
    if len(arguments) < 2:
        sys.stderr.write("usage: python -m compose.node.wait_for_file FILE COMMAND [ARGUMENT …]\n")
        sys.exit(EXIT_USAGE)
    file, command = Path(arguments[0]), arguments[1:]
    program = shutil.which(command[0])
    if program is None:
        sys.stderr.write(f"wait_for_file: there is no program `{command[0]}`; install it or extend PATH\n")
        sys.exit(EXIT_USAGE)
    while not file.exists():
        time.sleep(POLL_S)
    never_wait_for_reader()
    os.execv(program, command)  # noqa: S606  becomes the command, so that signals reach it


def never_wait_for_reader() -> None:
    """Make the pipes of output and errors non-blocking: supervisord made them for this program alone."""
    for descriptor in (1, 2):
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.set_blocking(descriptor, False)


if __name__ == "__main__":
    main(sys.argv[1:])

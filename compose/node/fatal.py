"""Ends the container when supervisord has given up on a program, so that the engine starts it anew.

An event listener of supervisord: it is told of each program that went FATAL, and sends SIGTERM to its parent,
supervisord, which stops the others in order. The protocol: it says READY, gets a header line and a payload, and answers
with a result. Source: supervisord's manual, "Event Listeners and Event Notifications".
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

RESULT_OK = "RESULT 2\nOK"


def listen(events: TextIO, answers: TextIO, give_up: Callable[[str], None]) -> None:
    """Answer supervisord's events until it closes the stream; `give_up` gets the name of a program that went FATAL."""
    while True:
        answers.write("READY\n")
        answers.flush()
        header = _pairs(events.readline())
        if "len" not in header:
            return
        payload = _pairs(events.read(int(header["len"])))
        if header.get("eventname") == "PROCESS_STATE_FATAL":
            give_up(payload.get("processname", "?"))
        answers.write(RESULT_OK)
        answers.flush()


def _pairs(text: str) -> dict[str, str]:
    """The words `key:value` of a line."""
    return dict(word.split(":", 1) for word in text.split() if ":" in word)


def _end_container(program: str) -> None:
    sys.stderr.write(f"fatal: {program} cannot run; the container ends\n")
    sys.stderr.flush()
    os.kill(os.getppid(), signal.SIGTERM)


if __name__ == "__main__":
    listen(sys.stdin, sys.stdout, _end_container)

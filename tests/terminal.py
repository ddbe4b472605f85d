"""A program in a real terminal: a pty of a size that can be changed, whose output is kept and whose keys are pressed.

with Terminal([...], columns=80, rows=24) as terminal:
    terminal.until(lambda: "web-1" in terminal.screen(), "the server")
    terminal.press("q")
    assert terminal.exit_code() == 0
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeVar

from tests.balancer import until

T = TypeVar("T")

STOP_WITHIN_S = 10.0

ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
HOME = "\x1b[H"

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs `command` with this as its controlling terminal: what keys and resizing mean is the kernel's business."""

    def __init__(self, command: Sequence[str], columns: int, rows: int, environ: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        plain = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=plain | {"TERM": "xterm-256color", **environ},
        )
        self._slave = slave
        self._output = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._master, 65536)
            except OSError:  # nobody has the other end any more
                return
            self._output += read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_WITHIN_S)
        os.close(self._slave)
        self._reader.join()
        os.close(self._master)

    # --- what a person does -------------------------------------------------------------------------------------

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window, as a window manager would."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type these keys."""
        os.write(self._master, keys.encode())

    # --- what a person sees -------------------------------------------------------------------------------------

    @property
    def output(self) -> str:
        """All that has come out, escapes included."""
        return bytes(self._output).decode()

    def screen(self) -> list[str]:
        """The lines of the last frame that was drawn whole, without colours."""
        frames = self.output.rpartition(LEAVE_SCREEN)[0] or self.output
        _, _, last = frames.rpartition(HOME)
        return [_ESCAPES.sub("", line) for line in last.replace("\r", "").split("\n")]

    @property
    def frames(self) -> int:
        """How many frames have been begun."""
        return self.output.count(HOME)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as it does between programs."""
        modes: int = termios.tcgetattr(self._slave)[3]
        return bool(modes & termios.ECHO and modes & termios.ICANON)

    def until(self, condition: Callable[[], T], what: str, within: float = STOP_WITHIN_S) -> T:
        """Wait for a condition; a failure shows the screen."""
        return until(condition, what, within, told=lambda: "\n".join(self.screen()))

    def exit_code(self) -> int:
        """Wait for the end of the program."""
        return self.process.wait(STOP_WITHIN_S)

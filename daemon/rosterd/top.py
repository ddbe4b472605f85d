"""`rosterd top`: services, servers, traffic and the last changes, in a terminal, looked up again and again.

What is shown is made in `picture.py`; here it is asked for and drawn. Rules:

- A daemon that does not answer is told, beside what it said last; it is asked on.
- The terminal may be resized at any time, and what runs in it suspended.
- However it ends, the terminal is as it was: the cursor is back, and the screen from before.
- Without a terminal it prints one picture, whole, or as many as it is told, so far apart.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from rosterd.admin.client import ask
from rosterd.console import PIPE_WIDTH
from rosterd.errors import DaemonUnreachable
from rosterd.picture import Said, picture
from rosterd.whereabouts import listen_of

READ_EVENTS = 100
"""So many of the newest events are asked for."""


def run(settings_file: Path | None, interval_s: float, count: int | None) -> int:
    """Draw until somebody has seen enough, or so many times; then DaemonUnreachable if the last look was in vain."""
    said = Said(listen_of(settings_file))
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal and not console.is_dumb_terminal:
        last = asyncio.run(_in_a_terminal(said, console, interval_s, count))
        if count is None:
            return 0
    else:
        last = asyncio.run(_in_a_row(said, console, interval_s, count or 1))
    if last.error:
        raise DaemonUnreachable(last.error)
    return 0


async def look(said: Said) -> Said:
    """Ask the daemon anew."""
    try:
        status = await ask(said.listen, "/v1/status")
    except DaemonUnreachable as error:
        return replace(said, error=str(error))
    events: Sequence[Mapping[str, Any]] = ()
    with suppress(DaemonUnreachable, KeyError):  # it has gone meanwhile, or is one from before an update
        events = (await ask(said.listen, f"/v1/events?limit={READ_EVENTS}"))["events"]
    return Said(said.listen, datetime.now(UTC).strftime("%H:%M:%S"), status, events)


async def _in_a_row(said: Said, console: Console, interval_s: float, count: int) -> Said:
    """Print one picture after the other; in a pipe the lines are whole."""
    width = get_terminal_size().columns if console.is_terminal else PIPE_WIDTH
    for number in range(count):
        if number:
            await asyncio.sleep(interval_s)
            console.print()
        said = await look(said)
        if said.status is not None or count > 1:
            _print(console, picture(said, width))
    return said


def _print(console: Console, lines: Iterable[Text]) -> None:
    for line in lines:
        console.print(line, no_wrap=True, crop=False, overflow="ignore")


class _Canvas:
    """Draws what was said last, as large as the terminal is when it is drawn."""

    def __init__(self, said: Said) -> None:
        self.said = said

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from picture(self.said, options.max_width, options.height or console.height)


async def _in_a_terminal(said: Said, console: Console, interval_s: float, count: int | None) -> Said:
    """Draw on a screen of its own until told to stop; a picture of a number of them stays behind."""
    canvas, stop = _Canvas(said), asyncio.Event()
    live = Live(canvas, console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with ExitStack() as stack:
        keys = stack.enter_context(_keys(stop.set))
        stack.enter_context(live)
        stack.enter_context(_signals(stop.set, live.refresh, lambda: _suspend(live, keys)))
        looking = asyncio.create_task(_look_again(canvas, live.refresh, interval_s, count))
        stopped = asyncio.create_task(stop.wait())
        done, pending = await asyncio.wait({looking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()
    if count is not None:
        _print(console, picture(canvas.said, console.width))
    return canvas.said


async def _look_again(canvas: _Canvas, draw: Callable[[], None], interval_s: float, count: int | None) -> None:
    looks = 0
    while count is None or looks < count:
        if looks:
            await asyncio.sleep(interval_s)
        canvas.said = await look(canvas.said)
        looks += 1
        draw()


# --- the terminal -----------------------------------------------------------------------------------------------


class _Keyboard:
    """A terminal that gives each key at once and shows none, while `listen` is in force."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before = termios.tcgetattr(descriptor)

    def listen(self) -> None:
        tty.setcbreak(self._descriptor)

    def restore(self) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)


@contextmanager
def _keys(enough: Callable[[], None]) -> Iterator[_Keyboard | None]:
    """Listen to the keyboard, where there is one."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def pressed() -> None:
        keys = os.read(descriptor, 1024)
        if not keys or keys.lower().startswith(b"q"):
            enough()

    keyboard = _Keyboard(descriptor)
    try:
        keyboard.listen()
        loop.add_reader(descriptor, pressed)
        yield keyboard
    finally:
        loop.remove_reader(descriptor)
        keyboard.restore()


@contextmanager
def _signals(enough: Callable[[], None], draw: Callable[[], None], suspend: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handlers = {
        signal.SIGINT: enough,
        signal.SIGTERM: enough,
        signal.SIGHUP: enough,
        signal.SIGWINCH: draw,
        signal.SIGTSTP: suspend,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _suspend(live: Live, keys: _Keyboard | None) -> None:
    """Give the terminal back, stand still until the shell says to go on, and take it again."""
    live.stop()
    if keys is not None:
        keys.restore()
    os.kill(os.getpid(), signal.SIGSTOP)
    if keys is not None:
        keys.listen()
    live.start(refresh=True)

"""What the running daemon and the nodes are asked and told: each function is the command of that name in `cli.py`.

They ask as anybody could; none of this is part of the daemon. Each returns its exit code. How an answer is shown, for
people or for machines, is the caller's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import typer

from rosterd.admin.client import ask, follow
from rosterd.answers.states import refusals, states_answer
from rosterd.errors import DaemonUnreachable, NodeUnmoved, SettingsError
from rosterd.model import AdminState
from rosterd.serf.state_change import Patience
from rosterd.serf.tell import tell
from rosterd.settings import load
from rosterd.whereabouts import listen_of

TRY_AGAIN_S = 1.0
"""How long who follows waits for a daemon that has gone away."""

Show = Callable[[Mapping[str, Any]], None]
"""Shows an answer, or one event."""


def members(settings_file: Path | None, show: Show) -> int:
    """Show what the daemon answers."""
    show(_ask(settings_file, "/v1/members"))
    return 0


def status(settings_file: Path | None, show: Show) -> int:
    """Show what the daemon answers; 1 when it is not ready."""
    answer = _ask(settings_file, "/v1/status")
    show(answer)
    return 0 if answer["ready"] else 1


def running_versions(settings_file: Path | None) -> Mapping[str, str | None]:
    """Return the versions of the daemon that answers and of its HAProxy; nothing where no daemon can be asked."""
    try:
        answer = _ask(settings_file, "/v1/status")
    except (SettingsError, DaemonUnreachable):
        return {}
    return {"daemon": answer["version"], "haproxy": answer["proxy"]["version"]}


def events(settings_file: Path | None, limit: int, show: Show) -> int:
    """Show the newest events."""
    for event in _newest_events(settings_file, limit):
        show(event)
    return 0


def follow_events(settings_file: Path | None, limit: int, show: Show) -> int:
    """Show the newest events and then each as it comes, over restarts of the daemon, until Ctrl-C."""
    # Before the first line is shown. A shell starts its background jobs with SIGINT ignored, and Python keeps that: an
    # interrupt that arrived before the loop had its own handler would be lost.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        first = _newest_events(settings_file, limit)
        for event in first:
            show(event)
        listen = listen_of(settings_file)
        asyncio.run(until_interrupt(_follow(listen, first[-1]["id"] if first else "", show)))
    return 0


async def until_interrupt(work: Coroutine[Any, Any, None]) -> None:
    """Run the work until it ends or SIGINT cancels it; a second SIGINT raises KeyboardInterrupt.

    The loop's own signal handler wakes the loop. The handler of `asyncio.run` does not: a signal that arrives after the
    interpreter has looked for signals and before the loop sleeps waits there for the next event or timer.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _follow(listen: str, after: str, show: Show) -> None:
    told = ""
    while True:
        try:
            async for event in follow(listen, after):
                after, told = event.get("id", after), ""
                show(event)
        except DaemonUnreachable as error:
            if str(error) != told:
                typer.echo(f"rosterd: {error}; trying again", err=True)
            told = str(error)
        await asyncio.sleep(TRY_AGAIN_S)


def _newest_events(settings_file: Path | None, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _ask(settings_file, f"/v1/events?limit={limit}")["events"]
    return found


def set_state(settings_file: Path | None, names: list[str], word: str, within_s: float, show: Show) -> int:
    """Have nodes set their tag `state` to this word, and wait until the cluster shows it.

    Raises:
        NodeError: a name is nobody's, and nobody was told anything; or a node did not follow, and the others did.
    """
    serf, state = load(settings_file).serf, AdminState(word)
    key = serf.auth_key.get_secret_value() if serf.auth_key is not None else None
    outcomes = asyncio.run(tell(serf.host_port, key, names, state, Patience(serf.request_timeout_s, within_s)))
    show(states_answer(outcomes, state))
    if problems := refusals(outcomes, state):
        raise NodeUnmoved("\n".join(problems))
    return 0


def release(settings_file: Path | None) -> int:
    """Signal the daemon that the guard is wrong; 1 when it is not engaged."""
    answer = _ask(settings_file, "/v1/status")
    if not answer["guard"]:
        typer.echo("rosterd: the guard is not engaged", err=True)
        return 1
    pid = answer["pid"]
    try:
        # The daemon may be in another container, where its number is somebody else's.
        if b"rosterd" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            raise DaemonUnreachable(f"process {pid} is no rosterd here: run this beside the daemon, in its container")
        os.kill(pid, signal.SIGUSR1)
    except OSError as error:
        why = f"process {pid}: {error.strerror}"
        raise DaemonUnreachable(f"rosterd cannot be told ({why}): run this beside it, as its user or root") from error
    typer.echo(f"overridden until it ends: {answer['guard']}")
    return 0


def _ask(settings_file: Path | None, path: str) -> dict[str, Any]:
    return asyncio.run(ask(listen_of(settings_file), path))

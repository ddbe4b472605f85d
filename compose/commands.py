"""Commands that speak to a running node: `serf` to its agent, `supervisorctl` to its supervisord, `rosterd`.

Each takes the node's own environment (environment.py), which says where the node listens. What a program asks for
(`run...`) runs to its end, 20 s at most; a command that ends with another code than 0 is a result, no error, except
where a function says so. What a person asks for (`become`) has the terminal for as long as they like.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from compose.model import HOME, ClusterError
from compose.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMAND_DEADLINE_S = 20.0
OF_THE_TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
"""What a command has to know of the caller's terminal, which is no part of a node's environment."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit code of a command, and what it printed."""

    code: int
    stdout: str
    stderr: str


async def run_serf(environ: Mapping[str, str], command: str, *arguments: str) -> CommandResult:
    """Run a `serf` command against the node's agent, such as `members`."""
    rpc = f"-rpc-addr={environ['SERF_RPC_ADDRESS']}"
    return await run([find_program("serf"), command, rpc, *arguments], _with_rpc_key(environ))


async def set_serf_tags(environ: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Set tags of the node's running agent; an empty value deletes the tag.

    Raises:
        ClusterError: the agent refused or does not answer.
    """
    changes = [f"-set={key}={value}" if value else f"-delete={key}" for key, value in tags.items()]
    result = await run_serf(environ, "tags", *changes)
    if result.code:
        raise ClusterError(f"serf tags {' '.join(changes)}: {result.stdout}{result.stderr}".strip())


async def run_supervisorctl(environ: Mapping[str, str], *arguments: str) -> CommandResult:
    """Ask the node's supervisord, such as `restart rosterd` or `status`."""
    return await run(supervisorctl_command(*arguments), environ)


async def run_rosterd(environ: Mapping[str, str], *arguments: str) -> CommandResult:
    """Run a `rosterd` command with the settings of a balancer, such as `status --json`."""
    return await run(rosterd_command(*arguments), environ)


def supervisorctl_command(*arguments: str) -> list[str]:
    """How a node's supervisord is asked."""
    configuration = str(HOME / "compose" / "node" / "supervisord.conf")
    return [find_program("supervisorctl"), "-c", configuration, *arguments]


def rosterd_command(*arguments: str) -> list[str]:
    """How the `rosterd` of this .venv is run."""
    return [sys.executable, "-m", "rosterd", *arguments]


def become(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Run a command in this process's place: it has the terminal, the signals and the exit code, and no deadline."""
    sys.stdout.flush()
    of_the_terminal = {key: os.environ[key] for key in OF_THE_TERMINAL if key in os.environ}
    os.execve(command[0], [*command], {**environ, **of_the_terminal})  # noqa: S606  no shell


def _with_rpc_key(environ: Mapping[str, str]) -> dict[str, str]:
    """The key is told by a variable: every user of the machine could read it among the arguments."""
    key = Path(environ["SERF_RPC_AUTH_FILE"]).read_text(encoding="utf-8")
    return {**environ, "SERF_RPC_AUTH": key}


async def run(command: list[str], environ: Mapping[str, str], deadline_s: float = COMMAND_DEADLINE_S) -> CommandResult:
    """Run a command to its end. ClusterError when it does not end in time; it is killed then."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(deadline_s):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise ClusterError(f"{' '.join(command)}: no end after {deadline_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return CommandResult(process.returncode or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

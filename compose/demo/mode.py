"""Where the demo runs, and why. Choosing is pure; `find_engine` looks."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from enum import Enum

ENGINE_TIMEOUT_S = 3.0


class Mode(Enum):
    """The ways to run a cluster on one machine."""

    LOCAL = "local"
    COMPOSE = "compose"


class Engine(Enum):
    """Whether there is a container engine that this user may use."""

    RUNNING = "running"
    ABSENT = "absent"


class ModeRefusedError(Exception):
    """The mode that was asked for cannot be had; the text says why and what can."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The mode, the reason as half a sentence, and the mode to take where this one cannot be had after all, if any."""

    mode: Mode
    reason: str
    otherwise: Mode | None = None


def choose_by_name(name: str) -> Choice:
    """The mode that the variable DEMO names.

    Raises:
        ModeRefusedError: no such mode.
    """
    match name:
        case Mode.LOCAL.value:
            return Choice(Mode.LOCAL, "DEMO=local asks for it")
        case Mode.COMPOSE.value:
            return Choice(Mode.COMPOSE, "DEMO=compose asks for it")
        case _:
            raise ModeRefusedError(f"DEMO={name}: there is no such mode; use DEMO=local or DEMO=compose")


def choose_by_engine(engine: Engine) -> Choice:
    """The mode where DEMO names none: the best that there is."""
    match engine:
        case Engine.RUNNING:
            return Choice(Mode.COMPOSE, "a container engine answers", otherwise=Mode.LOCAL)
        case Engine.ABSENT:
            return Choice(Mode.LOCAL, "no container engine answers")


def choose_otherwise(choice: Choice, problem: str) -> Choice:
    """The mode where containers cannot be had after all.

    Raises:
        ModeRefusedError: they were asked for by name.
    """
    if choice.otherwise is None:
        raise ModeRefusedError(f"{problem}\nDEMO=local needs no containers")
    return Choice(choice.otherwise, "a container engine answers, but containers cannot be had (the reason is above)")


async def find_engine() -> Engine:
    """Ask the container engine, 3 s at most."""
    docker = shutil.which("docker")
    if docker is None:
        return Engine.ABSENT
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(docker, "version", stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        async with asyncio.timeout(ENGINE_TIMEOUT_S):
            return Engine.RUNNING if await process.wait() == 0 else Engine.ABSENT
    except TimeoutError:
        return Engine.ABSENT
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

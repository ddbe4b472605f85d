"""The container engine: whether one answers, and how it is spoken to.

Both `docker compose` (a plugin) and `docker-compose` (1.29 and newer) will do; the first that is there is taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compose import commands
from compose.model import HOME, ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

COMPOSE_FILE = HOME / "compose" / "compose.yaml"
RUNTIME_PORT_FILE = HOME / "compose" / "runtime-port.yaml"
"""Publishes HAProxy's runtime API, which `compose.yaml` alone does not."""
PROJECT_LABEL = "com.docker.compose.project"
ANSWER_S = 10.0
COMMAND_S = 120.0
STOP_S = 60


class EngineError(ClusterError):
    """The engine cannot do what was asked; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How to call docker and compose, for one project.

    `project` names containers, networks and volumes; `variables` are those of .env.example; compose gets `files` in
    their order.
    """

    compose_command: tuple[str, ...]
    project: str
    variables: dict[str, str] = field(default_factory=dict)
    has_buildx: bool = False
    files: tuple[Path, ...] = (COMPOSE_FILE,)

    @classmethod
    def find(cls, project: str) -> Engine:
        """The engine of this machine.

        Raises:
            EngineError: none answers, or there is no compose; the text says which.
        """
        if not answers():
            raise EngineError("no container engine answers (docker version)")
        if _works("docker", "compose", "version"):
            command: tuple[str, ...] = ("docker", "compose")
        elif shutil.which("docker-compose"):
            command = ("docker-compose",)
        else:
            raise EngineError("there is neither `docker compose` nor `docker-compose`; install one of them")
        return cls(command, project, has_buildx=_works("docker", "buildx", "version"))

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every call."""
        build = {} if self.has_buildx else {"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}
        return {**os.environ, **build, **self.variables}

    def docker(self, *arguments: str) -> list[str]:
        """A docker command."""
        return ["docker", *arguments]

    def compose(self, *arguments: str) -> list[str]:
        """A compose command for our files and project."""
        files = (word for file in self.files for word in ("--file", str(file)))
        return [*self.compose_command, "--project-name", self.project, *files, *arguments]

    def output_of(self, *arguments: str) -> str:
        """What a docker command prints, for the way out: a failure is as good as nothing."""
        return output_of(*arguments, deadline_s=COMMAND_S)

    async def run(self, command: Sequence[str], deadline_s: float = COMMAND_S) -> str:
        """As the function `run`, with the project's environment."""
        return await run(command, self.environ, deadline_s)


def owned_by(project: str) -> tuple[list[str], list[str], list[str]]:
    """The containers, networks and volumes of a project, by their labels; none where no engine answers."""
    label = ("--quiet", "--filter", f"label={PROJECT_LABEL}={project}")
    containers, networks, volumes = (
        output_of(*listing, *label).split() for listing in (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
    )
    return containers, networks, volumes


async def take_down(project: str, say: Callable[[str], None]) -> bool:
    """Stop the containers of a project in order, and remove them with its networks and volumes; whether there were any.

    By their labels: this needs neither compose nor the variables that the project was started with.

    Raises:
        EngineError: something cannot be stopped or removed.
        ClusterError: that took too long.
    """
    containers, networks, volumes = owned_by(project)
    if containers:
        say(f"stopping the containers of {project} in order ...")
        await run(["docker", "stop", "--time", str(STOP_S), *containers], os.environ)
        await run(["docker", "rm", "--force", "--volumes", *containers], os.environ)
    if networks:
        await run(["docker", "network", "rm", *networks], os.environ)
    if volumes:
        await run(["docker", "volume", "rm", *volumes], os.environ)
    return bool(containers or networks or volumes)


async def run(command: Sequence[str], environ: Mapping[str, str], deadline_s: float = COMMAND_S) -> str:
    """Run a command of docker or compose; its standard output.

    Raises:
        EngineError: it failed.
        ClusterError: it did not end in time.
    """
    ended = await commands.run([*command], environ, deadline_s)
    if ended.code:
        raise EngineError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return ended.stdout


def output_of(*arguments: str, deadline_s: float = ANSWER_S) -> str:
    """What a docker command prints; nothing where there is no docker, or no engine that answers."""
    if shutil.which("docker") is None:
        return ""
    command = ["docker", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False).stdout  # noqa: S603
    except subprocess.TimeoutExpired:
        return ""


def answers() -> bool:
    """Whether there is an engine that this user may use."""
    return _works("docker", "version")


def _works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        return subprocess.run(command, capture_output=True, timeout=ANSWER_S, check=False).returncode == 0  # noqa: S603
    except subprocess.TimeoutExpired:
        return False

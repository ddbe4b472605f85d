"""The container engine: whether one answers, and how it is spoken to.

Both `docker compose` (a plugin) and `docker-compose` (1.29 and newer) will do; the first that is there is taken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from compose import commands
from compose.model import HOME, ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPOSE_FILE = HOME / "compose" / "compose.yaml"
ANSWER_S = 10.0
COMMAND_S = 120.0


class EngineError(ClusterError):
    """The engine cannot do what was asked; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How to call docker and compose, for one project.

    `project` names containers, networks and volumes; `variables` are those of .env.example.
    """

    compose_command: tuple[str, ...]
    project: str
    variables: dict[str, str] = field(default_factory=dict)
    has_buildx: bool = False

    @classmethod
    def find(cls, project: str) -> Engine:
        """The engine of this machine.

        Raises:
            EngineError: none answers, or there is no compose; the text says which.
        """
        if not answers():
            raise EngineError("no container engine answers (docker version); DEMO=local needs none")
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
        """A compose command for our file and project."""
        return [*self.compose_command, "--project-name", self.project, "--file", str(COMPOSE_FILE), *arguments]

    def output_of(self, *arguments: str) -> str:
        """What a docker command prints, for the way out: a failure is as good as nothing."""
        command = self.docker(*arguments)
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False).stdout  # noqa: S603
        except subprocess.TimeoutExpired:
            return ""

    async def run(self, command: list[str], deadline_s: float = COMMAND_S) -> str:
        """Run a command; its standard output.

        Raises:
            EngineError: it failed.
            ClusterError: it did not end in time.
        """
        ended = await commands.run(command, self.environ, deadline_s)
        if ended.code:
            raise EngineError(f"{' '.join(command)}: {ended.stderr.strip()}")
        return ended.stdout


def collector_of(project: str) -> str:
    """The id of the running log collector of a project; empty where there is none, or no engine."""
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": "logs"}
    filters = [word for key, value in labels.items() for word in ("--filter", f"label={key}={value}")]
    if shutil.which("docker") is None:
        return ""
    command = ["docker", "ps", "--quiet", *filters]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)  # noqa: S603  docker, no shell
    return listed.stdout.split()[0] if listed.stdout.split() else ""


@contextlib.contextmanager
def tail_of(collector: str, lines: int) -> Iterator[IO[bytes]]:
    """Follow the file with the lines of all nodes, from so many past ones on, until the context is left."""
    command = ["docker", "exec", collector, "tail", f"--lines={lines}", "-F", "/var/log/cluster/all.jsonl"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:  # noqa: S603  as above
        assert process.stdout is not None  # noqa: S101  it is a pipe
        try:
            yield process.stdout
        finally:
            process.terminate()


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

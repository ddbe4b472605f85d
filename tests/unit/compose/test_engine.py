"""What is done to a project that another process started: a program in docker's place tells what it was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.engine import EngineError, take_down

DOCKER = """#!/bin/sh
echo "$*" >>"$0.asked"
case "$1 $2" in
    'ps '*) printf '%s' "$CONTAINERS" ;;
    'network ls') printf '%s' "$NETWORKS" ;;
    'volume ls') printf '%s' "$VOLUMES" ;;
    'volume rm') [ "$4" != busy ] || { echo 'volume is in use' >&2; exit 1; } ;;
esac
"""


class Docker:
    """What an engine has of a project, and what it was told to do."""

    def __init__(self, program: Path, patch: pytest.MonkeyPatch) -> None:
        self._program = program
        self._patch = patch

    def has(self, containers: str = "", networks: str = "", volumes: str = "") -> None:
        """Have these, by their ids."""
        for name, ids in {"CONTAINERS": containers, "NETWORKS": networks, "VOLUMES": volumes}.items():
            self._patch.setenv(name, ids.replace(" ", "\n"))

    def told(self) -> list[str]:
        """What it was told, but for questions."""
        lines = Path(f"{self._program}.asked").read_text().splitlines()
        return [line for line in lines if "--filter" not in line]

    def asked(self) -> list[str]:
        """What it was asked."""
        lines = Path(f"{self._program}.asked").read_text().splitlines()
        return [line for line in lines if "--filter" in line]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """An engine with nothing of the project."""
    program = tmp_path / "docker"
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    made = Docker(program, monkeypatch)
    made.has()
    return made


async def test_all_of_a_project_goes_in_order(docker: Docker) -> None:
    """Containers are stopped before they are removed, and what they used goes last."""
    docker.has(containers="c1 c2", networks="n1 n2", volumes="v1")
    said: list[str] = []

    assert await take_down("p", said.append)
    assert docker.told() == [
        "stop --time 60 c1 c2",
        "rm --force --volumes c1 c2",
        "network rm n1 n2",
        "volume rm v1",
    ]
    assert said == ["stopping the containers of p in order ..."]


async def test_only_of_that_project(docker: Docker) -> None:
    """Everything is asked for by the project's label."""
    await take_down("p", print)
    assert docker.asked()
    assert all(line.endswith("--filter label=com.docker.compose.project=p") for line in docker.asked())


async def test_volumes_that_were_left(docker: Docker) -> None:
    """They have keys and logs of a cluster that is gone."""
    docker.has(volumes="v1")
    assert await take_down("p", print)
    assert docker.told() == ["volume rm v1"]


async def test_a_project_that_is_not_there(docker: Docker) -> None:
    """Nothing is done, and it is told."""
    assert not await take_down("p", print)
    assert docker.told() == []


async def test_what_cannot_be_removed_is_told(docker: Docker) -> None:
    """With what the engine said."""
    docker.has(volumes="v1 busy")
    with pytest.raises(EngineError, match="volume is in use"):
        await take_down("p", print)


async def test_without_an_engine_there_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither docker nor an error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not await take_down("p", print)

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compose.__main__ import app
from compose.cluster import ClusterError

ABSENT = "no-such-cluster"


@pytest.mark.parametrize(
    "command",
    [
        ["add"],
        ["start", "web1"],
        ["stop", "web1"],
        ["kill", "web1"],
        ["tag", "web1", "weight=10"],
        ["nodes"],
        ["ready"],
        ["url"],
        ["ctl", "web1", "status"],
        ["rosterd", "status"],
        ["down"],
    ],
)
def test_without_a_cluster_each_command_says_so(command: list[str]) -> None:
    """The launcher prints the text as one line and ends with 2."""
    result = CliRunner().invoke(app, [command[0], "--cluster", ABSENT, *command[1:]])

    assert isinstance(result.exception, ClusterError)
    assert "no cluster; start one (up)" in str(result.exception)


@pytest.mark.parametrize("tag", ["weight", "=10", ""])
def test_a_tag_that_is_no_pair_is_refused(tag: str) -> None:
    """Before anything is asked of the cluster."""
    result = CliRunner().invoke(app, ["tag", "--cluster", ABSENT, "web1", tag])

    assert result.exit_code == 2
    assert "KEY=VALUE" in result.output


def test_the_past_of_no_cluster_is_empty() -> None:
    """Following may begin before there is anything to follow."""
    result = CliRunner().invoke(app, ["logs", "--cluster", ABSENT, "--no-follow"])

    assert result.exit_code == 0
    assert "waiting for one" in result.stderr


# --- logs of containers -----------------------------------------------------------------------------------------

DOCKER = """#!/bin/sh
case $1 in
    ps) echo 1 ;;
    inspect) cat "$(dirname "$0")/described" ;;
    exec) exec "$4" "$5" "$6" "$7" "$(dirname "$0")" "$9" ;;
esac
"""


@pytest.fixture
def collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the collector of the project `p` writes; a program in docker's place knows no other container."""
    labels = {"com.docker.compose.project": "p"}
    config = {"Image": "rosterd-logs:dev", "Labels": labels}
    described = [{"Id": "1", "Config": config, "State": {"StartedAt": "2026-01-02T03:04:05Z"}}]
    (tmp_path / "described").write_text(json.dumps(described))
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "all.jsonl"


def record(event: str, number: int) -> str:
    """A line of the collector."""
    return json.dumps({"node": "n", "program": "p", "record": {"event": event, "number": number}}) + "\n"


def test_the_past_is_chosen_before_it_is_cut(collector: Path) -> None:
    """The last lines of those that were asked for, however many others there were since; and then the end."""
    chosen = [record("a.done", number) for number in range(3)]
    collector.write_text("".join([*chosen, *(record("b.done", number) for number in range(500))]))
    result = CliRunner().invoke(app, ["logs", "--project", "p", "--no-follow", "--event", "a.*", "--lines", "2"])

    assert result.exit_code == 0
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["number=1", "number=2"]


def test_no_past_lines(collector: Path) -> None:
    """None are shown where none are wanted."""
    collector.write_text(record("a.done", 1))
    assert CliRunner().invoke(app, ["logs", "--project", "p", "--no-follow", "--lines", "0"]).stdout == ""


def test_a_node_that_is_not_there_is_told(collector: Path) -> None:
    """Nothing would be shown of it, and nobody would know why."""
    collector.write_text(record("a.done", 1))
    command = ["logs", "--project", "p", "--no-follow", "--node"]
    result = CliRunner().invoke(app, [*command, "zzz,n*"])

    assert result.stderr == "no node 'zzz'; there are: n\n"
    assert "a.done" in result.stdout
    assert CliRunner().invoke(app, [*command, "n"]).stderr == ""


@pytest.mark.usefixtures("collector")
def test_another_project_has_no_logs() -> None:
    """A project that is named is the only one that counts."""
    result = CliRunner().invoke(app, ["logs", "--project", "q", "--no-follow"])

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no log collector of the project q runs" in result.stderr


def test_a_cluster_that_is_named_is_a_local_one(collector: Path) -> None:
    """Also while there are containers."""
    collector.write_text(record("a.done", 1))
    result = CliRunner().invoke(app, ["logs", "--cluster", ABSENT, "--no-follow"])

    assert result.stdout == ""


def test_logs_are_those_of_one_cluster() -> None:
    """Local processes and containers at once are refused."""
    result = CliRunner().invoke(app, ["logs", "--cluster", ABSENT, "--project", "p"])

    assert result.exit_code == 2

from __future__ import annotations

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

"""`rosterd drain`, `maint` and `ready`: results on standard output, who does not follow on standard error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rosterd.cli import app
from tests.serf_fake import FakeAgent, FakeMember

STATES = {"drain": "drain", "maint": "maint", "ready": ""}


class Cluster:
    """An agent that is played, and the nodes around it."""

    def __init__(self, directory: Path) -> None:
        self.agent = FakeAgent(auth_key="k")
        self.settings = directory / "rosterd.toml"
        self.key = directory / "key"
        self.key.write_text("k\n")

    def write_settings(self) -> None:
        """Write where the agent is, and the key."""
        host, port = self.agent.rpc_address
        self.settings.write_text(f'[serf]\nrpc_address = "{host}:{port}"\nauth_key_file = "{self.key}"\n')

    def add(self, name: str, **tags: str) -> None:
        """Add a node that sets its state as it is told."""
        self.agent.members[name] = FakeMember(name, tags=tags)
        self.agent.handlers[name] = lambda payload: self._set(name, payload.decode().strip())

    def _set(self, name: str, state: str) -> bytes:
        tags = {key: value for key, value in self.agent.members[name].tags.items() if key != "state"}
        self.agent.set_tags(name, tags | ({} if state == "ready" else {"state": state}))
        return b"ok"

    async def runs(self, *arguments: str) -> Result:
        """Run a command with these settings."""
        return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--settings", str(self.settings)])


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Two web nodes, one of which drains."""
    cluster = Cluster(tmp_path)
    cluster.add("web1-a1", node="web1")
    cluster.add("web2", state="drain")
    await cluster.agent.start()
    cluster.write_settings()
    yield cluster
    await cluster.agent.close()


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        ("drain", "web1 (web1-a1) drains; seen", "web2 drains; as before\n"),
        ("maint", "web1 (web1-a1) is in maintenance; seen", "web2 is in maintenance; seen"),
        ("ready", "web1 (web1-a1) is ready; as before\n", "web2 is ready; seen"),
    ],
)
async def test_each_node_has_a_line(cluster: Cluster, command: str, first: str, second: str) -> None:
    """Its names, its state, and how long it took; exit code 0, also where it was so before."""
    result = await cluster.runs(command, "web1", "web2")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines(keepends=True)
    assert [line.startswith(start) for line, start in zip(lines, (first, second), strict=True)] == [True, True]
    assert [cluster.agent.members[name].tags.get("state", "") for name in ("web1-a1", "web2")] == [STATES[command]] * 2


async def test_json_for_a_machine(cluster: Cluster) -> None:
    """A row for each node, in the order given, also of those that did not follow."""
    cluster.agent.handlers["web1-a1"] = lambda _: b"error: no"
    result = await cluster.runs("drain", "--json", "web2", "web1")
    assert result.exit_code == 10
    why = "web1 (web1-a1) refused: no"
    assert json.loads(result.stdout) == {
        "state": "drain",
        "nodes": [
            {"node": "web2", "name": "web2", "done": True, "after_s": None, "problem": ""},
            {"node": "web1", "name": "web1-a1", "done": False, "after_s": None, "problem": why},
        ],
    }
    assert result.stderr == f"rosterd: {why}; on the node itself: serf tags -set state=drain\n"


async def test_a_node_without_a_handler(cluster: Cluster) -> None:
    """What to run there instead; the others' lines are printed all the same."""
    del cluster.agent.handlers["web2"]
    result = await cluster.runs("ready", "web1", "web2", "--timeout", "0.2")
    assert result.exit_code == 10
    assert result.stdout == "web1 (web1-a1) is ready; as before\n"
    assert result.stderr == (
        "rosterd: web2 got the query and did not answer within 0.2 s: its agent has no handler for rosterd-state, "
        "or it failed; on the node itself: serf tags -delete state\n"
    )


async def test_an_unknown_node(cluster: Cluster) -> None:
    """Who is there; nothing on standard output, not even with --json."""
    result = await cluster.runs("drain", "web9", "--json")
    assert (result.exit_code, result.stdout) == (10, "")
    assert result.stderr == "rosterd: there is no node 'web9'; alive are: web1, web2\n"


async def test_no_agent(cluster: Cluster) -> None:
    """The agent's own exit code, and where it was looked for."""
    cluster.agent.kill()
    result = await cluster.runs("drain", "web1")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("rosterd: Serf agent at 127.0.0.1:")
    assert "Connection refused" in result.stderr


async def test_an_agent_that_goes_in_the_middle(cluster: Cluster) -> None:
    """Who has followed has a line; who may have is told on standard error, with the exit code of who did not."""
    del cluster.agent.handlers["web2"]
    running = asyncio.create_task(cluster.runs("maint", "web1", "web2"))
    async with asyncio.timeout(5):
        while "state" not in cluster.agent.members["web1-a1"].tags:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0)
        # Who asks a second time has had the answer to the first.
        enough = cluster.agent.requests.count("members") + 2
        while cluster.agent.requests.count("members") < enough:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0)
    cluster.agent.kill()
    result = await running
    assert result.exit_code == 10
    assert result.stdout.startswith("web1 (web1-a1) is in maintenance; seen")
    assert result.stderr.startswith("rosterd: web2 may have done it or not: Serf agent at 127.0.0.1:")
    assert result.stderr.endswith("; on the node itself: serf tags -set state=maint\n")


async def test_another_key(cluster: Cluster) -> None:
    """The settings that hold it; never the key."""
    cluster.key.write_text("secret\n")
    result = await cluster.runs("drain", "web1")
    assert result.exit_code == 5
    assert "serf.auth_key_file" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize("arguments", [[], ["web1", "--timeout", "0"], ["web1", "--timeout", "x"]])
async def test_wrong_usage(cluster: Cluster, arguments: list[str]) -> None:
    """No node, or a time that is none."""
    result = await cluster.runs("drain", *arguments)
    assert result.exit_code == 2
    assert cluster.agent.requests == []

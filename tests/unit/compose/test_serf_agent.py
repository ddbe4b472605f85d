from __future__ import annotations

import base64
import json
import os
import shlex
import stat
from typing import TYPE_CHECKING

import pytest

from compose.node import state_handler
from compose.node.agent_settings import AgentSettings, AgentSettingsError, read_settings
from compose.node.serf_agent import agent_config, agent_tags, others, own_addresses, remembered_tags, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The least that an agent needs."""
    return {"NODE": "web1", "NODE_RUN": str(tmp_path), "SERF_ROLE": "backend"}


def resolver(**hosts: list[str]) -> Callable[[str], list[str]]:
    """A resolver that knows these hosts, and that an address is its own."""
    return lambda host: hosts.get(host, [host] if host[0].isdigit() or ":" in host else [])


# --- the environment --------------------------------------------------------------------------------------------


def test_the_least_that_is_needed(environ: dict[str, str]) -> None:
    """Name, role and run directory do; everything else has a default or is absent."""
    settings = read_settings(environ)

    assert (settings.address, settings.port, settings.join) == (None, None, ())
    assert (settings.gossip_port, settings.rpc_address) == (7946, "127.0.0.1:7373")
    assert (settings.rpc_auth, settings.encrypt_key) == (None, None)


def test_everything_given(environ: dict[str, str], tmp_path: Path) -> None:
    """Every variable reaches its field, the join list from both sources."""
    (tmp_path / "auth").write_text("secret\n")
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "seeds").write_text("127.9.9.3:7946\n\n127.9.9.4\n")
    environ |= {
        "NODE_ADDRESS": "127.9.9.1",
        "SERVICE_PORT": "3000",
        "SERF_TAGS": "zone=a, weight=10",
        "SERF_JOIN": "cluster,127.9.9.2",
        "SERF_JOIN_FILE": str(tmp_path / "seeds"),
        "SERF_GOSSIP_PORT": "8946",
        "SERF_RPC_ADDRESS": "127.9.9.1:8373",
        "SERF_RPC_AUTH_FILE": str(tmp_path / "auth"),
        "SERF_ENCRYPT_KEY_FILE": str(tmp_path / "key"),
    }

    assert read_settings(environ) == AgentSettings(
        node="web1",
        run=tmp_path,
        address="127.9.9.1",
        role="backend",
        port=3000,
        tags=(("zone", "a"), ("weight", "10")),
        join=("cluster", "127.9.9.2", "127.9.9.3:7946", "127.9.9.4"),
        gossip_port=8946,
        rpc_address="127.9.9.1:8373",
        rpc_auth="secret",
        encrypt_key=KEY,
    )


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Each wrong variable is named in one go."""
    (tmp_path / "short").write_text("c2hvcnQ=")
    wrong = {
        "NODE": "web 1\nserver x",
        "NODE_RUN": str(tmp_path / "absent"),
        "NODE_ADDRESS": "here",
        "SERVICE_PORT": "0",
        "SERF_TAGS": "zone",
        "SERF_GOSSIP_PORT": "65536",
        "SERF_RPC_ADDRESS": "7373",
        "SERF_RPC_AUTH_FILE": str(tmp_path / "absent"),
        "SERF_ENCRYPT_KEY_FILE": str(tmp_path / "short"),
    }
    with pytest.raises(AgentSettingsError) as caught:
        read_settings(wrong)

    assert {problem.split(":")[0] for problem in caught.value.problems} == {*wrong, "SERF_ROLE"}


def test_a_join_file_may_be_absent(environ: dict[str, str], tmp_path: Path) -> None:
    """The first node of a cluster may start before anybody has written the list."""
    environ["SERF_JOIN_FILE"] = str(tmp_path / "seeds")
    assert read_settings(environ).join == ()


# --- the configuration ------------------------------------------------------------------------------------------


def test_each_incarnation_has_its_own_name(environ: dict[str, str]) -> None:
    """The node's name for people stays in the tags; Serf's own name differs at each start."""
    settings = read_settings(environ)

    assert agent_config(settings, "a1b2c3", ())["node_name"] == "web1-a1b2c3"
    assert agent_tags(settings, {})["node"] == "web1"


def test_the_configuration_leaves_gracefully_and_keeps_no_secret_it_has_not(environ: dict[str, str]) -> None:
    """SIGTERM is a leave too; keys stand in the file only where there are any."""
    config = agent_config(read_settings(environ), "x", ["127.9.9.2:7946"])

    assert config["leave_on_terminate"] is True
    assert (config["profile"], config["retry_join"]) == ("lan", ["127.9.9.2:7946"])
    assert not {"rpc_auth", "encrypt_key", "tags", "event_handlers"} & set(config)


def test_a_node_with_a_service_lets_itself_be_drained(environ: dict[str, str]) -> None:
    """Its agent has the handler for the query that `rosterd drain` sends, as fixed text without a secret."""
    config = agent_config(read_settings(environ | {"SERVICE_PORT": "3000"}), "x", ())

    assert isinstance(config["event_handlers"], list)
    (handler,) = config["event_handlers"]
    assert handler.startswith("query:rosterd-state=")
    assert shlex.split(handler.partition("=")[2])[-1] == state_handler.__file__


def test_an_operators_tag_outlives_the_agent(environ: dict[str, str]) -> None:
    """What was set at run time wins over the environment's further tags, but never over who the node is."""
    environ |= {"SERF_TAGS": "weight=100,zone=a", "SERVICE_PORT": "3000"}
    remembered = {"weight": "10", "state": "drain", "role": "stale", "port": "1"}

    assert agent_tags(read_settings(environ), remembered) == {
        "weight": "10",
        "zone": "a",
        "state": "drain",
        "node": "web1",
        "role": "backend",
        "port": "3000",
    }


def test_too_many_tags_are_refused(environ: dict[str, str]) -> None:
    """Serf carries 512 bytes of tags; more is said here, not by a dying agent."""
    environ["SERF_TAGS"] = "big=" + "x" * 500
    with pytest.raises(AgentSettingsError, match=r"SERF_TAGS: .* more than 512"):
        agent_tags(read_settings(environ), {})


@pytest.mark.parametrize("content", [None, "", '{"half', "[1]", "\0\0\0"])
def test_a_broken_memory_is_no_memory(content: str | None, tmp_path: Path) -> None:
    """An agent that died while it wrote its tags does not keep the next one from starting."""
    path = tmp_path / "tags.json"
    if content is not None:
        path.write_text(content)
    assert remembered_tags(path) == {}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((), []),
        (("127.9.9.1",), []),
        (("127.9.9.1:7946", "127.9.9.2:7946"), ["127.9.9.2:7946"]),
        (("127.9.9.1:8000",), ["127.9.9.1:8000"]),
        (("cluster",), ["127.9.9.2:7946", "127.9.9.3:7946"]),
        (("cluster", "127.9.9.3"), ["127.9.9.2:7946", "127.9.9.3:7946"]),
        (("cluster:8946",), ["127.9.9.1:8946", "127.9.9.2:8946", "127.9.9.3:8946"]),
        (("only-me",), []),
        (("not-yet",), ["not-yet"]),
        (("::1", "[fd00::2]:7000"), ["[::1]:7946", "[fd00::2]:7000"]),
    ],
)
def test_a_node_never_joins_itself(entries: tuple[str, ...], expected: list[str]) -> None:
    """Names are resolved and compared as addresses; what does not resolve yet is left to Serf."""
    resolve = resolver(cluster=["127.9.9.1", "127.9.9.2", "127.9.9.3"], **{"only-me": ["127.9.9.1"]})

    assert others(entries, frozenset({"127.9.9.1"}), 7946, resolve) == expected


def test_an_unbound_agent_has_every_address_of_its_host() -> None:
    """In a container the agent binds everything, and must still know itself."""
    assert own_addresses("127.9.9.1") == {"127.9.9.1"}
    assert {"127.0.0.1", "::1"} <= own_addresses(None)


def test_secrets_are_for_the_owner_only(tmp_path: Path) -> None:
    """The file is 0600 whatever the umask, also when it replaces a careless one."""
    path = tmp_path / "serf.json"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_private(path, {"rpc_auth": "x"})
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"rpc_auth": "x"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["serf.json"]

from __future__ import annotations

import stat
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from compose.cluster import LONGEST_NODE_PATH, ClusterError, Kind, LocalCluster
from compose.network import Ports

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> LocalCluster:
    """A cluster without nodes, of which nothing is ever started."""
    return LocalCluster.create(tmp_path_factory.mktemp("c"))


def seeds(cluster: LocalCluster) -> list[str]:
    """The join list."""
    return (cluster.directory / "seeds").read_text().split()


def test_every_node_is_in_the_join_list_before_it_starts(cluster: LocalCluster) -> None:
    """Whoever starts first, the later one of two nodes knows the earlier one."""
    nodes = [cluster.register(Kind.WEB), cluster.register(Kind.BALANCER, "balancer"), cluster.register(Kind.WEB)]

    assert sorted(seeds(cluster)) == sorted(f"{node.address}:{cluster.ports.gossip}" for node in nodes)
    assert [node.name for node in nodes] == ["web1", "balancer", "web2"]


def test_balancers_come_before_web_nodes(cluster: LocalCluster) -> None:
    """Addresses tell the kind, whatever the order."""
    web, balancer = cluster.register(Kind.WEB), cluster.register(Kind.BALANCER)
    assert (web.address, balancer.address) == (str(cluster.network[11]), str(cluster.network[1]))
    assert cluster.nodes() == (balancer, web)


def test_addresses_run_out_with_a_message(cluster: LocalCluster) -> None:
    """Ten balancers are the most of one network."""
    for _ in range(10):
        cluster.register(Kind.BALANCER)
    with pytest.raises(ClusterError, match="used up"):
        cluster.register(Kind.BALANCER)


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 32, "-x", "web1", "secrets"])
def test_an_unfit_name_is_refused(cluster: LocalCluster, name: str) -> None:
    """A name is a folder, a tag and the begin of a Serf name; the empty one means the next."""
    cluster.register(Kind.WEB, "web1")
    if name == "":
        assert cluster.register(Kind.WEB, name).name == "web2"
        return
    with pytest.raises(ClusterError):
        cluster.register(Kind.WEB, name)


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    """The kernel would refuse the sockets, much later and without a name."""
    cluster = LocalCluster.create(tmp_path / ("x" * LONGEST_NODE_PATH))
    with pytest.raises(ClusterError, match="too long"):
        cluster.register(Kind.WEB)


def test_another_process_finds_the_same_cluster(cluster: LocalCluster) -> None:
    """All that is known is in the run directory."""
    node = cluster.register(Kind.BALANCER)
    again = LocalCluster.open(cluster.directory)

    assert (again.network, again.ports, again.nodes()) == (cluster.network, cluster.ports, (node,))
    assert again.node(node.name) == node
    assert not again.is_running(node)


def test_there_is_no_cluster_or_no_node(cluster: LocalCluster, tmp_path: Path) -> None:
    """The message says what there is, or how to get one."""
    cluster.register(Kind.WEB)
    with pytest.raises(ClusterError, match=r"no node 'web9'; there are: web1"):
        cluster.node("web9")
    with pytest.raises(ClusterError, match=r"no cluster; start one"):
        LocalCluster.open(tmp_path)


def test_secrets_stay_in_files(cluster: LocalCluster) -> None:
    """They are the owner's only, differ, and no environment holds one."""
    folder = cluster.directory / "secrets"
    texts = [path.read_text() for path in sorted(folder.iterdir())]
    node = cluster.register(Kind.BALANCER)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(set(texts)) == 3
    assert not set(texts) & set(cluster.node_environment(node).values())


def test_a_node_sees_nothing_of_the_callers_environment(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the caller's own daemon does not leak into the cluster."""
    monkeypatch.setenv("ROSTERD_RELOAD__QUIET_S", "9")
    monkeypatch.setenv("SERF_JOIN", "elsewhere")
    environ = cluster.node_environment(cluster.register(Kind.BALANCER))

    assert not {"ROSTERD_RELOAD__QUIET_S", "SERF_JOIN"} & set(environ)


def test_nodes_differ_in_their_address_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every address that a node listens on is its own."""
    cluster = LocalCluster(tmp_path_factory.mktemp("c"), IPv4Network("127.20.9.0/24"), Ports())
    first, second = cluster.register(Kind.WEB), cluster.register(Kind.WEB)
    one, two = cluster.node_environment(first), cluster.node_environment(second)

    differing = {key for key in one if one[key] != two[key]}
    assert differing == {"NODE", "NODE_ADDRESS", "NODE_RUN", "NODE_LOGS", "NODE_STATE", "SERF_RPC_ADDRESS"}

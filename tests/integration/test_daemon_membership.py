"""Web nodes come and go, and say new things of themselves: the whole daemon on a real Serf and a real HAProxy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compose.load import last_answer
from rosterd.model import AdminState
from tests.balancer import SECOND_PORTS, Balancer, WebNode
from tests.haproxy_process import BINARY
from tests.loopback import free_address
from tests.web_server import WebServer


@pytest.fixture(scope="module")
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer that runs, with one web node that stays."""
    with Balancer(tmp_path_factory.mktemp("b")) as made:
        made.start()
        made.wait_served(made.add_web())
        yield made


@pytest.fixture
def web(balancer: Balancer) -> Iterator[WebNode]:
    """One more web node that is served."""
    node = balancer.add_web()
    balancer.wait_served(node)
    yield node
    balancer.remove(node)


# --- coming -----------------------------------------------------------------------------------------------------


def test_the_first_start_needs_no_file(tmp_path: Path) -> None:
    """The daemon makes a configuration that HAProxy takes; HAProxy may start later, and says that nobody serves yet."""
    with Balancer(tmp_path) as balancer:
        balancer.agent.start()
        balancer.daemon.start()
        balancer.until(balancer.haproxy.config.exists, "the configuration file")
        status = balancer.daemon.status()
        assert (status["ready"], status["proxy"]["reachable"]) == (False, False)

        balancer.start_haproxy()
        code, page, _ = balancer.get()
        assert code == 503
        assert "no server" in page.lower()

        web = balancer.add_web()
        balancer.wait_served(web)
        assert balancer.daemon.status()["reloads"] == 0
        balancer.daemon.only_event("proxy.lost")


def test_a_node_that_joins_is_served(balancer: Balancer) -> None:
    """Traffic reaches it within a moment, and the log tells what woke the daemon, what differed and what was done."""
    mark = balancer.daemon.mark()
    node = balancer.add_web()
    balancer.wait_served(node)
    balancer.daemon.wait_event("member.joined", mark, member=node.name)
    balancer.until(lambda: len(balancer.daemon.events("servers.changed", mark)) > 1, "both changes to be logged")
    added, let_in = balancer.daemon.events("servers.changed", mark)
    assert added["members"] == let_in["members"] == [f"{node.name} joined"]
    assert added["commands"][0].startswith(f"add server nodes/{node.name} {node.address}:{node.server.port} id ")
    assert added["waits"] == [f"nodes/{node.name}: its first check"]
    assert let_in["commands"] == [f"set server nodes/{node.name} weight 100"]
    assert "agent" in added["woken_by"]
    assert 0 < added["wake_to_applied_s"] < let_in["wake_to_applied_s"] < 5
    assert balancer.daemon.events("proxy.reloaded", mark) == []
    assert balancer.daemon.server(node.name)["up"] is True
    balancer.remove(node)


def test_twenty_nodes_at_once(tmp_path: Path) -> None:
    """All of them are served without a reload, and no request fails while they come and go together."""
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(WebServer.start, [free_address() for _ in range(20)]))
    with Balancer(tmp_path) as balancer:
        balancer.start()
        balancer.wait_served(balancer.add_web())
        mark, pid = balancer.daemon.mark(), balancer.running().pid
        with balancer.traffic():
            with ThreadPoolExecutor(4) as pool:
                nodes = list(pool.map(balancer.add_web_agent, servers))
            balancer.wait_served(*nodes)
            balancer.remove(*nodes)
        assert balancer.running().pid == pid
        assert balancer.daemon.events("command.refused", mark) == []
        assert balancer.daemon.events("apply.failed", mark) == []


# --- going ------------------------------------------------------------------------------------------------------


def test_a_node_that_leaves_loses_no_request(balancer: Balancer, web: WebNode) -> None:
    """SIGINT to its agent takes it out of HAProxy before the agent has ended, and requests go on without it."""
    mark = balancer.daemon.mark()
    balancer.wait_joined(web)
    with balancer.traffic() as load:
        web.agent.interrupt()
        balancer.wait_gone(web.name)
        assert web.agent.process is not None
        assert web.agent.process.poll() is None
        assert web.agent.wait() == 0
        web.server.kill()
        asked = len(load.samples)
        balancer.until(lambda: len(load.samples) > asked + 30, "requests after the leave")
    assert last_answer(load.samples[asked:], web.address) is None
    # Gossip may pass over `leaving`, but not over the end.
    balancer.daemon.wait_event("member.left", mark, member=web.name)
    assert balancer.daemon.member(web.name)["status"] == "left"


def test_a_node_that_comes_back_as_another(balancer: Balancer, web: WebNode) -> None:
    """A new incarnation, with a new name and address, takes its place; the tag `node` tells people who it is."""
    balancer.remove(web)
    successor = balancer.add_web(name=f"{web.name}-again", node="shop")
    balancer.wait_served(successor)
    assert balancer.daemon.member(successor.name)["node"] == "shop"
    assert balancer.running_server(web.name) is None
    balancer.remove(successor)


def test_a_node_that_comes_back_elsewhere(balancer: Balancer, web: WebNode) -> None:
    """The same name at a new address: its server moves there."""
    balancer.remove(web)
    moved = balancer.add_web(name=web.name)
    balancer.wait_served(moved)

    def has_moved() -> bool:
        server = balancer.running_server(web.name)
        return server is not None and (str(server.address), server.port) == (moved.address, moved.server.port)

    # Gossip may bring the end of the old one once more, late: then it goes for a moment, and comes back.
    balancer.until(has_moved, "its server to be at the new address")
    balancer.remove(moved)


# --- tags -------------------------------------------------------------------------------------------------------


def test_a_weight_by_tag(balancer: Balancer, web: WebNode) -> None:
    """The tag `weight` is in force in HAProxy itself, and the log tells what it was."""
    mark = balancer.daemon.mark()
    web.agent.set_tags(weight="7")
    balancer.until(lambda: weight_of(balancer, web) == 7, "the weight in HAProxy")
    updated = balancer.daemon.wait_event("member.updated", mark, member=web.name)
    assert "weight" in updated["detail"]
    web.agent.set_tags("weight")
    balancer.until(lambda: weight_of(balancer, web) == 100, "the service's weight again")


def test_drain_by_tag(balancer: Balancer, web: WebNode) -> None:
    """With `state=drain` no request is sent there any more, without it they are again."""
    web.agent.set_tags(state="drain")
    balancer.until(lambda: balancer.daemon.server(web.name).get("state") == "drain", "the drain to be decided")
    balancer.wait_content()
    assert web.address not in balancer.answering()
    assert weight_of(balancer, web) == 0
    web.agent.set_tags("state")
    balancer.wait_served(web)


def test_maintenance_by_tag(balancer: Balancer, web: WebNode) -> None:
    """With `state=maint` HAProxy has it in maintenance: no request, no check."""
    web.agent.set_tags(state="maint")
    balancer.until(lambda: state_of(balancer, web) is AdminState.MAINT, "maintenance in HAProxy")
    balancer.wait_content()
    assert web.address not in balancer.answering()
    web.agent.set_tags("state")
    balancer.wait_served(web)
    assert state_of(balancer, web) is AdminState.READY


def test_a_port_by_tag(balancer: Balancer, web: WebNode) -> None:
    """A server that moves to another port is followed there."""
    other = WebServer.start(web.address)
    try:
        web.agent.set_tags(port=str(other.port))
        balancer.until(lambda: port_of(balancer, web) == other.port, "the other port in HAProxy")
        web.server.kill()
        balancer.wait_served(web)
    finally:
        other.kill()


def test_a_member_that_goes_bad_keeps_its_line(balancer: Balancer, web: WebNode) -> None:
    """A tag that does not parse is reported with its reason; the server goes on as it was, until the tag is mended."""
    mark = balancer.daemon.mark()
    web.agent.set_tags(port="99999")
    quarantined = balancer.daemon.wait_event("member.quarantined", mark, member=web.name)
    assert "tag port '99999' is not a number from 1 to 65535" in quarantined["detail"]
    assert balancer.daemon.server(web.name)["held"] == "quarantined"
    assert {row["name"] for row in balancer.daemon.status()["quarantined"]} == {web.name}
    assert port_of(balancer, web) == web.server.port
    assert web.address in balancer.answering()

    web.agent.set_tags(port=str(web.server.port))
    balancer.daemon.wait_event("server.released", mark, server=web.name)
    assert balancer.daemon.status()["quarantined"] == []
    assert balancer.daemon.events("proxy.reloaded", mark) == []


# --- attacks ----------------------------------------------------------------------------------------------------

ATTACKS = (
    b"x\n    server evil 127.0.0.1:1 id 66",
    b"x 127.0.0.1:1 # ",
    b'a"b',
    b"${HOME}",
    b"x;quit",
    b"\xff\xfe",
    b"A" * 300,
    b"FRONTEND",
    b"{{ proxy }}",
    b"x\\",
)


def test_a_member_that_is_an_attack(balancer: Balancer, web: WebNode) -> None:
    """Names that are HAProxy's syntax, a template's or a shell's are quarantined, and nobody else notices."""
    before = (balancer.file_identity(), balancer.running().pid, balancer.running_names())
    agents = [balancer.add_agent(name, {b"role": b"backend", b"port": b"3000"}) for name in ATTACKS]
    agents.append(balancer.add_agent(b"plain-name", {b"role": b"backend", b"port": b"3000 id 66 backup"}))

    balancer.until(lambda: len(quarantined_of(balancer)) == len(agents), "all of them in quarantine")
    quarantined = quarantined_of(balancer)
    assert all(row["reason"] for row in quarantined)
    assert all(row["name"].isprintable() for row in quarantined)
    assert (balancer.file_identity(), balancer.running().pid, balancer.running_names()) == before
    check = subprocess.run([BINARY, "-c", "-f", str(balancer.haproxy.config)], capture_output=True, check=False)
    assert check.returncode == 0
    assert web.address in balancer.answering()

    newcomer = balancer.add_web()
    balancer.wait_served(newcomer)
    balancer.remove(newcomer)
    for agent in agents:
        agent.interrupt()
    # In order: gossip among many that have just crashed would lose the next node's leave.
    for agent in agents:
        agent.wait()


def test_a_member_that_claims_a_port_of_the_balancer(balancer: Balancer) -> None:
    """HAProxy would send requests to itself; told, and nobody is sent there. The commands say the same."""
    loop = balancer.add_neighbour("loop", {"role": "backend", "port": str(balancer.haproxy.port)})
    barred = balancer.daemon.wait_event("server.barred", server="loop")
    assert barred["reason"] == f"{balancer.address} port {balancer.haproxy.port} is the balancer's own"
    assert [row["server"] for row in balancer.daemon.status()["barred"]] == ["loop"]
    assert "loop" not in balancer.running_names()
    assert balancer.daemon.command("plan").stdout.startswith("nothing")
    assert "barred: nodes/loop" in balancer.daemon.command("status").stdout
    loop.leave()


# --- what the commands tell -------------------------------------------------------------------------------------


def test_the_commands_agree_with_the_daemon(balancer: Balancer, web: WebNode) -> None:
    """`render` prints the file, `plan` finds nothing to do, `members` and `status` tell the same as the interface."""
    commands = (["render"], ["plan", "--json"], ["members", "--json"], ["status", "--json"], ["members"], ["status"])
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda words: balancer.daemon.command(*words), commands))
    assert [(run.returncode, run.stderr) for run in done] == [(0, "")] * len(commands)
    rendered, plan, members, status, members_shown, status_shown = (run.stdout for run in done)
    assert rendered == balancer.haproxy.config.read_text()
    planned = json.loads(plan)
    assert (planned.pop("action"), planned.pop("refused"), planned.pop("lines_total")) == ("nothing", "", 0)
    assert set(planned) == {"reasons", "commands", "waits", "lines", "diff", "left"}
    assert not any(planned.values())
    assert web.name in {row["name"] for row in json.loads(members)["members"]}
    told = json.loads(status)
    assert (told["ready"], told["pid"]) == (True, balancer.daemon.pid)
    assert [line.split()[0] for line in members_shown.splitlines() if web.name in line] == [web.name]
    assert f"nodes    {web.name}" in status_shown

    from_file = balancer.daemon.command("render", "--members", "-", stdin=members)
    assert from_file.returncode == 0
    assert f"server {web.name} {web.address}:{web.server.port}" in from_file.stdout


# --- helpers ----------------------------------------------------------------------------------------------------


def weight_of(balancer: Balancer, web: WebNode) -> int | None:
    """Return the weight that HAProxy has for the server."""
    server = balancer.running_server(web.name)
    return server.weight if server else None


def port_of(balancer: Balancer, web: WebNode) -> int | None:
    """Return the port that HAProxy has for the server."""
    server = balancer.running_server(web.name)
    return server.port if server else None


def state_of(balancer: Balancer, web: WebNode) -> AdminState | None:
    """Return what HAProxy has the server do."""
    server = balancer.running_server(web.name)
    return server.state if server else None


def quarantined_of(balancer: Balancer) -> list[dict[str, str]]:
    """Return who is in quarantine."""
    rows: list[dict[str, str]] = balancer.daemon.status()["quarantined"]
    return rows


def test_member_gets_its_place_back_from_a_squatter(tmp_path: Path) -> None:
    """A claimant that came while it was away, and takes no traffic, would leave the service without a server."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web(name="web")
        balancer.wait_served(web)
        balancer.wait_joined(web)
        web.agent.interrupt()
        web.agent.wait()
        squatter = balancer.add_web_agent(web.server, "squatter", ports=SECOND_PORTS)
        balancer.wait_served(squatter)
        squatter.agent.set_tags(state="drain")
        balancer.until(lambda: balancer.daemon.server("squatter")["weight"] == 0, "the squatter to drain")
        mark = balancer.daemon.mark()
        web.agent.start()
        balancer.daemon.wait_event("server.displaced", mark, server="squatter", by="web")
        balancer.wait_served(web)
        assert balancer.answering() == {web.address}

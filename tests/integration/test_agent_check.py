"""Servers whose own agent sets weight and state (`agent-check`), with a real HAProxy and a real agent on TCP."""

from __future__ import annotations

import csv
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.balancer import Balancer, WebNode, throughout
from tests.loopback import free_address, free_port

LEVEL_FOR_S = 10.0
AGENT_LINE = "    default-server agent-check agent-addr {} agent-port {} agent-inter 200ms\n"


class _Agent(socketserver.ThreadingTCPServer):
    """An agent that answers each connection with `says`."""

    daemon_threads = True
    allow_reuse_address = True
    says = b"50%\n"


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Agent)
        self.request.sendall(self.server.says)


@contextmanager
def running_agent() -> Iterator[_Agent]:
    """Run an agent at an address of its own."""
    address = free_address()
    with _Agent((address, free_port(address)), _Connection) as agent:
        thread = threading.Thread(target=agent.serve_forever, daemon=True)
        thread.start()
        yield agent
        agent.shutdown()
        thread.join()


@contextmanager
def balancer_with(agent: _Agent, tmp_path: Path) -> Iterator[tuple[Balancer, WebNode]]:
    """Run a balancer with one web node, the line of which has the agent, and with another node."""
    with Balancer(tmp_path) as balancer:
        text = balancer.template.read_text()
        mark = "    # Checks find a server that is ill"
        assert text.count(mark) == 1
        balancer.edit_template(text.replace(mark, AGENT_LINE.format(*agent.server_address) + mark))
        balancer.start()
        web, other = balancer.add_web(), balancer.add_web()
        balancer.wait_served(web, other)
        yield balancer, web


def stat_of(balancer: Balancer, web: WebNode) -> dict[str, str]:
    """Return the server's row of HAProxy's statistics."""
    lines = balancer.haproxy.ask("show stat -1 4 -1").removeprefix("# ").splitlines()
    return next(row for row in csv.DictReader(filter(None, lines)) if row["svname"] == web.name)


def is_out_by_agent(balancer: Balancer, web: WebNode, state: str | None) -> bool:
    """True if the status says that the server's agent put it into this state; None for none."""
    return balancer.daemon.server(web.name).get("out_by_agent") == state


def commands(balancer: Balancer, mark: int) -> list[str]:
    """Return the commands that the daemon has given since then."""
    return [line for event in balancer.daemon.events("servers.changed", mark) for line in event["commands"]]


def test_a_percentage_of_the_agent_is_left_alone(tmp_path: Path) -> None:
    """The effective weight is half of that of the line, and the daemon corrects nothing."""
    with running_agent() as agent, balancer_with(agent, tmp_path) as (balancer, web):
        balancer.until(lambda: stat_of(balancer, web)["weight"] == "50", "the weight that the agent names")
        mark = balancer.daemon.mark()
        throughout(lambda: stat_of(balancer, web)["weight"] == "50", LEVEL_FOR_S, "half the weight")
        assert commands(balancer, mark) == []
        assert balancer.daemon.events("proxy.drifted", mark) == []
        assert balancer.daemon.status()["reloads"] == 0


def test_a_state_of_the_agent_is_not_by_hand(tmp_path: Path) -> None:
    """Drain and maintenance end when the agent says so, and the status says whose they are."""
    with running_agent() as agent, balancer_with(agent, tmp_path) as (balancer, web):
        mark = balancer.daemon.mark()
        for state in ("drain", "maint"):
            agent.says = f"{state}\n".encode()
            balancer.until(partial(is_out_by_agent, balancer, web, state), f"the status to say {state}")
            assert balancer.daemon.server(web.name)["by_hand"] is False
            balancer.until(lambda: web.address not in balancer.answering(), "no request to the server")
            agent.says = b"ready 100%\n"
            balancer.until(lambda: web.address in balancer.answering(), "requests to the server")
            balancer.until(partial(is_out_by_agent, balancer, web, None), "the status to say it is back")
        assert commands(balancer, mark) == []


def test_a_drain_holds_against_the_agent(tmp_path: Path) -> None:
    """A server that its tag drains gets nothing, whatever its agent says; back in, the agent has its say again."""
    with running_agent() as agent, balancer_with(agent, tmp_path) as (balancer, web):
        agent.says = b"ready 100%\n"
        for state in ("drain", "maint"):
            web.agent.set_tags(role="backend", state=state)
            balancer.until(lambda: stat_of(balancer, web)["weight"] == "0", "the drain")
            throughout(lambda: stat_of(balancer, web)["weight"] == "0", 2, "no weight")
            assert web.address not in balancer.answering()
            web.agent.set_tags(role="backend", state="ready")
            balancer.until(lambda: stat_of(balancer, web)["weight"] == "100", "the weight")
        agent.says = b"50%\n"
        balancer.until(lambda: stat_of(balancer, web)["weight"] == "50", "the weight that the agent names")
        balancer.until(lambda: web.address in balancer.answering(), "requests to the server")
        assert balancer.daemon.status()["reloads"] == 0


def test_a_server_leaves_and_comes_back(tmp_path: Path) -> None:
    """The agent gives no weight to a server that leaves, or to a new one before its first check."""
    with running_agent() as agent, balancer_with(agent, tmp_path) as (balancer, web):
        agent.says = b"drain 100%\n"
        balancer.until(partial(is_out_by_agent, balancer, web, "drain"), "the agent's drain")
        web.agent.set_tags(role="elsewhere")
        balancer.wait_gone(web.name)
        agent.says = b"ready 50%\n"
        web.agent.set_tags(role="backend")
        balancer.wait_served(web)
        balancer.until(lambda: stat_of(balancer, web)["weight"] == "50", "the weight that the agent names")
        assert balancer.daemon.server(web.name)["by_hand"] is False
        assert balancer.daemon.status()["reloads"] == 0

"""The whole daemon: what HAProxy knows of its servers outlasts the reloads that edits of the template bring."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from rosterd.model import AdminState
from rosterd.proxy.commands import stat_rows
from tests.balancer import Balancer, WebNode
from tests.frozen import freeze

EDITS = 5
ASK_STAT = "show stat -1 4 -1"


@pytest.fixture
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer that runs."""
    with Balancer(tmp_path_factory.mktemp("b"), {"reload": {"least_interval_s": 0.1}}) as made:
        made.start()
        yield made


def sessions_of(balancer: Balancer, node: WebNode) -> int:
    """Return how many requests the running worker has sent to a server; checks do not count."""
    rows = stat_rows(ASK_STAT, balancer.haproxy.ask(ASK_STAT), texts=("svname",), numbers=("stot",))
    return next(total for (name,), (total,) in rows if name == node.name)


def edit(balancer: Balancer, number: int) -> int:
    """Have the template say something else, and return how many servers the reload kept down."""
    mark = balancer.daemon.mark()
    line = f"    http-response set-header x-edited {number}\n"
    before, found, after = balancer.template.read_text().partition("frontend traffic\n")
    balancer.edit_template(before + found + line + after)
    return int(balancer.daemon.wait_event("proxy.reloaded", mark)["kept_down"])


def test_a_server_that_hangs_gets_no_request_over_edits_and_comes_back(balancer: Balancer) -> None:
    """The server takes connections and answers nothing. One that was drained by hand gets no request either."""
    nodes = hangs, drained, _ = [balancer.add_web() for _ in range(3)]
    balancer.wait_served(*nodes)
    balancer.haproxy.ask(f"set server nodes/{drained.name} state drain")
    freeze(hangs.server.process.pid)
    try:
        balancer.until(lambda: not is_up(balancer, hangs), "the check to fail", within=30)
        with balancer.traffic():
            for number in range(EDITS):
                assert edit(balancer, number) == 1
                balancer.until(lambda: is_drained(balancer, drained), "the drain by hand")
                balancer.wait_content()
                assert sessions_of(balancer, hangs) == 0
                assert sessions_of(balancer, drained) == 0
    finally:
        hangs.server.process.send_signal(signal.SIGCONT)
    balancer.until(lambda: hangs.address in balancer.answering(), "requests to the server that answers again")
    assert is_drained(balancer, drained)
    assert drained.address not in balancer.answering()


def is_up(balancer: Balancer, node: WebNode) -> bool:
    """Return whether HAProxy lets requests through to a server."""
    server = balancer.running_server(node.name)
    return server is not None and server.up


def is_drained(balancer: Balancer, node: WebNode) -> bool:
    """Return whether HAProxy has a server in drain."""
    server = balancer.running_server(node.name)
    return server is not None and server.state is AdminState.DRAIN

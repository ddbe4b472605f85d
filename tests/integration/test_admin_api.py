"""The answers of a daemon that runs are as the description of the API says, at every stage of its life."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.balancer import Balancer
from tests.openapi import STRICT, document


def check(balancer: Balancer) -> None:
    """Hold each answer to its shape."""
    for path, shape in STRICT.items():
        answer = balancer.daemon.get(path)
        assert answer, path
        shape.validate_python([answer])


def status_of(balancer: Balancer, name: str) -> str:
    """Return what the daemon says of a member."""
    rows = balancer.daemon.get("/v1/members")["members"]
    return next((str(row["status"]) for row in rows if row["name"] == name), "")


def test_answers_at_each_stage(tmp_path: Path) -> None:
    """Before HAProxy, with nobody, serving, draining, with a node that crashed, and without the agent."""
    with Balancer(tmp_path) as balancer:
        balancer.agent.start()
        balancer.daemon.start()
        check(balancer)
        balancer.start_haproxy()
        check(balancer)
        stays, drained, crashes, leaves = (balancer.add_web() for _ in range(4))
        balancer.wait_served(stays, drained, crashes, leaves)
        check(balancer)
        drained.agent.set_tags(state="drain")
        crashes.crash()
        balancer.daemon.wait_event("member.failed", member=crashes.name)
        leaves.agent.interrupt()
        # A busy machine may show the member as left before any reply has shown it as leaving.
        balancer.until(lambda: status_of(balancer, leaves.name) in {"leaving", "left"}, "the member to leave")
        check(balancer)
        assert {row["status"] for row in balancer.daemon.get("/v1/members")["members"]} > {"alive", "failed"}
        balancer.agent.kill()
        balancer.daemon.wait_event("agent.lost")
        check(balancer)


def test_the_description_is_served(tmp_path: Path) -> None:
    """As it stands in the repository."""
    with Balancer(tmp_path) as balancer:
        balancer.agent.start()
        balancer.daemon.start()
        url = f"http://{balancer.settings['admin']['listen']}/v1/openapi.json"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert json.load(answer) == document()

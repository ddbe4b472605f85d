"""What the matrix runs on each version: suites of pytest, and the demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_INTEGRATION: Final = "tests/integration"


@dataclass(frozen=True, slots=True)
class Suite:
    """A named part of the tests; `paths` go to pytest. The suite without paths is the demo."""

    name: str
    paths: tuple[str, ...] = ()
    what: str = ""


DEMO: Final = Suite("demo", what="`make demo DEMO=local`, a step each")
SUITES: Final = (
    Suite("contract", ("tests/contract",), "what rosterd relies on at both wires and in the file"),
    Suite(
        "runtime",
        (
            f"{_INTEGRATION}/test_daemon_runtime.py",
            f"{_INTEGRATION}/test_drain.py",
            f"{_INTEGRATION}/test_tcp_services.py",
        ),
        "changes over the runtime API",
    ),
    Suite(
        "reload",
        (
            f"{_INTEGRATION}/test_reload.py",
            f"{_INTEGRATION}/test_kept_health.py",
            f"{_INTEGRATION}/test_daemon_health.py",
            f"{_INTEGRATION}/test_daemon_edits.py",
            f"{_INTEGRATION}/test_daemon_healing.py",
            f"{_INTEGRATION}/test_daemon_restraint.py",
            f"{_INTEGRATION}/test_daemon_start.py",
            f"{_INTEGRATION}/test_daemon_traffic.py",
        ),
        "reloads, edits, and what goes wrong with them",
    ),
    Suite(
        "template",
        (
            f"{_INTEGRATION}/test_template.py",
            f"{_INTEGRATION}/test_examples.py",
            f"{_INTEGRATION}/test_ported_templates.py",
            f"{_INTEGRATION}/test_text_by_servers.py",
        ),
        "the shipped template and the examples under load",
    ),
    DEMO,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the matrix: a HAProxy, a Serf (empty: the installed one), and the suites that are run on them."""

    haproxy: str
    serf: str = ""
    suites: tuple[Suite, ...] = SUITES

    @property
    def name(self) -> str:
        """What VERSIONS and the table call it: `3.4`, or `3.0+serf-0.10.1`."""
        return f"{self.haproxy}+serf-{self.serf}" if self.serf else self.haproxy


NEW_SERF: Final = Row(
    "3.0",
    serf="0.10.1",
    suites=(
        Suite(
            "contract",
            (
                "tests/contract/test_serf_contract.py",
                "tests/contract/test_serf_misbehaving.py",
                "tests/contract/test_state_contract.py",
            ),
        ),
        DEMO,
    ),
)
"""Serf is one wire for all versions of HAProxy: its newest version is run once."""

"""Policy over time for tests: a balancer that hears replies, and what it has decided."""

from __future__ import annotations

from rosterd.model import MemberRecord, Server, Status
from rosterd.policy import Decision, View, decide
from rosterd.policy.tenure import Tenures, note
from rosterd.roster import EMPTY, advance
from rosterd.settings import PolicySettings, ServiceSettings
from tests.unit.members import record

NODES = ServiceSettings(name="nodes")
HOLDS_ALONE = ServiceSettings(name="nodes", least_servers=0)
"""The same without a minimum: who is held goes when its own time is over."""

LIMITS = PolicySettings()
VIEW = View(served={}, answering={}, health_score=0)
HOLD, LONGEST = LIMITS.hold_s, LIMITS.longest_hold_s


class Balancer:
    """Policy over time: each decision is given the lines of the one before, as in the daemon.

    Who is alive answers, unless it is said otherwise; of the others nothing is known.
    """

    def __init__(self, *services: ServiceSettings, limits: PolicySettings = LIMITS) -> None:
        self.services = services or (NODES,)
        self.limits = limits
        self.table = EMPTY
        self.decision: Decision | None = None
        self.answering: dict[tuple[str, str], bool] = {}
        self.health_score = 0
        self.tenures: Tenures = {}

    def hears(self, now: float, *records: MemberRecord) -> Decision:
        """Take a reply of the agent, and decide."""
        self.table, _ = advance(self.table, records, now, served=served_by(self.decision))
        return self.decides(now)

    def decides(self, now: float) -> Decision:
        """Decide, although nothing was heard."""
        lines = self.decision.lines if self.decision else {}
        answering = {
            (service, name): True
            for service, servers in lines.items()
            for name in servers
            if name in self.table.entries and self.table.entries[name].status is Status.ALIVE
        }
        self.tenures = note(self.tenures, lines, self.limits.longest_hold_s, now)
        view = View(
            served=lines,
            answering={**answering, **self.answering},
            health_score=self.health_score,
            tenures=self.tenures,
        )
        self.decision = decide(self.table, self.services, view, self.limits, now)
        return self.decision

    def check_of(self, name: str, *, passes: bool) -> None:
        """HAProxy's health check of a server passes or fails from now on."""
        self.answering["nodes", name] = passes


def served_by(decision: Decision | None) -> frozenset[str]:
    """Return who serves anywhere, as the daemon tells the table."""
    lines = decision.lines.values() if decision else ()
    return frozenset(name for servers in lines for name in servers)


def names(decision: Decision, service: str = "nodes") -> list[str]:
    """Return who serves."""
    return list(decision.lines[service])


def server(decision: Decision, name: str = "web-1", service: str = "nodes") -> Server:
    """Return one server line."""
    return decision.lines[service][name]


def web(number: int, status: str = "alive", **tags: str) -> MemberRecord:
    """Return the web node of this number, at an address of its own."""
    return record(f"web-{number}", f"10.0.0.{number}", status, **tags)

"""How much traffic each server has, out of HAProxy's `show stat`. No I/O.

Only people ask for it, and nothing is decided by it. The figures are those of the present worker: what an old one still
finishes after a reload is not in them, and a new one begins to count at zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rosterd.proxy.commands import stat_rows

SHOW_TRAFFIC = "show stat -1 6 -1"
"""Of all proxies the backends (2) and the servers (4)."""

_WHOLE_SERVICE = "BACKEND"
"""What stands where a server's name would, in the line of the service itself; no server can have this name."""

_UNDER_WAY = "* "
"""Before the result of the last check while the next one is under way."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The traffic of one server, or of a service whole.

    `sessions` are requests under way, `queue` those that wait for a place, `rate` new ones in the last second, `errors`
    connections and answers that failed since the worker started, also those of which no client knows, since another
    server was tried. `check` is what the last health check said (`L7OK`), empty without one; `since_s` is how long the
    server has been up or down.
    """

    sessions: int
    queue: int
    rate: int
    errors: int
    check: str
    since_s: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """The figures of each service, and of each (service, server)."""

    services: Mapping[str, Figures]
    servers: Mapping[tuple[str, str], Figures]


@dataclass(frozen=True, slots=True)
class Reading:
    """What HAProxy said when it was asked at `at` (monotonic seconds); without traffic, `error` says why."""

    at: float | None
    traffic: Traffic | None
    error: str

    def of_server(self, service: str, server: str) -> Figures | None:
        """A server's figures; None when they are not known."""
        return self.traffic.servers.get((service, server)) if self.traffic else None

    def of_service(self, service: str) -> Figures | None:
        """A service's figures; None when they are not known."""
        return self.traffic.services.get(service) if self.traffic else None


NOT_ASKED = Reading(None, None, "not asked")


def figures_in(text: str) -> Iterator[tuple[tuple[str, str | None], Figures]]:
    """The answer to `SHOW_TRAFFIC`, line by line; None in place of a server's name is the service whole.

    Raises `ProxyGarbled`, in the middle too: what came before it is then to be thrown away.
    """
    rows = stat_rows(
        SHOW_TRAFFIC,
        text,
        texts=("pxname", "svname", "check_status"),
        numbers=("scur", "qcur", "rate", "econ", "eresp", "lastchg"),
    )
    for (service, server, check), (sessions, queue, rate, unconnected, unanswered, since_s) in rows:
        name = None if server == _WHOLE_SERVICE else server
        said = check.removeprefix(_UNDER_WAY)
        yield (service, name), Figures(sessions, queue, rate, unconnected + unanswered, said, since_s)

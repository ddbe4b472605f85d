"""The quick hand of the loop: changes of servers over HAProxy's runtime socket.

It keeps what the running worker refused, since the same worker will refuse it again. Rules:

- A refusal is told with HAProxy's own text, and makes the difference a reason to reload; a new worker is asked anew.
- A socket that closes, hangs or answers garbage leaves it open what was done: the caller looks again. Twice in a row,
  and HAProxy is reloaded instead: it might be the commands that it cannot bear.
- A batch is bounded, so that one that is cut short leaves little to look for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from rosterd.metrics import Metrics
from rosterd.model import Action, CutSessions, Running
from rosterd.proxy.actions import Busy, Done, Refused
from rosterd.proxy.socket import HAProxySocket, carry_out

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 500
MOST_FAILURES = 2
MOST_KEPT = 10_000
"""Refusals; a worker that refuses more than that is reloaded long before."""


class RuntimeHand:
    """Carries out actions on one HAProxy."""

    def __init__(self, socket: HAProxySocket, metrics: Metrics) -> None:
        """Speak on this socket."""
        self._socket = socket
        self._metrics = metrics
        self._refused: dict[Action, str] = {}
        self._pid = 0
        self._failures = 0

    @property
    def is_lame(self) -> bool:
        """Whether it has failed so often in a row that the next step should be a reload."""
        return self._failures >= MOST_FAILURES

    def recover(self) -> None:
        """HAProxy was reloaded: try again."""
        self._failures = 0

    def try_again(self) -> None:
        """HAProxy could not be reloaded instead: one more try may do."""
        self._failures = min(self._failures, MOST_FAILURES - 1)

    def refused_by(self, pid: int) -> Mapping[Action, str]:
        """What the worker with this pid refused, and its words."""
        return self._refused if pid == self._pid else {}

    async def carry_out(
        self, actions: Sequence[Action], before: Running, then: str
    ) -> tuple[tuple[Action, ...], Running]:
        """Have the worker do it; what it did, and what it runs now, asked with `then`.

        Raises `ProxyUnreachable` or `ProxyGarbled`: then nothing is known of what it did.
        """
        if before.pid != self._pid:
            self._pid, self._refused = before.pid, {}
        done: list[Action] = []
        running = before
        for start in range(0, len(actions), MOST_AT_ONCE):
            part = actions[start : start + MOST_AT_ONCE]
            self._failures += 1
            results, running = await carry_out(self._socket, part, then)
            self._failures = 0
            for action, result in zip(part, results, strict=True):
                match result:
                    case Done():
                        done.append(action)
                        self._tell_cut(action)
                    case Refused(text):
                        self._take_refusal(action, text)
                    case Busy():
                        pass  # the plan asks again
        return tuple(done), running

    def _take_refusal(self, action: Action, text: str) -> None:
        log.warning(
            "command.refused",
            service=action.service,
            server=action.name,
            command=type(action).__name__,
            error=text,
            effect="HAProxy is reloaded instead",
        )
        self._metrics.refused(action)
        if len(self._refused) < MOST_KEPT:
            self._refused[action] = text

    def _tell_cut(self, action: Action) -> None:
        if isinstance(action, CutSessions):
            self._metrics.cut(action.sessions)
            log.warning("sessions.cut", service=action.service, server=action.name, sessions=action.sessions)

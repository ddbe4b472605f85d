"""The eyes of the loop: when to look at HAProxy, and what is learnt from a look.

It writes what it sees into `Observed`. Rules:

- A look is a whole one or none: what HAProxy runs is unknown from an error until the next good look.
- Looks are rare while nothing happens, and quick after an action whose effect is waited for; they slow down as the wait
  goes on, and never take more than a part of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from rosterd.errors import ProxyError
from rosterd.model import Running
from rosterd.observed import Observed
from rosterd.proxy.commands import OBSERVE, OBSERVE_WITH_SESSIONS, Processes
from rosterd.proxy.socket import HAProxySocket, observe

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 0.25
"""How often an absent HAProxy is looked for."""

QUICK_LOOK_S = 0.003
SLOWEST_QUICK_LOOK_S = 0.25
QUICK_LOOKS_GROW = 1.5
LOOK_SHARE = 2.0
"""The first look after an action comes after `QUICK_LOOK_S`, each next one later by this factor, up to the slowest;
between two looks lies at least `LOOK_SHARE` times what the last one took."""

SETTLE_WITHIN_S = 1.0
SETTLE_STEP_S = 0.005
"""How long the runtime socket may still be the old worker's after a proven reload, and how often that is asked. A slow
answer gets more: two of its deadlines."""

DEAF_AFTER_S = 10.0
"""How long a HAProxy whose master says that it runs may be silent on its runtime socket."""

GONE_AFTER_S = 1.0
"""How long its runtime socket may be missing."""

IDLE_AFTER_S = 0.5
"""How long a master may be without a worker. Its last one has ended, and it waits for an old one that does not end."""


class Observer:
    """Looks at one HAProxy."""

    def __init__(
        self,
        *,
        observed: Observed,
        runtime: HAProxySocket,
        news: Callable[[], object],
        processes: Callable[[], Awaitable[Processes | None]],
        by_master: Callable[[], Awaitable[Running | None]],
        clock: Callable[[], float],
    ) -> None:
        """Wire it up; `processes` and `by_master` ask the master, `clock` is monotonic seconds."""
        self.due_at = clock()
        self.is_deaf = False
        """Whether HAProxy's master answers, and its worker is gone or does not answer where it is asked."""
        self.has_lost_socket = False
        """Whether that is because the file of its runtime socket is gone, or leads to no listener any more.

        From HAProxy 3.1 on, a new worker puts its own socket in the place before it may fail.
        """
        self.relayed: Running | None = None
        """What HAProxy runs by its master's word, where the file of its runtime socket is gone: it cannot be told
        anything there, but who serves is known, also to a daemon that has just started."""
        self.was_away = False
        """Whether the last look found a HAProxy that had been away, and did not just blink during a reload."""
        self._observed = observed
        self._runtime = runtime
        self._processes = processes
        self._news = news
        self._by_master = by_master
        self._clock = clock
        self._quick_s = QUICK_LOOK_S
        self._took_s = 0.0

    async def look(self, interval_s: float) -> Running | None:
        """Read what HAProxy runs; None when it does not tell. The next look is due after the interval."""
        started = self._clock()
        self.was_away = False
        try:
            running = await observe(self._runtime, self.question)
        except ProxyError as error:
            await self._miss(error)
        else:
            self.see(running)
        now = self._clock()
        self._took_s = now - started
        self.due_at = now + (interval_s if self._observed.running else min(interval_s, LOOK_AGAIN_S))
        return self._observed.running

    @property
    def question(self) -> str:
        """What to ask: the running requests only where somebody leaves, for that costs several times as much."""
        return OBSERVE_WITH_SESSIONS if self._observed.departed else OBSERVE

    def look_at_once(self) -> None:
        """Have the next look now: something went wrong, or happened that is not ours."""
        self.due_at = self._clock()

    def hurry(self) -> None:
        """HAProxy has changed, and what follows from that may follow soon: look in the shortest steps again."""
        self._quick_s = QUICK_LOOK_S

    def look_soon(self) -> None:
        """Have the next look in a moment, a longer one each time: something is waited for."""
        self.due_at = min(self.due_at, self._clock() + max(self._quick_s, LOOK_SHARE * self._took_s))
        self._quick_s = min(SLOWEST_QUICK_LOOK_S, self._quick_s * QUICK_LOOKS_GROW)

    async def look_for(self, pid: int, patience_s: float) -> None:
        """Look until the new worker answers: the old one may do so on the runtime socket for a last moment."""
        give_up_at = self._clock() + max(SETTLE_WITHIN_S, patience_s)
        while self._clock() < give_up_at:
            self._observed.running = None  # or the step from the old worker to ours would be told as a restart
            running = await self.look(SETTLE_STEP_S)
            if running is not None and running.pid == pid:
                return
            await asyncio.sleep(SETTLE_STEP_S)
        self._observed.running = None

    async def _miss(self, error: ProxyError) -> None:
        observed, now = self._observed, self._clock()
        if observed.proxy.fails(now, str(error)):
            self._news()
            log.warning("proxy.lost", error=str(error), effect="the file follows, so that HAProxy can start from it")
        is_gone = _is_gone(self._runtime.path) or isinstance(error.__cause__, ConnectionRefusedError)
        self.relayed = await self._by_master() if is_gone else None
        if self.relayed is not None:
            observed.see(self.relayed)
        observed.running = None
        processes = await self._processes()
        is_idle = processes is not None and not processes.workers
        patience_s = IDLE_AFTER_S if is_idle else GONE_AFTER_S if is_gone else DEAF_AFTER_S
        self.is_deaf = processes is not None and now >= observed.proxy.since + patience_s
        self.has_lost_socket = is_gone and self.is_deaf and not is_idle

    def see(self, running: Running) -> None:
        """Take what HAProxy runs, from a look or from its answer to something else."""
        now = self._clock()
        observed, before = self._observed, self._observed.running
        if observed.proxy.error:
            after_s = round(now - observed.proxy.since, 3)
            self._news()
            log.info("proxy.reached", pid=running.pid, version=running.version, after_s=after_s)
            self.was_away = after_s > SETTLE_WITHIN_S
        elif before is not None and before.pid != running.pid:
            self._news()
            log.warning("proxy.restarted", pid=running.pid, was=before.pid)
        self.is_deaf = self.has_lost_socket = False
        self.relayed = None
        observed.proxy.answers(now)
        observed.note_generation(running, now)
        observed.see(running)


def _is_gone(path: Path) -> bool:
    """Whether there is no such file; one that we may not look for is there."""
    try:
        return not path.exists()
    except OSError:
        return False

"""The hand of the loop: when to act on a difference, and what becomes of success and failure.

It owns the clocks of acting (debounce, back-off) and the account of what was done; the controller tells it what is
wanted. Rules:

- A reload waits for quiet; the first complete state and a retry do not.
- A failure is logged with its text and tried again later, with back-off that grows until all is level. If a draft is
  on trial, the draft is at fault: it is rejected or shelved with a back-off of its own, and the good one goes on at
  once.
- A text that HAProxy died of is not written again, and a draft that made it is rejected.
- The file follows without a reload where HAProxy needs none, or is not there to be reloaded: after changes at run time
  once they pause, or at last; at once where HAProxy might start from it at any moment.
- While too many old workers live, a reload waits; that is no failure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from enum import Enum
from typing import TypeVar

import structlog

from rosterd.backoff import backoff
from rosterd.blueprint import Blueprint, Drafts
from rosterd.debounce import Debounce, Pace
from rosterd.errors import (
    ConfigFileError,
    ConfigRefused,
    ProxyDied,
    ProxyError,
    ReloadFailed,
    ReloadPostponed,
    ReloadUnproven,
    StartRefused,
    TemplateError,
)
from rosterd.generation import Generation, of_desired
from rosterd.known_warnings import KnownWarnings
from rosterd.metrics import Metrics
from rosterd.model import Desired, Reload, Running
from rosterd.outcome import Outcome
from rosterd.proxy.apply import Applied, Applier
from rosterd.proxy.commands import Processes
from rosterd.proxy.config_file import ConfigFile
from rosterd.rejection import explain
from rosterd.report import LastReload
from rosterd.settings import ReloadSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")

REASONS_SHOWN = 20

POSTPONE_S = 0.25
"""How long a reload waits before it is asked again whether old workers have ended."""


class Postponed(Enum):
    """A reload that waits, since too many old workers live: no failure, and nothing to draw consequences from."""

    POSTPONED = "postponed"


class Actuator:
    """Makes HAProxy and its file follow."""

    def __init__(
        self,
        *,
        drafts: Drafts,
        file: ConfigFile,
        applier: Applier,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        """Wire it up; `clock` is monotonic seconds, `jitter` a random number from 0 to 1."""
        self.error = ""
        """Why what is in force cannot be brought about just now; empty when it can."""
        self.reloads = 0
        self.reloads_failed = 0
        self.last_reload: LastReload | None = None
        self.generation: Generation | None = None
        """What the file was last seen to say, of all that was ever wanted; None while it is not known."""
        self._on_disk: Desired | None = None
        self._drafts = drafts
        self._file = file
        self._applier = applier
        self._clock = clock
        self._jitter = jitter
        self._metrics = metrics
        self._debounce = Debounce(_pace(self._patience))
        self._file_debounce = Debounce(_file_pace(self._patience))
        self._file_text = ""
        self._postponed = False
        self._failed: Blueprint | None = None
        self._deadly_text: str | None = None
        self._warnings = KnownWarnings()
        self._is_refused = False
        self._wanted: Desired | None = None
        self._failure = ""
        self._retry_at = self._file_retry_at = clock()
        self._waits = self._new_waits()
        self._draft_waits = self._new_waits()

    @property
    def _patience(self) -> ReloadSettings:
        """How patient to be: as proven settings say. A draft's own pace holds once the draft has proven itself."""
        return self._drafts.good_or_only.settings.reload

    @property
    def due_at(self) -> float | None:
        """When a waiting reload, or a change of the file, is to be done; None while none waits.

        A change of the file that was due and not made waits for a plan that lets it be made, not for a time.
        """
        reload_at, file_at = self._debounce.due_at, self._file_debounce.due_at
        due = [] if reload_at is None else [max(reload_at, self._retry_at)]
        if file_at is not None and max(file_at, self._file_retry_at) > self._clock():
            due.append(max(file_at, self._file_retry_at))
        return min(due, default=None)

    @property
    def file_lags(self) -> bool:
        """Whether the file does not say yet what HAProxy runs, and waits to be written."""
        return self._file_debounce.due_at is not None

    @property
    def has_file(self) -> bool:
        """Whether there is a file for HAProxy to start from; one that cannot be read is there."""
        try:
            return self._file.read() is not None
        except ConfigFileError:
            return True

    def start_over(self) -> None:
        """HAProxy came back: the back-off ends, unless HAProxy itself refused the text.

        A reload that fails on a listener makes HAProxy pause for two seconds, and one that it dies of makes the
        supervisor start it again: neither return is a reason to try the same text at once.
        """
        if not self._is_refused:
            self._retry_at = self._file_retry_at = self._clock()
            self._waits = self._new_waits()

    def take_draft(self) -> None:
        """There is a new draft: what failed before it need not fail with it."""
        self._draft_waits = self._new_waits()
        self._is_refused = False
        self._deadly_text = None
        self.start_over()

    def hold_off(self) -> None:
        """Something went wrong that is not understood: wait before the next action."""
        self._retry_at = self._file_retry_at = self._clock() + next(self._waits)
        self.rest()

    def rest(self) -> None:
        """HAProxy runs what is desired: nothing waits any more."""
        self._debounce.calm()
        self._wanted = None

    def want(self, desired: Desired) -> None:
        """Have HAProxy reloaded, once nothing more changes for a moment."""
        self._debounce.pace = _pace(self._patience)
        if desired != self._wanted:
            self._wanted = desired
            self._debounce.touch(self._clock())

    def want_at_once(self, desired: Desired) -> None:
        """Have HAProxy reloaded without waiting for quiet."""
        self._wanted = desired
        self._debounce.press(self._clock())

    @property
    def is_due(self) -> bool:
        """Whether the waiting reload is to be done now."""
        now = self._clock()
        return self._debounce.is_due(now) and now >= self._retry_at

    async def reload(self, outcome: Outcome, plan: Reload, aside: str | None = None) -> Applied | Postponed | None:
        """Reload; None when it failed, `POSTPONED` when it has to wait.

        What it brought about is told by `took_effect` or `had_no_effect`. By way of `aside`, where that is given: the
        same without the runtime socket in its place, which is new then.
        """
        most, text = self._patience.most_old_workers, outcome.text
        way = self._applier.reload(text, most) if aside is None else self._applier.reload_by(aside, text, most)
        try:
            applied = await self._attempt(outcome, way, plan)
        except ReloadPostponed as error:
            self._postpone(plan, error)
            return Postponed.POSTPONED
        self._postponed = False
        self._debounce.fired(self._clock())
        self._wanted = None
        if applied is None:
            self._record(plan)
            return None
        return replace(applied, warnings=self._warnings.of_reload(applied.warnings))

    def took_effect(self, outcome: Outcome, plan: Reload) -> None:
        """HAProxy is seen to run what the reload was for."""
        self.reloads += 1
        self._hold(outcome.desired)
        self._failed = None
        self._record(plan)

    def had_no_effect(self, blueprint: Blueprint, plan: Reload, error: ReloadFailed) -> None:
        """A new worker runs, but not what the reload was for: trying the same again is no use."""
        self._count_failure(plan)
        self._give_up(blueprint, error, plan)
        self._record(plan)

    async def processes(self) -> Processes | None:
        """HAProxy's processes by its master's word; None when the master does not answer."""
        return await self._applier.processes()

    async def observe_by_master(self) -> Running | None:
        """What HAProxy runs, by its master's word."""
        return await self._applier.observe()

    async def follow_in_time(self, outcome: Outcome) -> None:
        """Bring the file level once nothing more changes for a moment: HAProxy runs what it should already."""
        text = outcome.text
        if self._drafts.good is None or self.text_on_disk() == text:
            await self.follow(outcome)
            return
        now = self._clock()
        self._file_debounce.pace = _file_pace(self._patience)
        if text != self._file_text or not self.file_lags:  # changed, or put back after a reload that failed
            self._file_text = text
            self._file_debounce.touch(now)
        if self._file_debounce.is_due(now):
            await self.follow(outcome)

    async def follow(self, outcome: Outcome) -> None:
        """Bring the file level with what should be served, so that HAProxy can start from it at any moment."""
        blueprint, text = outcome.blueprint, outcome.text
        if self.text_on_disk() == text:
            self._be_level(outcome.desired)
            return
        if self._clock() < self._file_retry_at or blueprint == self._failed or text == self._deadly_text:
            return
        self._file_text = text
        followed = await self._attempt(outcome, self._applier.follow(text), None)
        if followed is None:
            return
        log.info("config.followed", bytes=len(text), warnings=list(self._warnings.of_check(followed.warnings)))
        self._be_level(outcome.desired)
        if self._drafts.good is None and not self._applier.has_good:
            # No HAProxy has run anything yet; that it accepts the text is the best proof to be had.
            self._drafts.prove(blueprint)

    async def follow_at_last(self, outcome: Outcome) -> None:
        """Bring the file level, whatever was to be waited for: there is no later time."""
        self._file_retry_at = self._clock()
        await self.follow(outcome)

    def confirm(self, text: str) -> None:
        """HAProxy is seen to run what `text` says: keep it as the last good one, once the file holds it."""
        if self.text_on_disk() == text:
            self._applier.confirm(text)

    def cannot_render(self, blueprint: Blueprint, error: TemplateError) -> None:
        """The template fails with the servers of this moment."""
        self._give_up(blueprint, error, None)

    def text_on_disk(self) -> str | None:
        """What HAProxy would start from; None when there is no file, or it cannot be read."""
        try:
            return self._file.read()
        except ConfigFileError as error:
            self.error = str(error)
            return None

    def good_text(self) -> str | None:
        """The last text that HAProxy was proven to run; None when there is none, or it cannot be read."""
        try:
            return self._file.read_good()
        except ConfigFileError:
            return None

    async def _attempt(self, outcome: Outcome, action: Awaitable[T], plan: Reload | None) -> T | None:
        """Do it; None when it failed, which was then logged and has its consequences drawn."""
        blueprint = outcome.blueprint
        try:
            result = await action
        except ConfigRefused as error:
            self._is_refused = True
            if plan is not None:
                self._keep_off_disk(outcome)  # `haproxy -c` alone, before a start from the file, might take it
            self._give_up(blueprint, ConfigRefused(self._explained(error, outcome)), plan)
        except (ProxyDied, StartRefused) as error:
            self._is_refused = True
            self._keep_off_disk(outcome)
            self._count_failure(plan)
            self._give_up(blueprint, type(error)(self._explained(error, outcome)), plan)
        except ReloadFailed as error:
            self._is_refused = not isinstance(error, ReloadUnproven)
            self._count_failure(plan)
            if blueprint != self._drafts.good:
                self._failed = blueprint  # `haproxy -c` takes it, and HAProxy does not: it must not start from that
            self._retry_later(blueprint, type(error)(self._explained(error, outcome)), plan)
        except ReloadPostponed:
            raise
        except ProxyError as error:
            self._retry_later(blueprint, error, plan)
        else:
            self._failure = ""
            self._is_refused = False
            return result
        return None

    def _keep_off_disk(self, outcome: Outcome) -> None:
        """HAProxy cannot start with this text: it must not be what HAProxy starts from."""
        self._deadly_text = outcome.text
        if outcome.blueprint != self._drafts.good:
            self._failed = outcome.blueprint

    def _explained(self, error: ProxyError, outcome: Outcome) -> str:
        """What HAProxy said, with the lines that it named, and where the whole text is."""
        template = outcome.blueprint.template.source
        explained = explain(str(error), str(self._file.path), outcome.text, template)
        kept = self._applier.keep_rejected(outcome.text)
        return explained if kept is None else f"{explained}\nthe whole text is kept as {kept}"

    def _give_up(self, blueprint: Blueprint, error: ProxyError | TemplateError, plan: Reload | None) -> None:
        """Trying the same again is no use: a draft on trial is rejected; without one we try again later."""
        if not self._drafts.is_on_trial(blueprint):
            if self._clock() >= (self._file_retry_at if plan is None else self._retry_at):
                self._retry_later(blueprint, error, plan)
            return
        self._failure = str(error)
        log.error(
            "edit.rejected",
            error=str(error),
            reasons=_shown(plan),
            effect="the last good settings and template stay in force",
        )
        self._drafts.reject(blueprint, str(error))

    def _retry_later(self, blueprint: Blueprint, error: ProxyError | TemplateError, plan: Reload | None) -> None:
        on_trial = self._drafts.is_on_trial(blueprint)
        wait = next(self._draft_waits if on_trial else self._waits)
        self._failure = str(error)
        log.error(
            "apply.failed",
            kind=type(error).__name__,
            error=str(error),
            reasons=_shown(plan),
            retry_in_s=round(wait, 3),
        )
        retry_at = self._clock() + wait
        if on_trial:
            self._drafts.shelve(blueprint, retry_at, str(error))
        else:
            self.error = str(error)
            if plan is None:
                self._file_retry_at = retry_at
            else:
                self._retry_at = retry_at

    def _postpone(self, plan: Reload, error: ReloadPostponed) -> None:
        """Ask again in a moment; told once."""
        if not self._postponed:
            log.warning("reload.postponed", reasons=_shown(plan), error=str(error))
        self._postponed = True
        self._retry_at = self._clock() + POSTPONE_S

    def _record(self, plan: Reload) -> None:
        self.last_reload = LastReload(self._clock(), tuple(_shown(plan)), self._failure)

    def _count_failure(self, plan: Reload | None) -> None:
        self.reloads_failed += 1
        self._metrics.reload_failed(plan.reasons if plan else ())

    def _hold(self, desired: Desired) -> None:
        """Note what the file says now, and since when."""
        if desired is not self._on_disk:
            self._on_disk = desired
            self.generation = of_desired(desired, self._clock(), self.generation)

    def _be_level(self, desired: Desired) -> None:
        """The file is as it should be: what failed before is over, but for a reload that is still wanted."""
        self._hold(desired)
        self._file_debounce.calm()
        if self.error and self._wanted is None:
            self.error = ""
            self._waits = self._new_waits()

    def _new_waits(self) -> Iterator[float]:
        pace = self._patience
        return backoff(pace.backoff_first_s, pace.backoff_longest_s, self._jitter)


def _shown(plan: Reload | None) -> list[str]:
    """The reasons of what was tried, as far as a log line has room; none when it was no reload."""
    return [reason.detail for reason in plan.reasons[:REASONS_SHOWN]] if plan else []


def _pace(settings: ReloadSettings) -> Pace:
    return Pace(settings.quiet_s, settings.longest_s, settings.least_interval_s)


def _file_pace(settings: ReloadSettings) -> Pace:
    return Pace(settings.file_quiet_s, settings.file_longest_s, 0.0)

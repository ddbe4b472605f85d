"""Making HAProxy run a text: candidate, check, install, reload, proof.

Rules:

- HAProxy keeps serving through every failure, and the file ends as a text that HAProxy was proven to run.
- A text that HAProxy refuses never becomes the file.
- A stop in the middle (`CancelledError`) leaves a whole, checked file: before the installation the old one, after it
  the new one, which HAProxy has been asked to load by then. Only a proven text is marked good, so the next start looks
  again and does what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from rosterd.errors import ConfigFileError, ProxyError, ReloadFailed, ReloadPostponed
from rosterd.model import Running
from rosterd.proxy.commands import Processes
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.kept_health import kept_health
from rosterd.proxy.reload import Master, ReloadProof, check, lacks_reason, with_reason
from rosterd.proxy.start_check import try_start
from rosterd.proxy.versions import Version

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checker:
    """How to run `haproxy -c`: the program, and a deadline in seconds."""

    binary: str
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Applied:
    """A text that HAProxy runs now, the seconds that each step took, and the number of servers that were kept down."""

    proof: ReloadProof
    warnings: tuple[str, ...]
    check_s: float
    install_s: float
    reload_s: float
    kept_down: int


@dataclass(frozen=True, slots=True)
class Followed:
    """A text that the file holds now without a reload, and the seconds that each step took."""

    warnings: tuple[str, ...]
    check_s: float
    install_s: float


class Applier:
    """Brings a text to the file and into HAProxy. One at a time: the caller owns it and awaits each call."""

    def __init__(self, file: ConfigFile, checker: Checker, master: Master, clock: Callable[[], float]) -> None:
        self._file = file
        self._checker = checker
        self._master = master
        self._clock = clock

    async def reload(self, text: str, most_old_workers: int) -> Applied:
        """Make HAProxy run `text`, proven.

        Raises `ReloadPostponed` while so many old workers still run, `ProxyUnreachable`, `ConfigRefused`,
        `ProxyBinaryError` or `ConfigFileError`, all with nothing changed; `ReloadFailed` or `ProxyGarbled` with the
        last good file back in its place.
        """
        applied = await self._reload(text, most_old_workers)
        self.confirm(text)
        return applied

    async def reload_by(self, aside: str, text: str, most_old_workers: int) -> Applied:
        """As `reload`, by way of a worker that runs `aside`: what that does not listen on, the next one opens anew.

        A new worker takes over the listeners of the old one, also one whose file is gone. The worker in between is no
        old one in the count.
        """
        before = self._file.read()
        await self._reload(aside, most_old_workers)
        try:
            applied = await self._reload(text, most_old_workers + 1)
        except ProxyError as failure:
            if self._file.read() == aside:
                self._restore(before, failure)
            raise
        self.confirm(text)
        return applied

    async def _reload(self, text: str, most_old_workers: int) -> Applied:
        before = self._file.read()
        processes = await self._master.processes()
        if len(processes.old_workers) >= most_old_workers:
            raise ReloadPostponed(
                f"{len(processes.old_workers)} of at most {most_old_workers} old workers still finish their connections"
            )
        self._try_start(text, processes.version)
        followed = await self.follow(text)
        tail = self._master.stderr_tail()
        started = self._clock()
        try:
            async with kept_health(self._master, self._file, processes, text) as kept_down:
                proof = await self._master.reload(processes)
        except ProxyError as failure:
            self._restore(before, failure)
            if isinstance(failure, ReloadFailed) and lacks_reason(failure):
                said = "\n".join(await tail.alerts())
                raise (
                    with_reason(failure, said) if said else type(failure)(f"{failure}: {tail.whereabouts}")
                ) from failure
            raise
        reload_s = self._clock() - started
        warnings = tuple(dict.fromkeys((*followed.warnings, *proof.warnings)))  # both often say the same
        return Applied(proof, warnings, followed.check_s, followed.install_s, reload_s, kept_down)

    def _try_start(self, text: str, version: Version) -> None:
        """Raise `ConfigRefused` for what `haproxy -c` does not see and a start would fail on."""
        try:
            held = self._file.read_good()
        except ConfigFileError:
            held = None
        try_start(text, held, self._master.surroundings(), version, self._file.path)

    @property
    def has_good(self) -> bool:
        """Whether a HAProxy was ever seen to run what we wrote; so it counts when that cannot be read."""
        try:
            return self._file.read_good() is not None
        except ConfigFileError:
            return True

    async def processes(self) -> Processes | None:
        """HAProxy's processes by its master's word; None when the master does not answer."""
        try:
            return await self._master.processes()
        except ProxyError:
            return None

    async def observe(self) -> Running | None:
        """What HAProxy runs by its master's word; None when that does not answer, or has no worker."""
        try:
            return await self._master.observe()
        except ProxyError:
            return None

    def keep_rejected(self, text: str) -> Path | None:
        """Keep a text that HAProxy refused beside the file; its path, or None when it cannot be written."""
        try:
            return self._file.keep_rejected(text)
        except ConfigFileError as error:
            log.warning("config.not_kept", error=str(error))
            return None

    async def follow(self, text: str) -> Followed:
        """Bring the file to `text` without a reload: for a HAProxy that runs the same already, or does not run at all.

        Raises `ConfigRefused`, `ProxyBinaryError` or `ConfigFileError` with nothing changed.
        """
        if text == self._file.read():
            warnings, check_s = await self._check(self._file.path)
            return Followed(warnings, check_s, install_s=0.0)
        candidate = self._file.write_candidate(text)
        try:
            warnings, check_s = await self._check(candidate)
            started = self._clock()
            self._file.install(candidate)
            return Followed(warnings, check_s, self._clock() - started)
        finally:
            self._file.discard(candidate)

    def confirm(self, text: str) -> None:
        """Keep `text` as the last good one: HAProxy was seen to run it. Costs nothing when it is that already."""
        try:
            self._file.mark_good(text)
        except ConfigFileError as error:
            # HAProxy runs the text and the file holds it: that the copy is missing makes no failure of it.
            log.warning("config.not_kept", error=str(error))

    async def _check(self, path: Path) -> tuple[tuple[str, ...], float]:
        """HAProxy's warnings on the file at `path`, and how long it took to read it."""
        started = self._clock()
        seen_by = self._master.surroundings()
        warnings = await check(
            self._checker.binary,
            path,
            self._checker.deadline_s,
            shown_as=self._file.path,
            directory=None if seen_by is None else seen_by.directory,
        )
        return warnings, self._clock() - started

    def _restore(self, before: str | None, failure: ProxyError) -> None:
        """Put the last good text back; where none was ever proven, the one that was there before."""
        try:
            good = self._file.read_good()
            text = before if good is None else good
            if text is None:
                return
            self._file.write(text)
        except ConfigFileError as error:
            raise ConfigFileError(f"{failure}; and the last good file could not be put back: {error}") from failure
        log.info("config.restored", path=str(self._file.path))

"""What becomes of an operator's edits of settings and template: a draft, or an error that says why not.

Rules:

- An edit counts when its files are whole: `settling` says when.
- Contents count, not events: files are read again when something may have changed, and compared.
- A broken edit changes nothing; why it is not in force is kept in the drafts, and logged once. Its end is logged, too.
- Keys that need a restart keep their old values, and the log names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from rosterd.blueprint import Blueprint, Drafts
from rosterd.errors import ConfigFileError, SettingsError, TemplateError
from rosterd.render import Template
from rosterd.settings import Settings, changed_keys, keep_what_needs_restart, needs_restart, removed_services
from rosterd.settling import FileChange, Settling
from rosterd.sources import Sources, TemplateText, looks_of, stat_of

log = structlog.get_logger(__name__)

KEPT = "the last good settings and template stay in force"
USED = "they are used as far as they go: there are no last good ones"
"""What the daemon does about settings and template with a mistake."""


class Edits:
    """Reads the files once they are whole, and keeps the drafts up to date."""

    def __init__(self, drafts: Drafts, sources: Sources, follow: Callable[[Iterable[Path]], object]) -> None:
        """Take the files as they are now for known; `follow` has those watched that it is given."""
        self.drafts = drafts
        self._sources = sources
        self._follow = follow
        self._ignored_keys: list[str] = []
        self._rejected_since: float | None = None
        self._files = self._files_of(sources.template_text())
        self._settling = Settling(looks_of(self._files))
        follow(self._files)

    @property
    def due_at(self) -> float | None:
        """When the files are whole unless they change again; None while there is nothing to read."""
        return self._settling.due_at

    @property
    def are_under_way(self) -> bool:
        """True while the files have changed, or should be read, and were not read yet."""
        return self._settling.is_under_way

    def note(self, path: Path, change: FileChange, now: float) -> None:
        """Take what happened to one of the files."""
        self._settling.note(path, change, now)

    def look_again(self, now: float) -> None:
        """Have the files read once they have stood still, whether or not anything is seen to happen to them."""
        for path in self._files:
            self._settling.note(path, FileChange.TOUCHED, now)

    def read_anyway(self, now: float) -> None:
        """Have the files read, and what was rejected or failed tried again: what it needs may be there now."""
        self.drafts.retry()
        for path in self._files:
            self._settling.note(path, FileChange.ASKED, now)

    def notice(self, now: float) -> None:
        """Look at the files themselves: links, mounts and full queues can keep an edit from the watcher."""
        if self._settling.is_under_way:
            return
        for path, known in self._settling.known.items():
            if stat_of(path) != known.stat:
                self._settling.note(path, FileChange.UNSEEN, now)

    def take(self, now: float) -> bool:
        """Make a draft of what the files say; False when they are not whole, or say what is known or was refused."""
        if not self._settling.is_under_way or not self._settling.look(looks_of(self._files), now):
            return False
        text, settings = self._sources.template_text(), self._read_settings()
        if self._have_changed_again(text, now):
            return False
        newest = self.drafts.newest
        try:
            blueprint = Blueprint.of(self._in_effect(newest.settings, settings), text.compiled())
        except (SettingsError, TemplateError) as error:
            self._refuse(str(error), KEPT)
            return False
        if blueprint.broken_rules:
            self._refuse("\n".join(blueprint.broken_rules), USED if blueprint == newest else KEPT)
            return False
        if blueprint in (newest, self.drafts.rejected):
            self.drafts.confirm(blueprint)
            return False
        self._propose(blueprint)
        return True

    def note_verdict(self, now: float) -> None:
        """Log that an edit is in force, or taken back, after one was rejected."""
        if self.drafts.error:
            if self._rejected_since is None:
                self._rejected_since = now
        elif self._rejected_since is not None:
            log.info("edit.accepted", after_s=round(now - self._rejected_since, 3))
            self._rejected_since = None

    def keep_good(self, template: Template) -> None:
        """Keep a proven template for a daemon that starts beside a broken one."""
        try:
            self._sources.keep_good(template)
        except ConfigFileError as error:
            log.warning("template.not_kept", error=str(error))

    def _files_of(self, text: TemplateText) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((*self._sources.edited, *text.files)))

    def _have_changed_again(self, text: TemplateText, now: float) -> bool:
        """True if a file is not any more what was looked at, or was not looked at: the template includes it anew."""
        before, self._files = self._settling.known, self._files_of(text)
        self._follow(self._files)
        for path, look in looks_of(self._files).items():
            if path not in before:
                self._settling.note(path, FileChange.CREATED, now)
            elif look != before[path]:
                self._settling.note(path, FileChange.TOUCHED, now)
        return self._settling.is_under_way

    def _propose(self, blueprint: Blueprint) -> None:
        newest, in_force = self.drafts.newest, self.drafts.good_or_only
        log.info(
            "edit.taken",
            settings=list(changed_keys(newest.settings, blueprint.settings)),
            template=blueprint.template != newest.template,
        )
        if removed := removed_services(in_force.settings, blueprint.settings):
            log.warning(
                "config.service_removed",
                services=list(removed),
                effect="requests for their hosts go to the first HTTP service, TCP ports are closed, "
                "once the edit is in force",
            )
        self.drafts.propose(blueprint)

    def _refuse(self, error: str, effect: str) -> None:
        if self.drafts.error != error:
            log.error(
                "edit.rejected",
                error=error,
                reasons=[],  # it did not come so far that HAProxy would have been reloaded for it
                effect=effect,
            )
        self.drafts.refuse(error)

    def _read_settings(self) -> Settings | SettingsError:
        try:
            return self._sources.settings()
        except SettingsError as error:
            return error

    def _in_effect(self, current: Settings, edited: Settings | SettingsError) -> Settings:
        """The edited settings as far as a running daemon can take them up; raises what is wrong with them."""
        if isinstance(edited, SettingsError):
            raise edited
        ignored = [key for key in changed_keys(current, edited) if needs_restart(key)]
        if ignored and ignored != self._ignored_keys:
            log.warning("settings.restart_needed", keys=ignored)
        self._ignored_keys = ignored
        return keep_what_needs_restart(current, edited)

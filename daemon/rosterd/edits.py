"""What becomes of an operator's edits of settings and template: a draft, or an error that says why not.

Rules:

- Contents count, not events: files are read again when something may have changed, and compared.
- A broken edit changes nothing; why it is not in force is kept in the drafts, and told once.
- Keys that need a restart keep their old values, and the log names them.
"""

from __future__ import annotations

import structlog

from rosterd.blueprint import Blueprint, Drafts
from rosterd.errors import ConfigFileError, SettingsError, TemplateError
from rosterd.render import Template
from rosterd.settings import Settings, changed_keys, keep_what_needs_restart, needs_restart
from rosterd.sources import Sources

log = structlog.get_logger(__name__)


class Edits:
    """Reads the files when told to, and keeps the drafts up to date."""

    def __init__(self, drafts: Drafts, sources: Sources) -> None:
        """Take the files as they are now for known."""
        self.drafts = drafts
        self._sources = sources
        self._fingerprint = sources.fingerprint()
        self._ignored_keys: list[str] = []
        self._pending = False

    def read_again(self) -> None:
        """Something may have changed."""
        self._fingerprint = self._sources.fingerprint()
        self._pending = True

    def read_anyway(self) -> None:
        """Take up what was rejected or failed, too: what it needs may be there now."""
        self.drafts.retry()
        self.read_again()

    def notice(self) -> bool:
        """Look at the files themselves: links, mounts and full queues can keep an edit from the watcher."""
        fingerprint = self._sources.fingerprint()
        if fingerprint == self._fingerprint:
            return False
        self._fingerprint = fingerprint
        self._pending = True
        return True

    def take(self) -> bool:
        """Make a draft of what the files say now; False when it is what we already have, or have refused."""
        if not self._pending:
            return False
        self._pending = False
        newest = self.drafts.newest
        try:
            template = self._sources.template()
            settings = self._read_settings(newest.settings)
            blueprint = Blueprint.of(settings, template)
        except (SettingsError, TemplateError) as error:
            self._refuse(str(error))
            return False
        if blueprint in (newest, self.drafts.rejected):
            self.drafts.confirm(blueprint)
            return False
        keys = list(changed_keys(newest.settings, settings))
        log.info("edit.taken", settings=keys, template=template != newest.template)
        self.drafts.propose(blueprint)
        return True

    def keep_good(self, template: Template) -> None:
        """Keep a proven template for a daemon that starts beside a broken one."""
        try:
            self._sources.keep_good(template)
        except ConfigFileError as error:
            log.warning("template.not_kept", error=str(error))

    def _refuse(self, error: str) -> None:
        if self.drafts.error != error:
            log.error(
                "edit.rejected",
                error=error,
                reasons=[],  # it did not come so far that HAProxy would have been reloaded for it
                effect="the last good settings and template stay in force",
            )
        self.drafts.refuse(error)

    def _read_settings(self, current: Settings) -> Settings:
        settings = self._sources.settings()
        ignored = [key for key in changed_keys(current, settings) if needs_restart(key)]
        if ignored and ignored != self._ignored_keys:
            log.warning("settings.restart_needed", keys=ignored)
        self._ignored_keys = ignored
        return keep_what_needs_restart(current, settings)

"""The two files that an operator edits, settings and template, and the last good template.

An adapter: it reads and writes files and knows nothing of when. A template that HAProxy was proven to run is kept in
the state directory, so that a daemon that starts beside a broken edit goes on with the one that worked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rosterd.errors import ConfigFileError, TemplateError
from rosterd.render import Template, compile_template
from rosterd.settings import Settings, load

GOOD_TEMPLATE = "last-good.cfg.j2"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the files are. `settings_file` is None when all settings come from defaults and environment."""

    settings_file: Path | None
    template_file: Path
    state_dir: Path

    @property
    def watched(self) -> tuple[Path, ...]:
        """The files whose edits matter."""
        return tuple(path for path in (self.settings_file, self.template_file) if path is not None)

    def fingerprint(self) -> tuple[object, ...]:
        """What changes when one of the files does, links followed: its inode, its time of change and its size."""
        return tuple(_fingerprint(path) for path in self.watched)

    def settings(self) -> Settings:
        """Read the settings; SettingsError lists what is wrong with them."""
        return load(self.settings_file)

    def template(self) -> Template:
        """Read the template; TemplateError names the file, and the line if it has a mistake."""
        return _read_template(self.template_file)

    def good_template(self) -> Template | None:
        """The last template that HAProxy was proven to run; None when there is none that can be used."""
        try:
            return _read_template(self.state_dir / GOOD_TEMPLATE)
        except TemplateError:
            return None

    def keep_good(self, template: Template) -> None:
        """Keep a proven template, whole or not at all; ConfigFileError names the file that cannot be written."""
        path = self.state_dir / GOOD_TEMPLATE
        temporary = path.with_name(f".{path.name}.new")
        try:
            source = template.source.encode()
            if path.exists() and path.read_bytes() == source:
                return
            with temporary.open("wb") as file:
                file.write(source)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise ConfigFileError(f"{path}: the last good template cannot be kept: {error}") from error


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read_template(path: Path) -> Template:
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read (proxy.template_file): {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path}: is not UTF-8 (byte {error.start})") from error
    return compile_template(source, str(path))

"""The files that an operator edits (settings, template, and what the template includes), and the last good template.

An adapter: it reads and writes files and knows nothing of when. A template that HAProxy was proven to run is kept in
the state directory, so that a daemon that starts beside a broken edit goes on with the one that worked. The copy holds
the included files as well: what is broken later may be one of those.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from rosterd.errors import ConfigFileError, TemplateError
from rosterd.render import Part, Template, compile_template, included_names
from rosterd.settings import Settings, load
from rosterd.settling import Look, Looks

GOOD_TEMPLATE = "last-good.cfg.j2"

_BUNDLE = "rosterd template with its included files"
"""Marks a kept template that is more than one file, and so is JSON instead of its text."""


@dataclass(frozen=True, slots=True)
class TemplateText:
    """A template as it was read, not compiled yet, and all files that it needs, be they there or not."""

    path: Path
    source: str
    error: str
    parts: tuple[Part, ...] = ()
    absent: Mapping[str, str] | None = None
    files: tuple[Path, ...] = ()

    def compiled(self) -> Template:
        """Compile it; TemplateError names the file, and the line if it has a mistake."""
        if self.error:
            raise TemplateError(self.error)
        return compile_template(self.source, str(self.path), self.parts, self.absent)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the files are. `settings_file` is None when all settings come from defaults and environment."""

    settings_file: Path | None
    template_file: Path
    state_dir: Path

    @property
    def edited(self) -> tuple[Path, ...]:
        """The files whose edits matter, whatever the template includes."""
        return tuple(path for path in (self.settings_file, self.template_file) if path is not None)

    def settings(self) -> Settings:
        """Read the settings; SettingsError lists what is wrong with them."""
        return load(self.settings_file)

    def template(self) -> Template:
        """Read the template; TemplateError names the file, and the line if it has a mistake."""
        return self.template_text().compiled()

    def template_text(self) -> TemplateText:
        """Read the template and the files that it includes."""
        path = self.template_file
        try:
            source = _read(path)
        except _Unreadable as error:
            return TemplateText(path, "", f"{path}: {error}; it is named by proxy.template_file", files=(path,))
        parts: dict[str, Part] = {}
        absent: dict[str, str] = {}
        names = list(included_names(source, str(path)))
        while names:
            name = names.pop()
            if name in parts or name in absent:
                continue
            file = path.parent / name
            try:
                parts[name] = Part(name, _read(file), str(file))
            except _Unreadable as error:
                absent[name] = str(error)
            else:
                names += included_names(parts[name].source, str(file))
        files = (path, *(path.parent / name for name in sorted({*parts, *absent})))
        return TemplateText(path, source, "", tuple(parts.values()), absent, files)

    def good_template(self) -> Template | None:
        """The last template that HAProxy was proven to run; None when there is none that can be used."""
        path = self.state_dir / GOOD_TEMPLATE
        try:
            source, parts = _unbundled(_read(path), str(path))
            return compile_template(source, str(path), parts)
        except (_Unreadable, TemplateError):
            return None

    def keep_good(self, template: Template) -> None:
        """Keep a proven template, whole or not at all; ConfigFileError names the file that cannot be written."""
        path = self.state_dir / GOOD_TEMPLATE
        temporary = path.with_name(f".{path.name}.new")
        try:
            content = _bundled(template).encode()
            if path.exists() and path.read_bytes() == content:
                return
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise ConfigFileError(f"{path}: the last good template cannot be kept: {error}") from error


def stat_of(path: Path) -> tuple[int, ...]:
    """What changes when a file does, links followed: inode, times and size; empty when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def looks_of(files: Iterable[Path]) -> Looks:
    """What these files look like now, with their contents."""
    return {path: _look_of(path) for path in files}


def _look_of(path: Path) -> Look:
    stat = stat_of(path)
    try:
        content = path.read_bytes()
    except OSError:
        return Look(stat)
    return Look(stat, blake2b(content, digest_size=16).digest(), len(content))


class _Unreadable(Exception):
    """Why a file cannot be read, without its name."""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _Unreadable(f"is not UTF-8 (byte {error.start})") from error


def _bundled(template: Template) -> str:
    if not template.parts:
        return template.source
    parts = {part.name: part.source for part in template.parts}
    return json.dumps({"content": _BUNDLE, "template": template.source, "parts": parts}, indent=1) + "\n"


def _unbundled(text: str, label: str) -> tuple[str, tuple[Part, ...]]:
    """The template and its parts in a kept copy; a template that includes nothing is kept as it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text, ()
    match found:
        case {"content": content, "template": str(source), "parts": dict(parts)} if content == _BUNDLE:
            return source, tuple(Part(name, part, f"{label}:{name}") for name, part in parts.items())
        case _:
            return text, ()

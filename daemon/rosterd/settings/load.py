"""Settings from file and environment, all mistakes at once; and what an edit of them changes.

`NEEDS_RESTART` lists the keys that a running daemon cannot take up; all others are in force within a moment of an edit.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError as EnvironmentUnreadable

from rosterd.errors import SettingsError
from rosterd.places import SETTINGS_VARIABLE
from rosterd.settings.sections import ENV_PREFIX, AdminSettings, Settings

NEEDS_RESTART = frozenset(
    {
        "serf",
        "admin",
        "log",
        "proxy.binary",
        "proxy.config_file",
        "proxy.template_file",
        "proxy.state_dir",
        "proxy.master_socket",
        "proxy.runtime_bind",
        "proxy.runtime_socket",
        "proxy.answer_timeout_s",
        "proxy.check_timeout_s",
        "proxy.reload_timeout_s",
    }
)

_PROTOCOL, _NUMBER, _ADDRESS = "(tcp|udp|sctp)", "[0-9]{1,5}", "[0-9A-Fa-f.:]+"

_OF_PLATFORM = tuple(
    (re.compile(rf"{ENV_PREFIX}(\w+_)?{name}"), re.compile(value))
    for name, value in (
        ("SERVICE_HOST", _ADDRESS),
        (r"SERVICE_PORT(_\w+)?", _NUMBER),
        (rf"PORT(_{_NUMBER}_\w+)?", rf"{_PROTOCOL}://\S+"),
        (rf"PORT_{_NUMBER}_\w+_PROTO", _PROTOCOL),
        (rf"PORT_{_NUMBER}_\w+_PORT", _NUMBER),
        (rf"PORT_{_NUMBER}_\w+_ADDR", _ADDRESS),
        ("NAME", r"/[^/\s]+/[^/\s]+"),
    )
)
"""What container platforms set for a service named rosterd, or rosterd-something: names and what they hold."""


def load(path: Path | None) -> Settings:
    """Read the settings from a file (None: from the defaults) and the environment.

    Raises:
        SettingsError: with every mistake, each named by its key, variable or file.
    """
    problems = list(_unknown_variables())
    given: dict[str, Any] = {}
    try:
        given = {} if path is None else _read_toml(path)
        settings = Settings(**given)
    except SettingsError as error:
        problems = [*error.problems, *problems]
    except ValidationError as error:
        problems += [_sentence(problem["loc"], problem["msg"]) for problem in error.errors()]
    except EnvironmentUnreadable as error:
        problems.append(f"environment: {error} (lists and tables are given as JSON)")
    else:
        if not problems:
            return settings
    raise SettingsError(tuple(problems))


def load_admin(path: Path | None) -> AdminSettings:
    """Read the section `admin` alone, whatever is wrong with the others; SettingsError when that cannot be had."""
    given = {} if path is None else _read_toml(path)
    try:
        return Settings(**{key: value for key, value in given.items() if key == "admin"}).admin
    except (ValidationError, EnvironmentUnreadable) as error:
        raise SettingsError((f"admin: {error}",)) from error


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys whose values differ, as `section.key`; `services` counts as one key."""
    keys: list[str] = []
    for section in Settings.model_fields:
        before, after = getattr(old, section), getattr(new, section)
        if not isinstance(before, BaseModel):
            keys += [section] if before != after else []
            continue
        keys += [f"{section}.{key}" for key in type(before).model_fields if getattr(before, key) != getattr(after, key)]
    return tuple(keys)


def removed_services(old: Settings, new: Settings) -> tuple[str, ...]:
    """The names of the services that the old settings have and the new ones have not."""
    kept = {service.name for service in new.services}
    return tuple(service.name for service in old.services if service.name not in kept)


def needs_restart(key: str) -> bool:
    """Whether a running daemon cannot take up a change of this key."""
    return key in NEEDS_RESTART or key.partition(".")[0] in NEEDS_RESTART


def keep_what_needs_restart(old: Settings, new: Settings) -> Settings:
    """The new settings, with the old values of the keys that a running daemon cannot take up."""
    sections: dict[str, object] = {}
    for key in changed_keys(old, new):
        section, _, name = key.partition(".")
        if not needs_restart(key):
            continue
        current = sections.get(section, getattr(new, section))
        assert isinstance(current, BaseModel)  # noqa: S101  only sections have keys that need a restart
        sections[section] = current.model_copy(update={name: getattr(getattr(old, section), name)})
    return new.model_copy(update=sections)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError((f"{path}: cannot be read: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        raise SettingsError((f"{path}: is not UTF-8 (byte {error.start})",)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError((f"{path}: is not TOML: {error}",)) from error


def _unknown_variables() -> Iterator[str]:
    """Variables that look like ours but name no section; the library would pass over them in silence."""
    for variable in sorted(os.environ):
        if not variable.startswith(ENV_PREFIX) or variable == SETTINGS_VARIABLE or _is_of_platform(variable):
            continue
        section, nested, _ = variable.removeprefix(ENV_PREFIX).partition("__")
        if section.lower() not in Settings.model_fields:
            hint = "" if nested else "; a key is given as ROSTERD_SECTION__KEY, with two underscores"
            yield f"{variable}: there is no section {section.lower()}{hint}"


def ignored_variables() -> tuple[str, ...]:
    """Variables with our prefix that a container platform sets for a service of our name: no keys of ours."""
    return tuple(sorted(filter(_is_of_platform, os.environ)))


def _is_of_platform(variable: str) -> bool:
    """True for `ROSTERD_PORT=tcp://10.0.0.1:80` and its like, by name and value both.

    A name with two underscores in a row is a key of ours, whatever its value.
    """
    if not variable.startswith(ENV_PREFIX) or "__" in variable:
        return False
    value = os.environ[variable]
    return any(name.fullmatch(variable) and content.fullmatch(value) for name, content in _OF_PLATFORM)


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    text = message.removeprefix("Value error, ")
    if text == "Extra inputs are not permitted":
        text = "there is no such key"
    return f"{key}: {text}" if key else text

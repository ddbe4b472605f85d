"""Carries the machine's pip configuration into a root file system.

`pip config list` names all that applies here: files of every level, and the environment. Settings that choose where
packages come from are kept; each file and folder that they name is shown inside under a path of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

KEPT = frozenset(
    {
        *("cert", "client-cert", "proxy", "trusted-host", "default-timeout", "timeout", "retries"),
        *("index-url", "extra-index-url", "find-links", "no-index", "constraint"),
    }
)
INSIDE = PurePosixPath("/srv/machine")


@dataclass(frozen=True, slots=True)
class PipSettings:
    """The text of a pip.conf, and the paths of this machine that it needs, by their paths inside."""

    text: str
    shown: dict[str, str] = field(default_factory=dict)


def carried(listed: str, exists: Callable[[str], bool]) -> PipSettings:
    """The settings for a root file system.

    Args:
        listed: The output of `pip config list`.
        exists: True for a path of this machine that exists.
    """
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        key, equals, value = line.partition("=")
        # Levels come in any order; the environment's is the strongest.
        level, _, name = key.rpartition(".")
        if equals and name in KEPT and (name not in settings or level == ":env:"):
            settings[name] = str(ast.literal_eval(value))
    shown: dict[str, str] = {}
    lines = ["[global]"]
    for name, value in sorted(settings.items()):
        words = [word for word in (_inside(word, shown, exists) for word in value.split()) if word]
        # pip keeps the line break in front of a value that begins on a line of its own.
        lines.append(f"{name} = " + "\n    ".join(words))
    return PipSettings("\n".join(lines) + "\n", shown)


def _inside(word: str, shown: dict[str, str], exists: Callable[[str], bool]) -> str:
    """A word of a value as it is inside; empty for a local path that does not exist."""
    is_url = word.startswith("file://")
    path = unquote(urlsplit(word).path) if is_url else word
    if not path.startswith("/"):
        return word
    if not exists(path):
        return ""
    whole = PurePosixPath(path)
    # The pages of an index link to files beside it.
    outer = whole.parent if is_url and whole.parent != whole.parent.parent else whole
    inside = shown.setdefault(str(outer), str(INSIDE / f"{len(shown)}-{outer.name}"))
    return f"{'file://' if is_url else ''}{PurePosixPath(inside) / whole.relative_to(outer)}"

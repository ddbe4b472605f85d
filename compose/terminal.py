"""The encoding of what is printed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TextIO

_PLAIN_LOCALES = frozenset({"", "C", "POSIX"})


def wants_ascii(environ: Mapping[str, str]) -> bool:
    """True if the locale is the C locale, whose characters are ASCII; Python itself would print UTF-8 there."""
    if environ.get("PYTHONUTF8") == "1" or environ.get("PYTHONIOENCODING"):
        return False
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return locale in _PLAIN_LOCALES


def obey_locale(environ: Mapping[str, str], *streams: TextIO) -> None:
    """Have these streams print ASCII in the C locale, every other character escaped."""
    if wants_ascii(environ):
        for stream in streams:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="ascii", errors="backslashreplace")

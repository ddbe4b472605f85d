"""Which of HAProxy's warnings are news. Pure.

HAProxy warns of the same text at each start. A warning is logged when it is new, and again when it returns after it was
gone; a line number that moves makes no new warning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINE_NUMBER = re.compile(r"(?<=:)\d+(?=\])|(?<=line )\d+")


class KnownWarnings:
    """The warnings of the text that HAProxy runs, or is to start from."""

    def __init__(self) -> None:
        """Know of none."""
        self._known: frozenset[str] = frozenset()

    def of_check(self, warnings: Sequence[str]) -> tuple[str, ...]:
        """Return the new ones of a check alone: a start may warn of more, so none is taken for gone."""
        news = self._new(warnings)
        self._known |= {_key(warning) for warning in warnings}
        return news

    def of_reload(self, warnings: Sequence[str]) -> tuple[str, ...]:
        """Return the new ones of a check and a start; what is not among these warnings is gone."""
        news = self._new(warnings)
        self._known = frozenset(_key(warning) for warning in warnings)
        return news

    def _new(self, warnings: Sequence[str]) -> tuple[str, ...]:
        return tuple(warning for warning in warnings if _key(warning) not in self._known)


def _key(warning: str) -> str:
    return _LINE_NUMBER.sub("N", warning)

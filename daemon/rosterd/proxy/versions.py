"""The differences between HAProxy 2.6 and 3.4 that decide what is sent to it. Pure.

Differences that an answer shows by itself are handled where the answer is parsed, in `proxy/commands.py`: the reply to
`reload`, and the process list after a failed reload. An answer that names no version counts as one of the oldest. A
batch has one form for all versions, in `proxy/actions.py`.

The tables were checked by experiment on 2.6.12, 2.8.25, 3.0.11, 3.2.26 and 3.4.7. An option that a table does not name
is sent; if HAProxy refuses it, the refusal is a reason to reload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

Version: TypeAlias = tuple[int, int]

OLDEST: Version = (2, 6)

_REFUSED_BY_ADD_SERVER = frozenset(
    {"redir", "stick", "non-stick", "no-check", "no-agent-check", "namespace", "log-proto"}
)
"""Options of a server line that no version takes at run time."""

_ADD_SERVER_SINCE: Mapping[str, Version] = {"cookie": (2, 8)}
"""Options that older versions take only from the file."""

DYNAMIC_COOKIE_SINCE: Version = (2, 8)
"""Before, a server that is added at run time gets no cookie from `cookie NAME dynamic`: its visitors lose theirs."""

DEFAULTS_SINCE: Mapping[str, Version] = {"sni-auto": (3, 3), "check-sni-auto": (3, 3)}
"""Words that say what has been the default since then, and that `add server` refuses."""


CHROOT_AUTO_SINCE: Version = (3, 4)
"""Before, `chroot auto` is a directory of that name."""

CHROOT_NEEDS_RIGHT_BEFORE: Version = (3, 3)
"""Before, a `chroot` without the right to it ends HAProxy; since then it is a warning."""


def version_of(text: str) -> Version:
    """Return the version that HAProxy names (`2.6.12-1+deb12u4`), as (2, 6); the oldest one if it names none."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else OLDEST


def is_refused_by_add_server(option: str, version: Version) -> bool:
    """True if this version takes the option only from the file."""
    return option in _REFUSED_BY_ADD_SERVER or version < _ADD_SERVER_SINCE.get(option, OLDEST)

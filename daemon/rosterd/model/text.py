"""What a configuration text says, apart from address, port, id, weight and state of the members' servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rosterd.model.server import ServerKey

Options = tuple[str, ...]
"""All that a server's line says besides name, address, port, id, weight and state, `default-server` lines included."""


@dataclass(frozen=True, slots=True)
class FrameLine:
    """A line that is no member's server line, in the section that it stands in (`backend shop`); blanks are normal."""

    section: str
    line: str


@dataclass(frozen=True, slots=True)
class Contents:
    """A text in parts.

    `frame` is each line but the server lines of members, without comments. `options` are those of the members'
    servers, `template_servers` the other servers in the services' sections, with the id that their line gives: these
    are the template's own. `structure` is the digest that the text carries, empty when it carries none.
    """

    structure: str
    frame: tuple[FrameLine, ...]
    options: Mapping[ServerKey, Options]
    template_servers: Mapping[ServerKey, int | None]


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line that a text has and another one has not; `is_added` says which of the two is the new one."""

    is_added: bool
    section: str
    line: str

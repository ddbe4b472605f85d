"""The lines of a HAProxy configuration as HAProxy splits them: words, section, condition.

Pure, and the one place that knows how a text is split. Rules:

- A newline ends a line, and nothing else does. `#` begins a comment where it is neither quoted nor escaped.
- "…" and '…' quote, and a backslash escapes the next character. `written` keeps both, `words` is what HAProxy reads.
  Variables of the environment stay as they are in either.
- HAProxy may leave out what stands between `.if` and `.endif`.

Sources: HAProxy's configuration manual, "Quoting and escaping", "Conditional blocks" and "Proxies".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_PROXIES = frozenset({"defaults", "frontend", "backend", "listen"})
_OTHERS = frozenset({"global", "peers", "resolvers", "userlist", "mailers", "program", "http-errors", "ring", "cache"})
_NEWER = frozenset({"log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "acme", "healthcheck"})
SECTIONS = _PROXIES | _OTHERS | _NEWER
"""The words that begin a section."""

_QUOTING = re.compile(r"[\"'\\]")
_WORD = re.compile(r"""(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'\\#])+|#.*|["'\\]""")
"""A word with all that is quoted or escaped in it; a comment; or a quote that nothing ends."""
_QUOTED = re.compile(r"""\\(.)|"((?:\\.|[^"\\])*)"|'([^']*)'""")
_ESCAPED = re.compile(r"\\(.)")

_NESTING = {".if": 1, ".endif": -1}

_NUMBERS = re.compile(r"(?:(\d{1,6})-)?(\d{1,6})")


class Section(NamedTuple):
    """A section, by its first line: `backend NAME from BASE`. All is empty before the first section."""

    keyword: str = ""
    name: str = ""
    base: str = ""
    """The name of the `defaults` section that it starts from, where the line has one."""
    heading: str = ""
    """The line as written, with single blanks."""

    @property
    def has_servers(self) -> bool:
        """True if `server` lines of this section are those of a proxy."""
        return self.keyword in ("backend", "listen")


class ConfigLine(NamedTuple):
    """One line that has at least a word. The first line of a section belongs to that section."""

    number: int
    """The first line of a text is number 1."""
    text: str
    """The whole line, with its comment."""
    written: Sequence[str]
    """The words, quotes and escapes included."""
    words: Sequence[str]
    """The words that HAProxy reads."""
    section: Section
    is_conditional: bool

    @property
    def is_plain(self) -> bool:
        """True if nothing of the words is quoted or escaped."""
        return self.written is self.words

    @property
    def begins_section(self) -> bool:
        """True for the first line of a section."""
        return self.words[0] in SECTIONS


def config_lines(text: str) -> Iterator[ConfigLine]:
    """Yield the lines of a configuration, without those that are blank or only a comment."""
    section, depth = Section(), 0
    for number, line in enumerate(text.split("\n"), 1):
        written = _written(line)
        if not written:
            continue
        words = written if not _QUOTING.search(line) else _words(written)
        depth += _NESTING.get(words[0], 0)
        if words[0] in SECTIONS:
            section = _section(written, words)
        yield ConfigLine(number, line, written, words, section, depth > 0)


def template_numbers(text: str) -> range:
    """The numbers of a `server-template`: `N` is 1 to N, `LOW-HIGH` those two and what lies between."""
    found = _NUMBERS.fullmatch(text)
    return range(int(found[1] or 1), int(found[2]) + 1) if found else range(0)


def _written(line: str) -> Sequence[str]:
    if not _QUOTING.search(line):
        return line.partition("#")[0].split()
    words = _WORD.findall(line)
    comment = next((number for number, word in enumerate(words) if word.startswith("#")), len(words))
    return words[:comment]


def _words(written: Sequence[str]) -> Sequence[str]:
    words = [_QUOTED.sub(_unquoted, word) for word in written]
    return written if words == written else words


def _unquoted(found: re.Match[str]) -> str:
    escaped, double, single = found.groups()
    if double is not None:
        return _ESCAPED.sub(r"\1", double)
    return escaped if escaped is not None else single


def _section(written: Sequence[str], words: Sequence[str]) -> Section:
    rest = words[1:]
    base = rest[-1] if len(rest) > 1 and rest[-2] == "from" else ""
    name = "" if not rest or rest[0] == "from" else rest[0]
    return Section(words[0], name, base, " ".join(written))

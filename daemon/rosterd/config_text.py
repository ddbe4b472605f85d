"""A configuration text in parts: its frame, and the options of the members' servers.

Pure. The frame is compared with that of the text that HAProxy runs: a difference there, or in the options of a server,
is one that only a reload removes. Rules:

- A member's server line is one in the section `backend` or `listen` of a service, by the name of a member's server.
  Each other line belongs to the frame, `server` lines of other sections included.
- Comments and blank lines do not count, nor do blanks between words. Quotes and escapes count as they are written.
- The other servers in a service's section are the template's own. `server-template` makes as many as it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise

from rosterd.config_lines import ConfigLine, Section, config_lines, template_numbers
from rosterd.model import Contents, FrameLine, LineChange, Options, ServerKey

MARK = "rosterd:"
"""How the description of a configuration of ours starts; the digest of its structure follows."""

MAX_TEMPLATE_SERVERS = 10_000
"""Servers of one `server-template` line that are known by name."""


def read_contents(text: str, members: Mapping[str, Container[str]]) -> Contents:
    """Take a text apart; `members` are the names of the members' servers of each service."""
    frame: list[FrameLine] = []
    options: dict[ServerKey, Options] = {}
    template_servers: dict[ServerKey, int | None] = {}
    structure = ""
    defaults = _Defaults()
    for line in config_lines(text):
        words, section = line.words, line.section
        first = words[0]
        is_of_service = section.has_servers and section.name in members and len(words) > 2
        if line.begins_section:
            defaults.enter(section)
        elif first == "server" and is_of_service:
            if words[1] in members[section.name]:
                options[section.name, words[1]] = defaults.with_line(line)
                continue
            template_servers[section.name, words[1]] = _id_of(words)
        elif first == "server-template" and is_of_service:
            template_servers.update(dict.fromkeys(((section.name, name) for name in _expanded(words)), None))
        elif first == "default-server":
            defaults.add(line)
        elif first == "description" and section.keyword == "global" and len(words) > 1 and words[1].startswith(MARK):
            structure = words[1].removeprefix(MARK)
            continue
        frame.append(FrameLine(section.heading, " ".join(line.written)))
    return Contents(structure, tuple(frame), options, template_servers)


def frame_digest(contents: Contents) -> str:
    """A digest of the frame, 16 hexadecimal digits."""
    digest = blake2b(digest_size=8)
    for each in contents.frame:
        digest.update(f"{each.line}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def frame_changes(old: Contents, new: Contents) -> tuple[LineChange, ...]:
    """The lines that one frame has and the other has not, in their order: those that are gone, then those that came.

    A line that has only moved is reported as removed and added.
    """
    if old.frame == new.frame:
        return ()
    before, after = Counter(old.frame), Counter(new.frame)
    gone = [LineChange(False, each.section, each.line) for each in _picked(old.frame, before - after)]
    come = [LineChange(True, each.section, each.line) for each in _picked(new.frame, after - before)]
    return (*gone, *come) if gone or come else tuple(_moved(old.frame, new.frame))


def _picked(lines: Iterable[FrameLine], wanted: Counter[FrameLine]) -> Iterator[FrameLine]:
    for line in lines:
        if wanted[line] > 0:
            wanted[line] -= 1
            yield line


def _moved(old: Sequence[FrameLine], new: Sequence[FrameLine]) -> Iterator[LineChange]:
    """The lines between the first and the last place where two orders of the same lines differ."""
    differing = [number for number, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
    first, last = differing[0], differing[-1] + 1
    yield from (LineChange(False, each.section, each.line) for each in old[first:last])
    yield from (LineChange(True, each.section, each.line) for each in new[first:last])


def _id_of(words: Sequence[str]) -> int | None:
    """The id that a server line gives; None where HAProxy finds one."""
    for word, value in pairwise(words[3:]):
        if word == "id" and value.isascii() and value.isdecimal() and len(value) < 11:
            return int(value)
    return None


def _expanded(words: Sequence[str]) -> Iterator[str]:
    """The names of the servers that a `server-template` line makes: `server-template web 1-3 …` makes web1 to web3."""
    return (f"{words[1]}{number}" for number in template_numbers(words[2])[:MAX_TEMPLATE_SERVERS])


class _Defaults:
    """The `default-server` words that hold at a line, as sections start from each other."""

    def __init__(self) -> None:
        self._named: dict[str, Options] = {}
        self._last: Options = ()
        self._current: Options = ()
        self._name: str | None = None
        """That of the `defaults` section that is being read; None in another one."""

    def enter(self, section: Section) -> None:
        """A section begins."""
        base = self._named.get(section.base) if section.base else None
        if section.keyword == "defaults":
            self._name = section.name
            self._current = self._last = self._named[self._name] = base or ()
        else:
            self._name, self._current = None, self._last if base is None else base

    def add(self, line: ConfigLine) -> None:
        """A `default-server` line adds to what holds."""
        self._current = (*self._current, *line.written[1:])
        if self._name is not None:
            self._last = self._named[self._name] = self._current

    def with_line(self, line: ConfigLine) -> Options:
        """The options of a server line."""
        return (*without_own(self._current), *without_own(line.written[3:]))


_OWN_WITH_VALUE = frozenset({"id", "weight"})
_OWN = frozenset({"disabled", "enabled"})


def without_own(words: Iterable[str]) -> Iterator[str]:
    """The words of a server line without those that rosterd compares and gives by themselves: id, weight and state."""
    rest = iter(words)
    for word in rest:
        if word in _OWN_WITH_VALUE:
            next(rest, None)
        elif word not in _OWN:
            yield word

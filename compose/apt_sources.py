"""The mirror of Debian that this machine's apt uses, found in apt's own sources.

Choosing is pure: `debian_mirror` takes the texts of the files. It reads both formats, lines (`*.list`) and paragraphs
(`*.sources`). Sources of other archives, Debian's security archive among them, are no mirror of all packages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FILES = (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*")))
KEYRINGS = tuple(Path(f"/usr/share/keyrings/debian-archive-keyring.{ending}") for ending in ("gpg", "pgp"))
"""Debian's archive keys, of the package debian-archive-keyring; the first one that exists counts."""

_NAMES_OF_ROLES = ("oldoldstable", "oldstable", "stable", "testing", "unstable", "experimental")
_NAMES_OF_RELEASES = ("bullseye", "bookworm", "trixie", "forky", "duke", "sid")
_RELEASES = frozenset((*_NAMES_OF_ROLES, *_NAMES_OF_RELEASES))
_COMPONENT = "main"


@dataclass(frozen=True, slots=True)
class Source:
    """One archive in apt's sources."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]

    @property
    def is_debian(self) -> bool:
        """Whether it is a mirror of Debian: a release of Debian, its main component, and an address named so.

        The address decides too, since other archives name their suites after Debian's releases.
        """
        name = self.uri.rpartition("/")[2]
        return (
            not _RELEASES.isdisjoint(self.suites)
            and _COMPONENT in self.components
            and name.startswith("debian")
            and "security" not in name
        )


def read_sources(files: Sequence[Path] = FILES) -> tuple[Source, ...]:
    """Apt's sources, in the order in which apt reads them. Files that apt leaves out are left out."""
    found: list[Source] = []
    for path in files:
        if path.suffix in (".list", ".sources") and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found += parse_lines(text) if path.suffix == ".list" else parse_paragraphs(text)
    return tuple(found)


def debian_mirror(sources: Iterable[Source]) -> str | None:
    """The first mirror of Debian among the sources; None where there is none."""
    return next((source.uri for source in sources if source.is_debian), None)


def parse_lines(text: str) -> Iterator[Source]:
    """The sources of a `*.list` file: `deb [options] URI suite component…`, one a line."""
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.partition("#")[0]).split()
        if len(words) >= 3 and words[0] == "deb":
            yield Source(words[1].rstrip("/"), (words[2],), tuple(words[3:]))


def parse_paragraphs(text: str) -> Iterator[Source]:
    """The sources of a `*.sources` file: paragraphs of fields, in which a line that begins with a blank goes on."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        fields = _fields(paragraph)
        if "deb" in fields.get("types", ()) and fields.get("enabled") not in (("no",), ("false",)):
            for uri in fields.get("uris", ()):
                yield Source(uri.rstrip("/"), fields.get("suites", ()), fields.get("components", ()))


def _fields(paragraph: str) -> dict[str, tuple[str, ...]]:
    joined = re.sub(r"\n[ \t]+", " ", paragraph.strip())
    pairs = (line.partition(":") for line in joined.splitlines())
    return {key.strip().lower(): tuple(value.split()) for key, _, value in pairs}

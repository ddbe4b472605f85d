"""Reads what the documentation tests need out of a Markdown page: links, headings, tables, code, code blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FENCED: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_BLOCK: Final = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CELL_BORDER: Final = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the language behind its fence, its text, and the anchor of the heading that it stands below."""

    language: str
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """What stands outside code blocks."""
        return _FENCED.sub("", self.text)

    @property
    def links(self) -> tuple[str, ...]:
        """The targets of all links, other than to the web."""
        return tuple(target for target in _LINK.findall(self.prose) if not target.startswith(("http:", "https:")))

    @property
    def anchors(self) -> frozenset[str]:
        """What a link to a heading of this page may have behind `#`, by GitHub's rule."""
        return frozenset(_anchor(heading) for heading in _HEADING.findall(self.prose))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All fenced blocks, in their order."""
        text = self.text
        return tuple(
            Block(found["language"], found["text"], _last_anchor(_FENCED.sub("", text[: found.start()])))
            for found in _BLOCK.finditer(text)
        )

    @property
    def code(self) -> tuple[str, ...]:
        """All that is set as code: each inline span, and each line of the code blocks."""
        lines = [line for block in _FENCED.findall(self.text) for line in block.splitlines()[1:-1]]
        return (*_INLINE.findall(self.prose), *lines)

    def rows(self, first_column: str) -> Iterator[dict[str, str]]:
        """The rows of all tables whose first column has that name, each as `{column: text}`."""
        columns: list[str] = []
        for line in self.prose.splitlines():
            cells = [cell.strip() for cell in _CELL_BORDER.split(line)[1:-1]]
            if not cells:
                columns = []
            elif not columns:
                columns = cells
            elif columns[0] == first_column and not set(cells[0]) <= {"-"}:
                yield dict(zip(columns, cells, strict=True))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _last_anchor(prose: str) -> str:
    headings = _HEADING.findall(prose)
    return _anchor(headings[-1]) if headings else ""


def spans(cell: str) -> tuple[str, ...]:
    """The code spans in a cell of a table."""
    return tuple(_INLINE.findall(cell))

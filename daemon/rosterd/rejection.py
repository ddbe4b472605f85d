"""What a rejected configuration says, for people: HAProxy names a line by a number, here it gets its text. Pure.

Rules:

- HAProxy's own words stay as they are; lines are added below them.
- The line of the template is named only where one line of it, and no other, can have made the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_LINES = 5
"""Lines that an explanation quotes."""

MAX_LINE = 200
"""Characters of a quoted line."""

_MADE = re.compile(r"\{%[-+]?\s*(?:if|for)\b.*\{%[-+]?\s*end(?:if|for)\b.*?%\}|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")
"""What the template engine puts something else in the place of; of a condition or loop in one line, all of it."""

_JOINED = ("{%-", "{{-")
"""How a line of the template begins that continues the line above it."""

_MIN_LITERAL = 4
"""Characters that a template's line has to share with the text, or it would match too much."""


def explain(message: str, path: str, text: str, template: str) -> str:
    """Return the message with each line of `text` that it names as [path:number], and where the template has it."""
    numbers = dict.fromkeys(int(found) for found in re.findall(rf"\[{re.escape(path)}:(\d{{1,9}})\]", message))
    lines = text.split("\n")
    quotes = []
    for number in list(numbers)[:MAX_LINES]:
        if 0 < number <= len(lines) and (line := " ".join(lines[number - 1].split())):
            origin = template_line(lines[number - 1], template)
            source = f", from line {origin} of the template" if origin else ""
            quotes.append(f"line {number} is: {line[:MAX_LINE]}{source}")
    return "\n".join((message, *quotes))


def template_line(line: str, template: str) -> int | None:
    """Return the number of the template's line that made this line; None where none or several can have."""
    wanted = line.strip()
    if not wanted:
        return None
    sources = template.split("\n")
    same = [number for number, source in enumerate(sources, 1) if source.strip() == wanted]
    if same:
        return same[0] if len(same) == 1 else None
    matching = [number for number, pattern in _patterns(sources) if pattern.fullmatch(wanted)]
    return matching[0] if len(matching) == 1 else None


def _patterns(sources: list[str]) -> Iterator[tuple[int, re.Pattern[str]]]:
    """Yield what each line of the template with something to put in can become."""
    for number, (source, following) in enumerate(zip(sources, [*sources[1:], ""], strict=True), 1):
        literals = _MADE.split(source.strip())
        if (
            source.lstrip().startswith(_JOINED)
            or len(literals) < 2
            or sum(len(part.strip()) for part in literals) < _MIN_LITERAL
        ):
            continue
        continues = ".*" if following.lstrip().startswith(_JOINED) else ""
        yield number, re.compile(".*".join(map(re.escape, literals)) + continues)

"""What `rosterd top` shows: what the daemon said, as lines that fit a terminal. Pure.

- No line is wider than the terminal, and there are no more lines than it has. What is wrong comes first, and servers
  that are up make room for those that are not.
- Text from the network is clipped, and what is not printable in it is shown as an escape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from rosterd import words
from rosterd.parse import escaped

UNLIMITED = 1_000_000
"""Lines, where nothing limits them."""

STYLES = {
    words.Mood.GOOD: "green",
    words.Mood.BAD: "bold red",
    words.Mood.OUT: "yellow",
    words.Mood.WAITING: "bold",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What the daemon said last, at the time `at`; nothing yet where `status` is None.

    `error` is why it is silent now.
    """

    listen: str
    at: str = ""
    status: Mapping[str, Any] | None = None
    events: Sequence[Mapping[str, Any]] = ()
    error: str = ""


def picture(said: Said, width: int, height: int = UNLIMITED) -> list[Text]:
    """All of it in lines, none wider and not more of them.

    Where there is not room for all, what is wrong has a third of it at most, and the changes a third of the rest.
    """
    lines = list(_head(said))
    if said.status is not None:
        troubles = _some([*_troubles(said.status)], max(1, (height - len(lines)) // 3))
        room = height - len(lines) - len(troubles)
        changes = [*_changes(said.events)]
        needed = sum(_lines_of(len(rows), UNLIMITED) for rows in _rows_of(said.status)) + 1
        spare = max(room - needed, room // 3)
        changes = [Text(), *_some(changes, spare - 1)] if changes and spare > 5 else _some(changes, spare)
        lines += [*troubles, *_services(said.status, width, room - len(changes)), *changes]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _some(lines: list[Text], most: int) -> list[Text]:
    """So many of them; the last one says that there are more."""
    if len(lines) <= most:
        return lines
    return [*lines[: max(0, most - 1)], Text(f"and {len(lines) - most + 1} more", style="dim")][: max(0, most)]


def _head(said: Said) -> Iterator[Text]:
    line = Text.assemble(("rosterd", "bold"))
    if said.status is not None:
        line.append(f" {escaped(said.status['agent'].get('address') or '')}  ")
        line.append(*(("ready", "bold green") if said.status["ready"] else ("not ready", "bold red")))
        haproxy = escaped(said.status["proxy"]["version"] or words.UNKNOWN)
        line.append(f"  {said.at} UTC  HAProxy {haproxy}", style="dim")
    yield line
    if said.error:
        older = "" if said.status is None else f" This is how it was at {said.at} UTC."
        yield Text(f"{escaped(said.error)}.{older}", style="bold red")


def _troubles(status: Mapping[str, Any]) -> Iterator[Text]:
    for trouble in words.troubles(status):
        line = Text(f"{trouble.kind}: ", style="bold red" if trouble.urgent else "yellow")
        more = "" if trouble.for_s is None else f" for {words.duration(trouble.for_s)} more"
        yield line.append(escaped(trouble.text) + more, style="not bold default")


def _rows_of(status: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    return (
        [*service["servers"], *service["leaving"], *service.get("template_servers", ())]
        for service in status["services"]
    )


def _lines_of(rows: int, most: int) -> int:
    """How many lines a service takes that shows so many rows at most: its name, they, and that there are more."""
    return 1 + min(rows, most) + (rows > most)


def _services(status: Mapping[str, Any], width: int, room: int) -> Iterator[Text]:
    """All services, each with as many servers as there is room for."""
    sizes = [len(rows) for rows in _rows_of(status)]
    limits = range(max(sizes, default=0), -1, -1)
    most = next((limit for limit in limits if 1 + sum(_lines_of(size, limit) for size in sizes) <= room), 0)
    shown = words.services(status, most)
    head, *rows = _table([_cells(line) for service in shown for line in service.servers], width)
    yield head
    lines = iter(rows)
    for service in shown:
        yield Text(escaped(service.name), style="bold").append(f"  {service.summary}", style="not bold")
        yield from (line for _, line in zip(service.servers, lines, strict=False))
        if service.more:
            yield Text(f"and {service.more} more", style="dim")


def _changes(events: Iterable[Mapping[str, Any]]) -> Iterator[Text]:
    for change in words.changes(events, UNLIMITED):
        for event in change.events:
            line = Text(f"{escaped(change.time[11:19])} {escaped(change.trace):<8} ", style="dim")
            line.append(escaped(event.name), style="not dim bold red" if event.is_loud else "not dim cyan")
            line.append(f" {escaped(event.text)}", style="not dim").rstrip()
            yield line


# --- the table --------------------------------------------------------------------------------------------------

COLUMNS = ("SERVER", "STATE", "ADDRESS", "SINCE", "WEIGHT", "SESS", "RATE", "ERR")
NUMBERS = frozenset({"WEIGHT", "SESS", "RATE", "ERR"})
FAIR = {"SERVER": 16, "STATE": 24}
"""To what width columns may be clipped before the address goes."""

NARROWEST = {"SERVER": 8, "STATE": 8}
"""To what width before others go."""

DROPPED = ("ERR", "WEIGHT", "SINCE", "RATE", "SESS")
"""Columns that a narrow terminal goes without, in this order."""

GAP = 2

Cells = Mapping[str, Text]


def _cells(line: words.ServerLine) -> Cells:
    state = Text(escaped(line.state), style=STYLES[line.mood])
    if line.note:
        state.append(f" {escaped(line.note)}", style="not bold default")
    texts = (line.name, line.place, line.since, line.weight, line.sessions, line.rate, line.errors)
    name, *rest = (Text(escaped(text)) for text in texts)
    return dict(zip(COLUMNS, (name, state, *rest), strict=True))


def _table(rows: Sequence[Cells], width: int) -> Iterator[Text]:
    """The titles, and a line for each row."""
    titles = {column: Text(column, style="dim") for column in COLUMNS}
    widths = _widths([titles, *rows], width)
    for row in (titles, *rows):
        line = Text()
        for column, wide in widths.items():
            cell = row[column].copy()
            cell.truncate(wide, overflow="ellipsis")
            blanks = " " * (wide - cell.cell_len)
            line.append_text(Text(blanks).append_text(cell) if column in NUMBERS else cell.append(blanks, style="none"))
            line.append(" " * GAP)
        line.rstrip()
        yield line


def _widths(rows: Sequence[Cells], width: int) -> dict[str, int]:
    """The width of each column that there is room for."""
    wanted = {column: max(cell_len(row[column].plain) for row in rows) for column in COLUMNS}
    fair = {column: min(wide, FAIR.get(column, wide)) for column, wide in wanted.items()}
    least = {column: min(wide, NARROWEST.get(column, wide)) for column, wide in wanted.items()}
    if _total(fair) > width:
        del least["ADDRESS"]
    for column in DROPPED:
        if _total(least) <= width:
            break
        del least[column]
    widths = dict(least)
    for column in NARROWEST:
        widths[column] += max(0, min(wanted[column] - least[column], width - _total(widths)))
    return widths


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)

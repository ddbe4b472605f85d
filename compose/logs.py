"""The logs of a whole cluster, one line each: time, node, program, event, fields; as they come, all nodes together.

Rules:

- A structured line (JSON with `event`) is shown as its event and its fields. What other programs write is shown as it
  is, led by its own time; a line without one gets the time of the line before it, or of the file. Text that came by the
  collector has the time at which its node read it: what programs write without a zone is in their container's.
- Of HAProxy's access log only what deserves a look is shown, unless the program `access` is asked for: answers of 500
  and above, and sessions that did not end normally.
- Parsing and choosing are pure; `Follower` reads files and nothing else, survives rotation and the end of a cluster,
  and never opens a file for writing. What a collector of containers has is followed in collected.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

LARGEST_BACKLOG = 1_000_000
LARGEST_READ = 4_000_000
FOLLOW_S = 0.1

_SERF = re.compile(r"\s*(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[A-Z]+)\] (?P<text>.*)")
_SUPERVISOR = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (?P<level>[A-Z]{4}) (?P<text>.*)")
_SYSLOG = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z) (?P<text>.*)")
_HAPROXY = re.compile(r"\[(?P<level>NOTICE|WARNING|ALERT)\] +(?P<text>.*)")
# Of `option httplog`: five timers, status, bytes, two cookies, the state at the end.
_ACCESS = re.compile(r" [-0-9]+/[-0-9]+/[-0-9]+/[-0-9]+/\+?[-0-9]+ (?P<status>\d{3}|-1) \d+ \S+ \S+ (?P<end>\S{4}) ")

_LEVELS = {"warn": "warning", "err": "error", "alert": "error", "crit": "warning", "notice": "info", "erro": "error"}
_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red", "debug": "dim"}
_NODE_STYLES = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one program of one node.

    `at` is None where the program wrote no time, `event` is empty where the line is not structured.
    """

    at: datetime | None
    node: str
    program: str
    level: str
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines to show: patterns with `*` and `?`, several with commas; empty is everything."""

    node: str = ""
    program: str = ""
    event: str = ""


# --- 1: text to lines -------------------------------------------------------------------------------------------


def parse_line(node: str, program: str, raw: str) -> Line | None:
    """The line that a program wrote, whichever its format; None for an empty one."""
    text = raw.rstrip()
    if not text.strip():
        return None
    structured = _structured(node, program, text)
    if structured is not None:
        return structured
    for pattern, time_of in ((_SYSLOG, _utc), (_SUPERVISOR, _comma_local), (_SERF, _slash_local)):
        match = pattern.fullmatch(text)
        if match:
            level = _level(match.groupdict().get("level") or "info")
            return Line(time_of(match["time"]), node, program, level, "", match["text"])
    match = _HAPROXY.fullmatch(text)
    if match:
        return Line(None, node, program, _level(match["level"]), "", match["text"])
    return Line(None, node, program, "info", "", text)


def parse_collected(raw: str) -> Line | None:
    """A line of the collector's file: which node, which program, and what it wrote; None when it is no such line."""
    try:
        values = json.loads(raw)
        node, program = str(values["node"]), str(values["program"])
    except (ValueError, KeyError, TypeError):
        return None
    structured = "record" in values
    line = parse_line(node, program, json.dumps(values["record"]) if structured else str(values.get("text", "")))
    if line is None or (structured and line.at is not None):
        return line
    return replace(line, at=_utc(str(values.get("time", ""))))


def passes(line: Line, chosen: LineFilter) -> bool:
    """Whether a line passes all patterns; requests that went well only on demand."""
    if not _matches(line.node, chosen.node) or not _matches(line.program, chosen.program):
        return False
    if chosen.event:
        return bool(line.event) and _matches(line.event, chosen.event)
    return bool(chosen.program) or not _went_well(line)


def unmatched(patterns: str, nodes: Collection[str]) -> tuple[str, ...]:
    """The patterns that fit none of the nodes: likely a slip of the pen, or a node that is still to come."""
    wanted = (pattern.strip() for pattern in patterns.split(","))
    return tuple(pattern for pattern in wanted if pattern and not any(fnmatchcase(node, pattern) for node in nodes))


def _structured(node: str, program: str, text: str) -> Line | None:
    if not text.startswith("{"):
        return None
    try:
        values = json.loads(text)
    except ValueError:
        return None
    if not isinstance(values, dict) or not isinstance(values.get("event"), str):
        return None
    at = _utc(str(values.pop("time", "")))
    level = _level(str(values.pop("level", "info")))
    event = values.pop("event")
    if values.get("node") == node:
        del values["node"]  # the column says it
    return Line(at, node, program, level, event, " ".join(f"{key}={_value(values[key])}" for key in values))


def _value(value: object) -> str:
    """A field's value: bare where that is unambiguous, JSON elsewhere."""
    if isinstance(value, str) and value and not re.search(r"[\s\"=]", value):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "[" + ", ".join(value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _matches(text: str, patterns: str) -> bool:
    return not patterns or any(fnmatchcase(text, pattern.strip()) for pattern in patterns.split(","))


def _went_well(line: Line) -> bool:
    match = _ACCESS.search(line.text) if line.program == "access" else None
    return match is not None and 0 < int(match["status"]) < 500 and match["end"].startswith("--")


def _level(word: str) -> str:
    word = word.lower()
    return _LEVELS.get(word, word)


def _utc(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def _comma_local(text: str) -> datetime | None:
    """The time that supervisord writes, which is local."""
    return _utc(text.replace(",", "."))


def _slash_local(text: str) -> datetime | None:
    """The time that Serf writes, which is local."""
    return _utc(text.replace("/", "-"))


# --- 2: lines to a terminal -------------------------------------------------------------------------------------


def shown(line: Line) -> Text:
    """The line in columns; colours are the console's to drop."""
    time = line.at.astimezone().strftime("%H:%M:%S.%f")[:-3] if line.at else " " * len("00:00:00.000")
    node_style = _NODE_STYLES[sum(line.node.encode()) % len(_NODE_STYLES)]
    style = _STYLES.get(line.level, "")
    text = Text(no_wrap=False)
    text.append(f"{time} ", "dim")
    text.append(f"{line.node:<9} ", node_style)
    text.append(f"{line.program:<11} ", "dim")
    if line.event:
        text.append(f"{_printable(line.event):<18} ", style or "bold")
    text.append(_printable(line.text), style if not line.event else "")
    return text


def _printable(text: str) -> str:
    """The text without power over a terminal: names of members come from the network, escape sequences and all.

    Not `rosterd.parse.printable`: that one can be undone and so doubles each backslash, of which lines of a log have
    many (JSON in a field, names that are escaped already), and makes a tab six characters.
    """
    return "".join(
        letter if letter.isprintable() else " " if letter == "\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )


# --- 3: files ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """How far one file was read."""

    inode: int
    offset: int
    rest: bytes = b""
    in_mid_line: bool = False


@dataclass(slots=True)
class Follower:
    """Reads what was added to `*/logs/*.log` below a run directory since the last time."""

    directory: Path
    _readings: dict[Path, _Reading] = field(default_factory=dict)

    pause_s: ClassVar[float] = FOLLOW_S
    """How long to wait before the next call."""

    def new_lines(self) -> list[Line]:
        """Every whole line that came since the last call, in the order of time."""
        lines: list[tuple[datetime, Line]] = []
        for path in sorted(self.directory.glob("*/logs/*.log")):
            node, program = path.parent.parent.name, path.stem
            added, written_at = self._added(path)
            parsed = (parse_line(node, program, raw) for raw in added)
            lines += _timed([line for line in parsed if line is not None], written_at)
        return [line for _, line in sorted(lines, key=lambda pair: pair[0])]

    def close(self) -> None:
        """Nothing is held open between two looks."""

    def _added(self, path: Path) -> tuple[list[str], datetime]:
        """The whole lines that came to a file, and when it was last written."""
        try:
            with path.open("rb") as file:
                status = path.stat()
                reading = self._reading(path, status.st_ino, status.st_size)
                file.seek(reading.offset)
                chunk = file.read(LARGEST_READ)
        except OSError:  # removed or rotated away between two looks
            return [], datetime.fromtimestamp(0, UTC)
        reading.offset += len(chunk)
        *whole, reading.rest = (reading.rest + chunk).split(b"\n")
        if whole and reading.in_mid_line:
            reading.in_mid_line = False
            del whole[0]
        lines = [line.decode("utf-8", "replace") for line in whole]
        return lines, datetime.fromtimestamp(status.st_mtime, UTC)

    def _reading(self, path: Path, inode: int, size: int) -> _Reading:
        """Where to go on: at the start of a file that was replaced, near the end of a long one seen the first time."""
        known = self._readings.get(path)
        if known is None:
            offset = max(0, size - LARGEST_BACKLOG)
            known = _Reading(inode, offset, in_mid_line=offset > 0)
        elif known.inode != inode or size < known.offset:
            known = _Reading(inode, 0)
        self._readings[path] = known
        return known


def _timed(lines: list[Line], written_at: datetime) -> Iterator[tuple[datetime, Line]]:
    """Give each line of one file a time to sort by that keeps the file's own order."""
    latest = next((line.at for line in lines if line.at is not None), written_at)
    for line in lines:
        latest = max(line.at or latest, latest)
        yield latest, line if line.at else replace(line, at=latest)

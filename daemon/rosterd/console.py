"""What the commands print for people: plain tables, whole lines in a pipe.

Nothing is printed as it came: text from the network is never markup, and what does not print is an escape.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rosterd import words
from rosterd.parse import escaped

PIPE_WIDTH = 10_000
"""Columns when standard output is no terminal: scripts get whole lines."""

ALL = sys.maxsize
"""How many servers of a service are printed."""

_MARKS = {"warning": "!", "error": "!!", "critical": "!!"}

_TO_MILLISECONDS = 23
"""So much of a time stamp is shown."""


def print_json(answer: object) -> None:
    """Print JSON as it is, without colours or wrapping."""
    print(json.dumps(answer, indent=2))  # noqa: T201  standard output is where a command's result goes


def print_event(event: Mapping[str, Any]) -> None:
    """Print one event for people, at once."""
    print(event_line(event), flush=True)  # noqa: T201  as above


def print_event_json(event: Mapping[str, Any]) -> None:
    """Print one event as JSON on one line, at once."""
    print(json.dumps(event), flush=True)  # noqa: T201  as above


def print_members(answer: Mapping[str, Any]) -> None:
    """Print `/v1/members`."""
    table = _table("NODE", "NAME", "STATUS", "SINCE", "ADDRESS", "ROLE", "TAGS")
    for row in answer["members"]:
        shown = sorted((key, value) for key, value in row["tags"].items() if key not in ("role", "node"))
        status = f"quarantined: {row['quarantined']}" if row["quarantined"] else row["status"]
        since, address, role = words.duration(row["since_s"]), row["address"] or words.UNKNOWN, row["role"]
        tags = " ".join(f"{key}={value}" for key, value in shown)
        _add(table, row["node"], row["name"], status, since, address, role or words.UNKNOWN, tags)
    _console().print(table)


def print_status(answer: Mapping[str, Any]) -> None:
    """Print `/v1/status`: one line a fact, the servers as a table, what is wrong last and in words."""
    console = _console()
    agent, proxy = answer["agent"], answer["proxy"]
    facts = [
        ("rosterd", f"{answer['version']}, pid {answer['pid']}, up {words.duration(answer['uptime_s'])}"),
        ("ready", "yes" if answer["ready"] else "no"),
        ("agent", _side(agent, f"health score {agent['health_score']}")),
        ("haproxy", _side(proxy, f"version {proxy['version']}, pid {proxy['pid']}")),
        ("serves", f"servers with the digest {proxy['servers_digest'] or words.UNKNOWN}"),
        ("plan", answer["plan"]["action"]),
        ("file", "level" if answer["file"]["level"] else "follows in a moment"),
        ("reloads", f"{answer['reloads']} done, {answer['reloads_failed']} failed"),
    ]
    for name, fact in facts:
        _say(console, f"{name:<9}{fact}")
    table = _table("SERVICE", "SERVER", "STATE", "SINCE", "ADDRESS", "WEIGHT", "SESSIONS", "RATE", "ERRORS")
    for service in words.services(answer, ALL):
        for line in service.servers:
            state, place = f"{line.state} {line.note}", line.place or words.UNKNOWN
            figures = line.weight, line.sessions, line.rate, line.errors
            _add(table, service.name, line.name, state, line.since, place, *figures)
    console.print(table)
    for wrong in _wrong(answer):
        _say(console, wrong)


def print_states(answer: Mapping[str, Any]) -> None:
    """Print which nodes have the state that they were told; the others are told on standard error."""
    console = _console()
    does = {"ready": "is ready", "drain": "drains", "maint": "is in maintenance"}[answer["state"]]
    for row in answer["nodes"]:
        if row["done"]:
            name = row["node"] if row["node"] == row["name"] else f"{row['node']} ({row['name']})"
            when = "as before" if row["after_s"] is None else f"seen in the cluster after {row['after_s']:.2f} s"
            _say(console, f"{name} {does}; {when}")


def print_plan(answer: Mapping[str, Any]) -> None:
    """Print a plan: the action, each reason, command and wait, what it leaves, and how the text changes."""
    console = _console()
    _say(console, answer["action"])
    for reason in answer["reasons"]:
        _say(console, f"  {reason['kind']}: {reason['detail']}")
    for command in answer["commands"]:
        _say(console, f"  {command}")
    for wait in answer["waits"]:
        _say(console, f"  {wait['service']}/{wait['server']} waits for {wait['for']}")
    for reason in answer["left"]:
        _say(console, f"  stays as it is: {reason['detail']}")
    for line in answer["diff"]:
        _say(console, line)
    for line in answer["refused"].splitlines():
        _say(console, f"refused by HAProxy: {line}")


def event_line(event: Mapping[str, Any]) -> str:
    """One event on one line: when, what, of which trace, and its fields; what is not printable is escaped."""
    rest = {key: value for key, value in event.items() if key not in ("id", "time", "event", "level", "trace")}
    mark = _MARKS.get(event.get("level", ""), " ")
    fields = " ".join(f"{key}={_shown(value)}" for key, value in rest.items())
    clock = str(event.get("time", ""))[:_TO_MILLISECONDS].replace("T", " ")
    return escaped(f"{clock:<23} {mark} {event['event']:<21} {event.get('trace', '-'):<9} {fields}").rstrip()


def _shown(value: object) -> str:
    """A value as JSON has it, but words without quotes."""
    is_word = isinstance(value, str) and value.isprintable() and value and not set(value) & {" ", '"', "="}
    return str(value) if is_word else json.dumps(value, ensure_ascii=False)


def _side(side: Mapping[str, Any], fine: str) -> str:
    return f"{words.side(side)}, {fine}" if side["reachable"] else f"{words.side(side)}: {side['error']}"


_SHOWN_ELSEWHERE = frozenset({words.AGENT, words.HAPROXY, words.NOT_READY, words.HELD, words.TAKEN_OUT})
"""Kinds of trouble that the facts or the table show."""


def _wrong(answer: Mapping[str, Any]) -> Iterator[str]:
    for trouble in words.troubles(answer):
        if trouble.kind not in _SHOWN_ELSEWHERE:
            more = "" if trouble.for_s is None else f" for {words.duration(trouble.for_s)} more"
            yield f"{trouble.kind}: {trouble.text}{more}"


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def _say(console: Console, line: str) -> None:
    console.print(Text(escaped(line)))


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(escaped(cell)) for cell in cells))

"""What the commands print for people: plain tables, whole lines in a pipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rosterd import words

PIPE_WIDTH = 10_000
"""Columns when standard output is no terminal: scripts get whole lines."""

_MARKS = {"warning": "!", "error": "!!", "critical": "!!"}

_TO_MILLISECONDS = 23
"""So much of a time stamp is shown."""


def print_json(answer: object) -> None:
    """Print JSON as it is, without colours or wrapping."""
    print(json.dumps(answer, indent=2))  # noqa: T201  standard output is where a command's result goes


def print_members(answer: Mapping[str, Any]) -> None:
    """Print `/v1/members`."""
    table = _table("NODE", "NAME", "STATUS", "SINCE", "ADDRESS", "ROLE", "TAGS")
    for row in answer["members"]:
        shown = sorted((key, value) for key, value in row["tags"].items() if key not in ("role", "node"))
        status = f"quarantined: {row['quarantined']}" if row["quarantined"] else row["status"]
        since = f"{row['since_s']:.0f}s"
        tags = " ".join(f"{key}={value}" for key, value in shown)
        _add(table, row["node"], row["name"], status, since, row["address"] or "-", row["role"] or "-", tags)
    _console().print(table)


def print_status(answer: Mapping[str, Any]) -> None:
    """Print `/v1/status`: one line a fact, the servers as a table, what is wrong last and in words."""
    console = _console()
    agent, proxy = answer["agent"], answer["proxy"]
    facts = [
        ("rosterd", f"{answer['version']}, pid {answer['pid']}, up {answer['uptime_s']:.0f}s"),
        ("ready", "yes" if answer["ready"] else "no"),
        ("agent", _side(agent, f"health score {agent['health_score']}")),
        ("haproxy", _side(proxy, f"version {proxy['version']}, pid {proxy['pid']}")),
        ("serves", f"servers with the digest {proxy['servers_digest'] or '-'}"),
        ("plan", answer["plan"]["action"]),
        ("file", "level" if answer["file"]["level"] else "follows in a moment"),
        ("reloads", f"{answer['reloads']} done, {answer['reloads_failed']} failed"),
    ]
    for name, fact in facts:
        console.print(Text(f"{name:<9}{fact}"))
    table = _table("SERVICE", "SERVER", "ADDRESS", "PORT", "WEIGHT", "STATE", "UP", "SESSIONS", "RATE", "HELD")
    for service in answer["services"]:
        for row in service["servers"]:
            state = f"{row['state']} by hand" if row["by_hand"] else row["state"]
            up = {True: "up", False: "down", None: "-"}[row["up"]]
            port, weight = str(row["port"]), str(row["weight"])
            traffic = words.figure(row.get("sessions")), words.figure(row.get("rate_per_s"))
            _add(table, service["name"], row["name"], row["address"], port, weight, state, up, *traffic, row["held"])
        for row in service["leaving"]:
            state = f"leaving since {row['since_s']:.0f}s"
            _add(table, service["name"], row["name"], "-", "-", "0", state, "-", words.figure(row["sessions"]), "-", "")
    console.print(table)
    for line in _wrong(answer):
        console.print(Text(line))


def print_states(answer: Mapping[str, Any]) -> None:
    """Print which nodes have the state that they were told; the others are told on standard error."""
    console = _console()
    does = {"ready": "is ready", "drain": "drains", "maint": "is in maintenance"}[answer["state"]]
    for row in answer["nodes"]:
        if row["done"]:
            name = row["node"] if row["node"] == row["name"] else f"{row['node']} ({row['name']})"
            when = "as before" if row["after_s"] is None else f"seen in the cluster after {row['after_s']:.2f} s"
            console.print(Text(f"{name} {does}; {when}"))


def print_plan(answer: Mapping[str, Any]) -> None:
    """Print a plan: the action, then each reason, command and wait."""
    console = _console()
    console.print(Text(answer["action"]))
    for reason in answer["reasons"]:
        console.print(Text(f"  {reason['kind']}: {reason['detail']}"))
    for command in answer["commands"]:
        console.print(Text(f"  {command}"))
    for wait in answer["waits"]:
        console.print(Text(f"  {wait['service']}/{wait['server']} waits for {wait['for']}"))


def event_line(event: Mapping[str, Any]) -> str:
    """One event on one line: when, what, of which trace, and its fields; what is not printable is escaped."""
    rest = {key: value for key, value in event.items() if key not in ("id", "time", "event", "level", "trace")}
    mark = _MARKS.get(event.get("level", ""), " ")
    fields = " ".join(f"{key}={_shown(value)}" for key, value in rest.items())
    clock = str(event.get("time", ""))[:_TO_MILLISECONDS].replace("T", " ")
    return f"{clock:<23} {mark} {event['event']:<21} {event.get('trace', '-'):<9} {fields}".rstrip()


def _shown(value: object) -> str:
    """A value as JSON has it, but words without quotes."""
    text = json.dumps(value, ensure_ascii=False)
    is_word = isinstance(value, str) and value.isprintable() and value and not set(value) & {" ", '"', "="}
    return str(value) if is_word else "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def _side(side: Mapping[str, Any], fine: str) -> str:
    if side["reachable"]:
        return f"answers since {side['since_s']:.0f}s, {fine}"
    return f"does not answer since {side['since_s']:.0f}s: {side['error']}"


_SHOWN_ELSEWHERE = frozenset({words.AGENT, words.HAPROXY, words.NOT_READY, words.HELD, words.TAKEN_OUT})
"""Kinds of trouble that the facts or the table show."""


def _wrong(answer: Mapping[str, Any]) -> Iterator[str]:
    for trouble in words.troubles(answer):
        if trouble.kind not in _SHOWN_ELSEWHERE:
            more = "" if trouble.for_s is None else f" for {trouble.for_s:.0f}s more"
            yield f"{trouble.kind}: {trouble.text}{more}"


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _add(table: Table, *cells: str) -> None:
    """Add a row of plain text: what came from the network is never markup."""
    table.add_row(*(Text(cell) for cell in cells))

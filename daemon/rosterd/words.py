"""The status and the events in words: what the page, `rosterd top` and `rosterd status` show to people.

Pure, over the JSON of `/v1/status` and `/v1/events`, so that all of them say the same of the same. What a daemon of
another version does not tell is shown as not known. Nothing here is markup: text from the network stays text, and
whoever shows it escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Any

Json = Mapping[str, Any]

UNKNOWN = "-"
"""Shown in place of what is not known."""

SHOWN = 20
"""How many of a kind of trouble are named; members choose how many there are."""


class Mood(Enum):
    """How a state is to be taken; whoever shows it adds a sign or a colour to the word, never in its place."""

    GOOD = "good"
    BAD = "bad"
    OUT = "out"
    """Somebody wants it so."""
    WAITING = "waiting"


# --- what is wrong ----------------------------------------------------------------------------------------------


AGENT, HAPROXY, NOT_READY = "Serf agent", "HAProxy", "not ready"
HELD, TAKEN_OUT = "held", "taken out"
"""Kinds of trouble that are to be seen in other ways too."""


OPEN_GOSSIP = (
    "gossip is not encrypted and policy.networks is empty, so whatever reaches the gossip port can serve from any "
    "address: set encrypt_key for the agents, or policy.networks"
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that an operator should know; the same text as long as it lasts.

    An `urgent` one touches the balancer as a whole, the others single members or servers. `for_s` is how long it will
    still last, where that is known.
    """

    kind: str
    text: str
    urgent: bool = field(default=False, kw_only=True)
    for_s: float | None = field(default=None, kw_only=True)


def troubles(status: Json) -> tuple[Trouble, ...]:
    """All that is wrong, the urgent first."""
    return (*_urgent(status), *_about_members(status), *_about_servers(status))


def _urgent(status: Json) -> Iterator[Trouble]:
    agent, proxy = status["agent"], status["proxy"]
    if not agent["reachable"]:
        yield Trouble(AGENT, f"it does not answer, what it said last stays in force: {agent['error']}", urgent=True)
    if not proxy["reachable"]:
        yield Trouble(HAPROXY, f"it does not answer: {proxy['error']}", urgent=True)
    if not status["ready"] and agent["reachable"] and proxy["reachable"]:
        yield Trouble(NOT_READY, "no complete state has been applied yet", urgent=True)
    yield from _cut(_unserved(status) if proxy["reachable"] else ())
    if status["guard"]:
        yield Trouble("guard", f"no failed member is removed: {status['guard']}", urgent=True)
    if status.get("guard_overridden"):
        text = f"failed members are removed although {status['guard_overridden']}"
        yield Trouble("guard overridden", text, urgent=True)
    if status["blueprint"]["error"]:
        yield Trouble("edit rejected", status["blueprint"]["error"], urgent=True)
    if status["action_error"]:
        yield Trouble("last action failed", status["action_error"], urgent=True)
    yield from _cut(Trouble("not applied", reason["detail"], urgent=True) for reason in status["plan"].get("left", ()))


def _unserved(status: Json) -> Iterator[Trouble]:
    """Services without a member's server that is up; one that is being replaced still serves."""
    for service in status["services"]:
        if service["leaving"] or any(map(_is_up, service["servers"])):
            continue
        instead = [row["name"] for row in service.get("template_servers", ()) if _is_up(row)]
        text = f"only {', '.join(instead)} of the template serves" if instead else "has no server that is up"
        yield Trouble("nobody serves", f"{service['name']} {text}", urgent=True)


def _about_members(status: Json) -> Iterator[Trouble]:
    if status["agent"].get("admits_anyone"):
        yield Trouble("open", OPEN_GOSSIP)
    yield from _cut(
        Trouble("displaced", f"{row['service']}/{row['server']}: {row['by']} has its port")
        for row in status["displaced"]
    )
    yield from _cut(
        Trouble("barred", f"{row['service']}/{row['server']}: {row['reason']}") for row in status.get("barred", ())
    )
    yield from _cut(
        Trouble("damped", f"{row['service']}/{row['server']}: it comes and goes, and waits", for_s=row["for_s"])
        for row in status.get("damped", ())
    )
    yield from _cut(Trouble("quarantined", f"{row['name']}: {row['reason']}") for row in status["quarantined"])


def _about_servers(status: Json) -> Iterator[Trouble]:
    rows = [(service["name"], row) for service in status["services"] for row in service["servers"]]
    yield from _cut(
        Trouble(HELD, f"{service}/{row['name']}: {row['held']}, and it stays for now")
        for service, row in rows
        if row["held"]
    )
    yield from _cut(
        Trouble(TAKEN_OUT, f"{service}/{row['name']}: {row['state']} by hand")
        for service, row in rows
        if row["by_hand"]
    )


def _cut(some: Iterable[Trouble]) -> Iterator[Trouble]:
    found = list(some)
    yield from found[:SHOWN]
    if len(found) > SHOWN:
        yield Trouble(found[0].kind, f"and {len(found) - SHOWN} more")


def side(row: Json) -> str:
    """Whether one side, the agent or HAProxy, answers, and since when that is so."""
    since = duration(row["since_s"])
    return f"answers since {since}" if row["reachable"] else f"does not answer since {since}"


# --- services and servers ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerLine:
    """One server, each field as it is shown. `note` adds to the state, and is empty where there is nothing to add."""

    name: str
    place: str
    state: str
    mood: Mood
    note: str
    weight: str
    since: str
    sessions: str
    rate: str
    errors: str


@dataclass(frozen=True, slots=True)
class ServiceLines:
    """One service with its servers, those that leave last; so many more are not among them."""

    name: str
    servers: tuple[ServerLine, ...]
    more: int
    summary: str


def services(status: Json, most: int) -> tuple[ServiceLines, ...]:
    """All services, each with so many servers at most: where there are more, those that are up make room first."""
    return tuple(_service(service, most) for service in status["services"])


def _service(service: Json, most: int) -> ServiceLines:
    rows = service["servers"]
    shown = sorted(rows, key=_is_up)[:most] if len(rows) > most else rows
    own = service.get("template_servers", ())
    lines = (*map(_server, shown), *map(_leaving, service["leaving"][:most]), *map(_template_server, own[:most]))
    up = sum(map(_is_up, rows))
    words = [f"{up} of {_counted(len(rows), 'server')} up"]
    if service.get("sessions") is not None:
        words += [_counted(service["sessions"], "session"), f"{service['rate_per_s']}/s"]
    if service.get("queue"):
        words.append(f"{service['queue']} queued")
    if service.get("errors"):
        words.append(_counted(service["errors"], "error"))
    more = len(rows) + len(service["leaving"]) + len(own) - len(lines)
    return ServiceLines(service["name"], lines, more, ", ".join(words))


def _server(row: Json) -> ServerLine:
    _, mood = _state(row)
    notes = [f"held: {row['held']}"] if row["held"] else []
    if row["by_hand"]:
        notes.append("by hand")
    if row.get("out_by_agent"):
        notes.append("by its agent")
    if mood is Mood.BAD and row.get("check"):
        notes.append(row["check"])
    return _line(row, ", ".join(notes))


def _template_server(row: Json) -> ServerLine:
    return _line(row, "the template's own")


def _line(row: Json, note: str) -> ServerLine:
    state, mood = _state(row)
    address = row["address"] or UNKNOWN
    host = f"[{address}]" if ":" in address else address
    return ServerLine(
        name=row["name"],
        place=f"{host}:{row['port']}",
        state=state,
        mood=mood,
        note=note,
        weight=str(row["weight"]),
        since=duration(row.get("since_s")),
        sessions=f"{figure(row.get('sessions'))} +{row['queue']}" if row.get("queue") else figure(row.get("sessions")),
        rate=figure(row.get("rate_per_s")),
        errors=figure(row.get("errors")),
    )


def _state(row: Json) -> tuple[str, Mood]:
    if row["state"] != "ready":
        return row["state"], Mood.OUT
    if row.get("out_by_agent"):
        return row["out_by_agent"], Mood.OUT
    return {True: ("up", Mood.GOOD), False: ("down", Mood.BAD), None: ("not seen", Mood.WAITING)}[row["up"]]


def _is_up(row: Json) -> bool:
    return _state(row)[1] is Mood.GOOD


def _leaving(row: Json) -> ServerLine:
    since, sessions = duration(row["since_s"]), figure(row["sessions"])
    return ServerLine(row["name"], "", "leaving", Mood.OUT, "", "0", since, sessions, UNKNOWN, UNKNOWN)


def figure(number: int | None) -> str:
    """A number, or that it is not known."""
    return UNKNOWN if number is None else str(number)


def duration(seconds: float | None) -> str:
    """About how long, in one unit."""
    if seconds is None:
        return UNKNOWN
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < length * most:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# --- what happened ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event: its name, about whom or what and why, and the commands or reasons that belong to it."""

    name: str
    text: str
    is_loud: bool
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangeLines:
    """What happened under one trace, in the order in which it did; `time` is that of the last.

    `key` tells it from all others, `trace` is empty where an event belongs to none.
    """

    key: str
    trace: str
    time: str
    events: tuple[EventLine, ...]


def changes(events: Iterable[Json], most: int) -> tuple[ChangeLines, ...]:
    """Events by trace, the newest trace first, so many traces at most; one without a trace stands alone."""
    groups: dict[str, list[Json]] = {}
    for event in sorted(events, key=_time):
        key = str(event.get("trace") or event.get("id"))
        groups[key] = [*groups.pop(key, []), event]
    return tuple(
        ChangeLines(key, str(group[0].get("trace") or ""), _time(group[-1]), tuple(map(_event, group)))
        for key, group in islice(reversed(groups.items()), most)
    )


_ENVELOPE = frozenset({"id", "time", "level", "event", "trace"})
_DETAILS = {"commands": "", "reasons": "", "lines_removed": "- ", "lines_added": "+ ", "waits": "", "warnings": ""}
"""Fields that are shown as lines of their own, each with what stands before it."""

_SILENT = frozenset(
    {
        "member",
        "node",
        "service",
        "server",
        "members",
        "pid",
        "actions_total",
        "reasons_total",
        "lines_total",
        *_DETAILS,
        *_ENVELOPE,
    }
)
"""Fields that are not repeated as `field value`: shown in another form, or of no interest."""


_FIRST = ("wake_to_applied_s",)
"""Fields that stand before the others: they are what one looks for, and a line may be clipped."""

_SPEAKS_FOR_ITSELF = frozenset({"detail", "effect", "error", "reason", "why"})
"""Fields whose text needs no name before it."""


def _time(event: Json) -> str:
    return str(event.get("time", ""))


def _event(event: Json) -> EventLine:
    details = [f"{sign}{detail}" for key, sign in _DETAILS.items() for detail in _listed(event.get(key))]
    fields = {key: event[key] for key in _FIRST if key in event} | dict(event)
    rest = (
        _shown(key, value) for key, value in fields.items() if key not in _SILENT and value not in ("", None, [], ())
    )
    return EventLine(
        name=str(event.get("event", UNKNOWN)),
        text=", ".join((*_subject(event), *rest)),
        is_loud=event.get("level") in {"warning", "error", "critical"},
        details=tuple(details),
    )


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _subject(event: Json) -> Iterator[str]:
    if "member" in event:
        node = event.get("node")
        yield f"{event['member']} ({node})" if node and node != event["member"] else str(event["member"])
    if "server" in event:
        yield f"{event['service']}/{event['server']}" if event.get("service") else str(event["server"])
    if members := _listed(event.get("members")):
        yield ", ".join(map(str, members))


def _shown(key: str, value: object) -> str:
    name = key.removesuffix("_s").replace("_", " ")
    if key.endswith("_s") and isinstance(value, int | float):
        return f"{name} {value * 1000:.0f} ms" if value < 1 else f"{name} {value:.1f} s"
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if key in _SPEAKS_FOR_ITSELF else f"{name} {text}"

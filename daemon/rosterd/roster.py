"""The member table: what the agent's replies add up to over time.

Pure. `advance` takes the table, the newest reply and the time, and returns the next table with what changed.
Rules:

- The reply is the whole truth about who exists; the table adds only time (`since`) and memory of who was there.
- Who vanishes from the reply after `left` was reaped, and is forgotten. Who vanishes otherwise may have been lost by an
  agent that has just restarted and lists nobody but itself: it becomes `unseen` for as long as its server is served.
  The clock of a failed member runs on. One that had left and is served nevertheless is remembered as such.
- Servers that HAProxy already runs when the daemon starts are inherited as `unseen`; the first reply that lists them
  makes them members without a word.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from rosterd.model import Change, Entry, Member, MemberRecord, Quarantined, Status, Transition
from rosterd.parse import parse_member, parse_status, shown_name

_ARRIVAL = {
    Status.ALIVE: Transition.JOINED,
    Status.LEAVING: Transition.LEAVING,
    Status.FAILED: Transition.FAILED,
}
"""What to say of a member that was never seen before; one that had already left is not news."""

_SIGNED_OFF = frozenset({Status.LEAVING, Status.LEFT})
"""Said by the member itself, so its absence afterwards is no loss."""

_DEPARTURE = {
    Status.LEAVING: Transition.LEAVING,
    Status.LEFT: Transition.LEFT,
    Status.FAILED: Transition.FAILED,
}


@dataclass(frozen=True, slots=True)
class Table:
    """All known members by printable name."""

    entries: Mapping[str, Entry]

    def count(self, status: Status) -> int:
        """How many members have this status."""
        return sum(1 for entry in self.entries.values() if entry.status is status)


EMPTY = Table({})


def inherit(names: Iterable[str], now: float) -> Table:
    """The table of a daemon that has just started beside a HAProxy that already serves `names`."""
    return Table({name: Entry(name, Status.UNSEEN, now, None, None) for name in names})


def advance(
    table: Table, records: Iterable[MemberRecord], now: float, *, served: Container[str]
) -> tuple[Table, tuple[Change, ...]]:
    """The table after one reply of the agent, and the changes from the old one, ordered by name.

    `served` are the names of all servers that are configured now: none of these is forgotten for want of news.
    """
    entries: dict[str, Entry] = {}
    changes: list[Change] = []
    for record in records:
        name = shown_name(record.name)
        old = table.entries.get(name)
        if old is not None and old.record == record and old.status is not Status.UNSEEN:
            entries[name] = old
            continue
        status = parse_status(record.status)
        if status is None:
            continue
        since = old.since if old is not None and _goes_on(old.status, status) else now
        entries[name] = _entry(name, status, since, record, old, now)
        changes.extend(_changes(old, entries[name]))
    for name in table.entries.keys() - entries.keys():
        old = table.entries[name]
        if name in served and old.status in _SIGNED_OFF:
            entries[name] = old  # the last one that answers; forgotten once another does
            continue
        if name in served:
            entries[name] = _unseen(old, now)
        if old.status is not Status.UNSEEN:
            changes.append(_departure(old))
    changes.sort(key=lambda change: change.name)
    return Table(entries), tuple(changes)


def _entry(name: str, status: Status, since: float, record: MemberRecord, old: Entry | None, now: float) -> Entry:
    subject = parse_member(record)
    if isinstance(subject, Member):
        return Entry(name, status, since, record, subject)
    began = old.unfit_since if old is not None else None
    return Entry(name, status, since, record, subject, now if began is None else began)


def _changes(old: Entry | None, new: Entry) -> list[Change]:
    found: list[Change] = []
    transition = _transition(old, new)
    if transition is not None:
        found.append(_change(transition, new, _endpoint(new.subject)))
    if isinstance(new.subject, Quarantined):
        if old is None or old.subject != new.subject:
            found.append(_change(Transition.QUARANTINED, new, new.subject.reason))
    elif transition is None and old is not None and old.subject not in (None, new.subject):
        found.append(_change(Transition.UPDATED, new, difference(old.subject, new.subject)))
    return found


def _transition(old: Entry | None, new: Entry) -> Transition | None:
    if old is None:
        return _ARRIVAL.get(new.status)
    if old.status is new.status:
        return None
    if new.status is Status.ALIVE:
        inherited = old.status is Status.UNSEEN and old.subject is None
        return None if inherited else Transition.RETURNED
    return _DEPARTURE[new.status]


def _goes_on(old: Status, new: Status) -> bool:
    """Whether the clock runs on: an agent that has just restarted may take a while to say `failed` again."""
    return old is new or (old is Status.UNSEEN and new is Status.FAILED)


def _departure(old: Entry) -> Change:
    if old.status is Status.ALIVE:
        return _change(Transition.LOST, old, "")
    return _change(Transition.REAPED, old, f"was {old.status.value}")


def _unseen(old: Entry, now: float) -> Entry:
    since = now if old.status is Status.ALIVE else old.since
    return replace(old, status=Status.UNSEEN, since=since)


def _change(transition: Transition, entry: Entry, detail: str) -> Change:
    node = entry.subject.node if isinstance(entry.subject, Member) else entry.name
    return Change(transition, entry.name, node, detail)


def _endpoint(subject: Member | Quarantined | None) -> str:
    if not isinstance(subject, Member):
        return ""
    return str(subject.address) if subject.port is None else f"{subject.address} port {subject.port}"


def difference(old: Member | Quarantined | None, new: Member | Quarantined | None) -> str:
    """The fields in which two forms of a member differ, for people: `weight 100 to 10, state ready to drain`."""
    if not isinstance(new, Member):
        return ""
    if not isinstance(old, Member):
        return "parses again"
    words = [] if old.address == new.address else [f"address {old.address} to {new.address}"]
    for key in sorted(old.tags.keys() | new.tags.keys()):
        before, after = old.tags.get(key), new.tags.get(key)
        if before != after:
            words.append(f"{key} {_or_none(before)} to {_or_none(after)}")
    return ", ".join(words)


def _or_none(value: str | None) -> str:
    return "none" if value is None else value

"""The member table as an answer, and back: what `rosterd members --json` prints is what `rosterd render` takes.

The way back goes through the same parser as the network's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address

from rosterd.answers import shapes
from rosterd.damping import points_of
from rosterd.errors import MembersFileError
from rosterd.model import Entry, Member, MemberRecord, Quarantined
from rosterd.parse import raw_of
from rosterd.report import Report


def members_answer(report: Report) -> shapes.Members:
    """What `/v1/members` and `rosterd members --json` say."""
    entries = (report.table.entries[name] for name in sorted(report.table.entries))
    return {"members": [_member(entry, report) for entry in entries]}


def _member(entry: Entry, report: Report) -> shapes.Member:
    departures = points_of(report.penalties, entry, report.flap_half_life_s, report.now)
    shown: shapes.Member = {
        "name": entry.name,
        "node": entry.name,
        "address": None,
        "role": None,
        "status": entry.status.value,
        "since_s": round(report.now - entry.since, 3),
        "departures": round(departures, 1),
        "quarantined": "",
        "tags": {},
    }
    match entry.subject:
        case Member() as member:
            shown["node"] = member.node
            shown["address"] = str(member.address)
            shown["role"] = member.role
            shown["tags"] = dict(member.tags)
        case Quarantined() as quarantined:
            shown["quarantined"] = quarantined.reason
        case None:
            pass
    return shown


def records_of(text: str, label: str) -> tuple[MemberRecord, ...]:
    """Read back what `members_answer` printed; MembersFileError names the file and the member."""
    try:
        answer = json.loads(text)
    except json.JSONDecodeError as error:
        raise MembersFileError(f"{label}: is not JSON: {error}") from error
    rows = answer.get("members") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise MembersFileError(f"{label}: is not what `rosterd members --json` prints: no list 'members'")
    return tuple(_record(row, f"{label}: member {number}") for number, row in enumerate(rows, 1) if _is_whole(row))


def _is_whole(row: object) -> bool:
    """Whether the daemon itself had the member in full; an inherited server is only a name."""
    return not isinstance(row, dict) or row.get("address", "") is not None


def _record(row: object, label: str) -> MemberRecord:
    try:
        fields = _object(row, "it")
        tags = _object(fields.get("tags"), "tags")
        return MemberRecord(
            name=raw_of(_text(fields, "name")),
            address=ip_address(_text(fields, "address")).packed,
            port=0,
            tags={raw_of(tag): raw_of(_text(tags, tag)) for tag in tags},
            status=raw_of(_text(fields, "status")),
        )
    except ValueError as error:
        raise MembersFileError(f"{label}: {error}; a member has name, address, status and tags") from error


def _object(value: object, label: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{label} should be an object")  # noqa: TRY004  one kind of error for all that is wrong in a file
    return value


def _text(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} should be text")  # noqa: TRY004  as above
    return value

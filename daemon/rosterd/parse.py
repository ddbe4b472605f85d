"""Untrusted text becomes a type: here, and nowhere else.

Whoever reaches the gossip port chooses names, tags, addresses and ports freely, so nothing of a `MemberRecord` is used
before it has passed through `parse_member`. Rules:

- Only characters that mean nothing to HAProxy, to a shell or to a terminal get through, by a positive list.
- Each field is checked whole (`fullmatch`), in ASCII, with a length. Nothing is repaired: a member parses or is
  quarantined.
- Text that is only shown (reasons, tags, names of the quarantined) goes through `printable`, which is injective, so
  that two different raw names never become one; `raw_of` is its inverse.
- Sentences for a person, of whomever, go through `escaped` when they are shown: what is printable stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address

from rosterd.model import Address, AdminState, Member, MemberRecord, Quarantined, Status
from rosterd.reached import denial

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)

RESERVED_NAMES = frozenset({"FRONTEND", "BACKEND"})
"""HAProxy's own rows in its statistics."""

ESCAPE = re.compile(r"\\(?:(\\)|x([89a-f][0-9a-f])|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4}))")
"""What `printable` writes in place of a character: of fixed length, so that none runs into the text behind it."""

LONGEST_NAME = 255
"""Bytes of a name that is shown whole. Serf sets no limit; a name that parses is half as long at most."""

SHOWN_LENGTH = 80
"""How much of a refused text stands in a reason: enough to recognise it, not enough to flood a log."""


class _Refused(Exception):
    """A field that does not parse; the text is the reason."""


def printable(raw: bytes) -> str:
    r"""Raw text as printable characters; others become `\xNN` (invalid UTF-8), `\uNNNN` or `\UNNNNNNNN`."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:  # nearly all there is, in a tenth of the time
        return text
    return escaped(text.replace("\\", "\\\\"))


def escaped(text: str) -> str:
    """The text, with an escape in place of what would move a cursor, ring a bell or be a line of its own."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def shown_name(raw: bytes) -> str:
    """A member's name as printable text of bounded length; what is too long is cut, and told apart by a digest."""
    if len(raw) <= LONGEST_NAME:
        return printable(raw)
    return f"{printable(raw[:SHOWN_LENGTH])}…{blake2b(raw, digest_size=8).hexdigest()}"


def raw_of(shown: str) -> bytes:
    """The raw text that `printable` shows so; ValueError for text that cannot be encoded."""
    return ESCAPE.sub(_unescaped, shown).encode("utf-8", "surrogateescape")


def parse_status(raw: bytes) -> Status | None:
    """Serf's word for a member's status; None for a word that says nothing (Serf's own `none` included)."""
    try:
        status = Status(raw.decode("ascii", "replace"))
    except ValueError:
        return None
    return None if status is Status.UNSEEN else status


def parse_member(record: MemberRecord) -> Member | Quarantined:
    """Make a member of a record, or say which field does not parse and why."""
    tags = {printable(key): printable(value) for key, value in record.tags.items()}
    try:
        name = _name("name", record.name)
        return Member(
            name=name,
            node=_name("tag node", record.tags[b"node"]) if b"node" in record.tags else name,
            address=_address(record.address),
            role=tags.get("role"),
            port=_number(record.tags, "port", 1, 65535),
            weight=_number(record.tags, "weight", 0, 256),
            state=_state(record.tags),
            tags=tags,
        )
    except _Refused as refused:
        return Quarantined(shown_name(record.name), str(refused))


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # what surrogateescape makes of a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _unescaped(match: re.Match[str]) -> str:
    backslash, byte, short, long = match.groups()
    if backslash:
        return "\\"
    return chr(0xDC00 + int(byte, 16)) if byte else chr(int(short or long, 16))


def _shown(raw: bytes) -> str:
    text = printable(raw[:SHOWN_LENGTH])
    return f"'{text}'" if len(raw) <= SHOWN_LENGTH else f"'{text}' and {len(raw) - SHOWN_LENGTH} bytes more"


def _name(field: str, raw: bytes) -> str:
    text = raw.decode("ascii", "replace")
    if not NAME.fullmatch(text):
        raise _Refused(f"{field} {_shown(raw)} is not 1 to 128 of letters, digits, '.', '_', '-', the first no sign")
    if text in RESERVED_NAMES:
        raise _Refused(f"{field} {_shown(raw)} is a word that HAProxy keeps for itself")
    return text


def _address(raw: bytes) -> Address:
    if len(raw) == 4:
        address: Address = IPv4Address(raw)
    elif len(raw) == 16:
        v6 = IPv6Address(raw)
        address = v6.ipv4_mapped or v6
    else:
        raise _Refused(f"address has {len(raw)} bytes, neither 4 nor 16")
    if reason := denial(address):
        raise _Refused(f"address {address} {reason}")
    return address


def _number(tags: Mapping[bytes, bytes], tag: str, least: int, most: int) -> int | None:
    raw = tags.get(tag.encode())
    if raw is None:
        return None
    text = raw.decode("ascii", "replace")
    if not NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise _Refused(f"tag {tag} {_shown(raw)} is not a number from {least} to {most}")
    return int(text)


def _state(tags: Mapping[bytes, bytes]) -> AdminState:
    raw = tags.get(b"state")
    if raw is None:
        return AdminState.READY
    try:
        return AdminState(raw.decode("ascii", "replace"))
    except ValueError:
        raise _Refused(f"tag state {_shown(raw)} is not one of ready, drain, maint") from None

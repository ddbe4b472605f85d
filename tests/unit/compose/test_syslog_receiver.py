from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from compose.node.syslog_receiver import line_of

ARRIVED = datetime(2026, 1, 31, 10, 20, 30, 123456, UTC)


@pytest.mark.parametrize(
    ("datagram", "line"),
    [
        (b"<134>Nov 22 22:10:00 haproxy[12]: hello\n", "haproxy[12]: hello"),
        (b"<134>Nov  2 22:10:00 haproxy[12]: hello", "haproxy[12]: hello"),
        (b"<7>no time at all\0\n", "no time at all"),
        (b"bare", "bare"),
        (b"", ""),
        (b"<1>two\nlines \x1b[31m \xff", "two?lines ?[31m \ufffd"),
    ],
)
def test_a_datagram_is_one_line(datagram: bytes, line: str) -> None:
    """Whatever arrives becomes exactly one printable line, led by the time of arrival."""
    assert line_of(datagram, ARRIVED) == f"2026-01-31T10:20:30.123Z {line}\n"


def test_times_are_utc() -> None:
    """The machine's zone does not show."""
    elsewhere = ARRIVED.astimezone(timezone(timedelta(hours=5)))
    assert line_of(b"x", elsewhere) == line_of(b"x", ARRIVED)

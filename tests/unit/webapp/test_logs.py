from __future__ import annotations

import json
import logging
import sys

from compose.logs import parse_line
from webapp.logs import JsonLines


def record(**fields: object) -> logging.LogRecord:
    """A record as the app logs it."""
    made = logging.makeLogRecord({"msg": "delay.changed", "levelname": "INFO", "created": 0.5})
    made.fields = fields
    return made


def test_a_record_is_one_line_of_json() -> None:
    """Time, level, event, node and the fields; a newline in a value stays inside."""
    text = JsonLines("s1").format(record(delay_ms=250, why="a\nb"))

    assert "\n" not in text
    assert json.loads(text) == {
        "time": "1970-01-01T00:00:00.500000Z",
        "level": "info",
        "event": "delay.changed",
        "node": "s1",
        "delay_ms": 250,
        "why": "a\nb",
    }


def test_a_trace_is_a_field() -> None:
    """An exception does not break the line."""
    broken = record()
    try:
        int("seven")
    except ValueError:
        broken.exc_info = sys.exc_info()
    text = JsonLines("s1").format(broken)

    assert "\n" not in text
    assert "ValueError: invalid literal" in json.loads(text)["exception"]


def test_the_cluster_logs_understand_it() -> None:
    """What the app writes is structured for whoever follows the logs."""
    line = parse_line("s1", "app", JsonLines("s1").format(record(delay_ms=250)))

    assert line is not None
    assert (line.event, line.text) == ("delay.changed", "delay_ms=250")

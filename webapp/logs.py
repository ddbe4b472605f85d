"""One JSON object a line on standard output, with the keys of rosterd's own logs: time, level, event."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"fields": {...}}` adds fields."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; an exception's trace goes into the field `exception`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "node": self._node,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stdout(node: str) -> None:
    """Send everything from INFO on to standard output; called once, by the launcher."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines(node))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # uvicorn's own announcements repeat ours; its warnings and errors stay.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

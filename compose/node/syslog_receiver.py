"""`python -m compose.node.syslog_receiver SOCKET FILE`: writes the datagrams of a local syslog socket to a file.

HAProxy sends its access log as datagrams and never waits for anybody. Where no syslog daemon listens, this does: one
line for each datagram, led by the time of arrival (`2026-01-31T10:20:30.123Z`), the file moved to `FILE.1` when it
is large. No queue and no forwarding: that is a real syslog daemon's work.
"""

from __future__ import annotations

import re
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

LARGEST_DATAGRAM = 65_536
LARGEST_FILE = 32 * 1024 * 1024
EXIT_USAGE = 2

# Priority, and the sender's own time, whose seconds are too coarse to order lines of several programs.
_HEADER = re.compile(r"<[0-9]{1,3}>(?:[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} )?")


def line_of(datagram: bytes, arrived: datetime) -> str:
    """The one line that a datagram becomes, whatever bytes it holds."""
    text = _HEADER.sub("", datagram.decode("utf-8", "replace"), count=1).rstrip("\n\0")
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    time = arrived.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{time} {shown}\n"


def receive(path: Path, file: Path) -> None:
    """Write what arrives until the process is ended."""
    path.unlink(missing_ok=True)  # of an earlier life
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        path.chmod(0o622)  # whoever may reach the directory may log, as on /dev/log
        while True:
            _write_until_large(receiver, file)
            file.replace(file.with_name(file.name + ".1"))


def _write_until_large(receiver: socket.socket, file: Path) -> None:
    with file.open("a", encoding="utf-8") as log:
        while log.tell() < LARGEST_FILE:
            log.write(line_of(receiver.recv(LARGEST_DATAGRAM), datetime.now(UTC)))
            log.flush()


def main(arguments: list[str]) -> None:
    """Receive until a signal."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m compose.node.syslog_receiver SOCKET FILE\n")
        sys.exit(EXIT_USAGE)
    receive(Path(arguments[0]), Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])

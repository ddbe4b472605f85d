"""The logs of a cluster in containers, as its collector has them: found, begun with what is there, and followed.

Rules:

- A collector is a running container of the service `logs`, of our image or by our compose file, whatever its project.
- What follows its file runs in its container, and ends when its input does: however we end, nothing of it stays there.
- The past is read to its end before anything is shown of it: its last lines are the last of those that were chosen. How
  far it goes back is bounded.
- A collector that is stopped, or made anew, is looked for again, and followed from the last line on that was seen.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.engine import COMPOSE_FILE, PROJECT_LABEL, output_of
from compose.logs import FOLLOW_S, LARGEST_READ, parse_collected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.logs import Line

IMAGE = "rosterd-logs"
FOLDER = "/var/log/cluster"
LARGEST_PAST = 16_000_000
LOOK_AGAIN_S = 1.0
BEGIN_WITHIN_S = 30.0
QUIET_S = 2.0
CLOSE_WITHIN_S = 5.0

_SERVICE_LABEL = "com.docker.compose.service"
_FILES_LABEL = "com.docker.compose.project.config_files"
_FOLDER_LABEL = "com.docker.compose.project.working_dir"

# First a line with the size of the past: what the file has now, and where that is little, the end of the one that was
# rotated away. Then the past, and in one go with it what comes. The input carries nothing, but its end ends `cat`, and
# with that `tail`; the shell goes last: an orphan would be reported by the container's supervisord. There may be nobody
# who still reads: hence the limit of time.
_SCRIPT = r"""
exec 3<&0
cat <&3 >/dev/null &
cd "$1" || exit
size_of() { size=$(stat --format=%s "$1" 2>/dev/null || echo 0); [ "$size" -lt "$2" ] || size=$2; echo "$size"; }
now=$(size_of all.jsonl "$2")
before=$(size_of all.jsonl.1 $(($2 - now)))
echo $((before + now))
[ "$before" = 0 ] || timeout 60 tail --bytes="$before" all.jsonl.1
tail --pid=$! --sleep-interval=0.1 --bytes="$2" -F all.jsonl 2>/dev/null
kill $! 2>/dev/null
wait
"""


# --- 1: which collectors there are ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Collector:
    """The container that collects the logs of a project."""

    id: str
    project: str
    started: str


def running_collectors() -> tuple[Collector, ...]:
    """Those on this machine, the newest first; none where no engine answers."""
    ids = output_of("ps", "--quiet", "--no-trunc", "--filter", f"label={_SERVICE_LABEL}=logs").split()
    # One that has gone meanwhile is left out of the answer.
    found = map(parse_collector, json.loads(output_of("inspect", *ids) or "[]") if ids else [])
    return tuple(sorted((one for one in found if one), key=lambda one: one.started, reverse=True))


def parse_collector(described: dict[str, Any]) -> Collector | None:
    """A collector from what `docker inspect` tells of a container; None when it is somebody else's."""
    labels, image = described["Config"]["Labels"], described["Config"]["Image"]
    # docker-compose 1.29 writes the file as it was given, which may be relative to anywhere.
    folder, files = Path(labels.get(_FOLDER_LABEL, "")), labels.get(_FILES_LABEL, "").split(",")
    if image.partition(":")[0] != IMAGE and COMPOSE_FILE not in [folder / Path(file).name for file in files]:
        return None
    return Collector(described["Id"], labels.get(PROJECT_LABEL, ""), described["State"]["StartedAt"])


def follow_command(folder: str | Path, largest_past: int = LARGEST_PAST) -> list[str]:
    """What follows the file in a collector's folder."""
    return ["sh", "-c", _SCRIPT, "follow", str(folder), str(largest_past)]


def command_to_follow(project: str) -> list[str] | None:
    """What follows the logs of a project as things are now; None while no collector of it runs."""
    for collector in running_collectors():
        if collector.project == project:
            return ["docker", "exec", "--interactive", collector.id, *follow_command(FOLDER)]
    return None


# --- 2: what they have ------------------------------------------------------------------------------------------


class CollectedFollower:
    """Reads what a collector writes, over its restarts too."""

    def __init__(self, find: Callable[[], Sequence[str] | None], say: Callable[[str], None]) -> None:
        """Take what finds the command that follows the file: it is asked again whenever that command has ended."""
        self._find = find
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._last = b""
        self._rest = b""

    @property
    def pause_s(self) -> float:
        """How long to wait before the next call."""
        return LOOK_AGAIN_S if self._process is None else FOLLOW_S

    def new_lines(self) -> list[Line]:
        """Every whole line that came since the last call; with the first call the past."""
        if self._process is None:
            raw = self._begin()
        else:
            added = self._read(self._process, 0)
            raw = self._whole(added or b"")
            if added is None:
                self._say("the log collector has ended; waiting for another")
                self.close()
        self._last = raw[-1] if raw else self._last
        parsed = (parse_collected(line.decode("utf-8", "replace")) for line in raw)
        return [line for line in parsed if line is not None]

    def close(self) -> None:
        """End what follows the file, wherever it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            try:
                process.communicate(timeout=CLOSE_WITHIN_S)  # ends its input
            except subprocess.TimeoutExpired:
                process.kill()

    def _begin(self) -> list[bytes]:
        """Start to follow; the lines of the past that were not seen before."""
        command = self._find()
        if command is None:
            return []
        # A session of its own: Ctrl-C is for us, and we end it by its input.
        self._process = subprocess.Popen(  # noqa: S603  docker or sh by name
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        past = self._read_past(self._process)
        if past is None:
            self.close()
            return []
        if self._last:
            self._say("the log collector is there again")
        self._rest = b""  # a half line comes again, whole
        return lines_after(self._whole(past), self._last)

    def _whole(self, added: bytes) -> list[bytes]:
        """The lines that are complete now."""
        *whole, self._rest = (self._rest + added).split(b"\n")
        return whole

    def _read_past(self, process: subprocess.Popen[bytes]) -> bytes | None:
        """What is there, and perhaps more; None when nothing comes.

        When the file is rotated at this very moment, there is less than was said: then the past ends with a silence.
        """
        text = b""
        while not _is_all(text):
            added = self._read(process, QUIET_S if b"\n" in text else BEGIN_WITHIN_S)
            if added is None or (not added and b"\n" not in text):
                return None
            if not added:
                break
            text += added
        return text.partition(b"\n")[2]

    def _read(self, process: subprocess.Popen[bytes], wait_s: float) -> bytes | None:
        """What came, waited for where nothing has yet; None at the end of all."""
        assert process.stdout is not None  # noqa: S101  it is a pipe
        text = bytearray()
        while len(text) < LARGEST_READ and select.select([process.stdout], [], [], 0 if text else wait_s)[0]:
            added = os.read(process.stdout.fileno(), LARGEST_READ)
            if not added:
                return bytes(text) or None
            text += added
        return bytes(text)


def _is_all(text: bytes) -> bool:
    """Whether the past has come whole: its first line says how long it is."""
    size, _, past = text.partition(b"\n")
    return size.isdigit() and len(past) >= int(size)


def lines_after(lines: list[bytes], seen: bytes) -> list[bytes]:
    """Those behind the one that was seen last; all of them where it is not among them."""
    behind = next((number for number in range(len(lines), 0, -1) if lines[number - 1] == seen), 0)
    return lines[behind:]

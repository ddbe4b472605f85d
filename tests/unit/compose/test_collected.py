"""The collector's logs: which collectors count, and how one is followed. The program that follows is the real one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.collected import LOOK_AGAIN_S, CollectedFollower, Collector, follow_command, lines_after, parse_collector
from compose.engine import COMPOSE_FILE
from compose.logs import FOLLOW_S
from compose.waiting import wait_until

LARGEST_PAST = 2000
WITHIN_S = 10.0


def described(image: str, **labels: str) -> dict[str, Any]:
    """A container of a project as `docker inspect` tells of it."""
    named = {f"com.docker.compose.project{name}": value for name, value in labels.items()}
    return {"Id": "1", "Config": {"Image": image, "Labels": named}, "State": {"StartedAt": "2026-01-02T03:04:05Z"}}


# --- which collectors there are ---------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["rosterd-logs:dev", "rosterd-logs"])
def test_our_image_is_a_collector(image: str) -> None:
    """Whatever file and project it was started with."""
    assert parse_collector(described(image)) == Collector("1", "", "2026-01-02T03:04:05Z")


@pytest.mark.parametrize("file", ["compose/compose.yaml", str(COMPOSE_FILE), f"/other.yaml,{COMPOSE_FILE}"])
def test_our_compose_file_makes_a_collector(file: str) -> None:
    """Compose 1 writes the file as it was given, compose 2 whole; the image may have another name."""
    labels = {"": "p", ".config_files": file, ".working_dir": str(COMPOSE_FILE.parent)}
    assert parse_collector(described("registry/logs:1", **labels)) == Collector("1", "p", "2026-01-02T03:04:05Z")


@pytest.mark.parametrize("labels", [{}, {".config_files": "compose.yaml", ".working_dir": "/elsewhere"}])
def test_somebody_elses_service_of_that_name_is_none(labels: dict[str, str]) -> None:
    """`logs` is a common name."""
    assert parse_collector(described("theirs/rosterd-logs:1", **labels)) is None


# --- following --------------------------------------------------------------------------------------------------


class Collected:
    """A collector's folder, what follows it, and what was told meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "all.jsonl"
        self.process_id = folder / "pid"
        self.is_there = True
        self.told: list[str] = []
        self.follower = CollectedFollower(self.find, self.told.append)
        self.came: list[str] = []

    def find(self) -> list[str] | None:
        """What follows the file, while the collector is there; its process id is written down."""
        noting = ["sh", "-c", 'echo $$ >"$0"; exec "$@"', str(self.process_id)]
        return [*noting, *follow_command(self.file.parent, LARGEST_PAST)] if self.is_there else None

    def write(self, *texts: str) -> None:
        """Have the collector write lines."""
        with self.file.open("a") as file:
            file.writelines(json.dumps({"node": "n", "program": "p", "text": text}) + "\n" for text in texts)

    def look(self) -> list[str]:
        """What has come since the last look."""
        return [line.text for line in self.follower.new_lines()]

    async def wait_for(self, *texts: str) -> None:
        """Look until these have come, in this order, and nothing else."""
        self.came = []

        def is_all() -> bool:
            self.came += self.look()
            return len(self.came) >= len(texts)

        await wait_until(is_all, WITHIN_S, "the lines")
        assert self.came == list(texts)


@pytest.fixture
def collected(tmp_path: Path) -> Iterator[Collected]:
    """A collector without any lines."""
    made = Collected(tmp_path)
    yield made
    made.follower.close()


async def test_the_past_comes_with_the_first_look(collected: Collected) -> None:
    """All of it at once, and then what is new, once and whole."""
    collected.write("one", "two")
    assert collected.look() == ["one", "two"]

    collected.write("three")
    await collected.wait_for("three")
    with collected.file.open("a") as file:
        file.write('{"node": "n", "program": "p", ')
    assert collected.look() == []
    with collected.file.open("a") as file:
        file.write('"text": "four"}\n')
    await collected.wait_for("four")


async def test_a_half_line_of_the_past_is_made_whole(collected: Collected) -> None:
    """Where the past ends the collector may be in the midst of a line."""
    collected.file.write_text('{"node": "n", "program"')
    assert collected.look() == []
    with collected.file.open("a") as file:
        file.write(': "p", "text": "one"}\n')
    await collected.wait_for("one")


def test_a_long_past_is_bounded(collected: Collected) -> None:
    """Its last part is taken, without the line that was cut."""
    collected.write(*map(str, range(1000)))
    found = collected.look()
    assert 10 < len(found) < LARGEST_PAST
    assert found == [str(number) for number in range(1000 - len(found), 1000)]


async def test_a_file_that_was_rotated(collected: Collected) -> None:
    """What the rotated one has belongs to the past; while one follows, the new file is taken up."""
    collected.write("one")
    collected.file.rename(collected.file.with_suffix(".jsonl.1"))
    collected.write("two")
    assert collected.look() == ["one", "two"]

    collected.file.rename(collected.file.with_suffix(".jsonl.1"))
    collected.write("three")
    await collected.wait_for("three")


async def test_a_collector_that_has_no_file_yet(collected: Collected) -> None:
    """Its first line comes as a new one."""
    assert collected.look() == []
    collected.write("one")
    await collected.wait_for("one")


async def test_a_collector_that_comes_back(collected: Collected) -> None:
    """Its end is noticed and told, it is looked for, and followed from the last line on that was seen."""
    collected.write("one", "two")
    assert collected.look() == ["one", "two"]
    assert collected.follower.pause_s == FOLLOW_S

    collected.is_there = False
    os.killpg(int(collected.process_id.read_text()), signal.SIGKILL)
    await wait_until(lambda: not collected.look() and bool(collected.told), WITHIN_S, "the end to be noticed")
    assert collected.look() == []
    assert collected.follower.pause_s == LOOK_AGAIN_S

    collected.write("two", "three")
    collected.is_there = True
    await collected.wait_for("three")
    assert collected.told == ["the log collector has ended; waiting for another", "the log collector is there again"]


def test_a_new_collector_without_the_last_line(collected: Collected) -> None:
    """All that it has is new."""
    collected.write("one")
    assert collected.look() == ["one"]
    collected.follower.close()
    collected.file.write_text("")
    collected.write("two")
    assert collected.look() == ["two"]


@pytest.mark.parametrize("command", [["false"], ["sh", "-c", "echo x"]])
def test_what_cannot_follow_is_tried_again(command: list[str]) -> None:
    """The container may go at the wrong moment."""
    follower = CollectedFollower(lambda: command, print)
    assert follower.new_lines() == []
    assert follower.pause_s == LOOK_AGAIN_S


async def test_nothing_stays_behind(collected: Collected) -> None:
    """The end of its input ends what follows, with all its children."""
    collected.write("one")
    collected.look()
    group = int(collected.process_id.read_text())
    os.killpg(group, 0)
    collected.follower.close()

    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


@pytest.mark.parametrize(
    ("lines", "seen", "expected"),
    [
        ([b"a", b"b", b"c"], b"b", [b"c"]),
        ([b"a", b"b", b"a", b"c"], b"a", [b"c"]),
        ([b"a", b"b"], b"b", []),
        ([b"a", b"b"], b"x", [b"a", b"b"]),
        ([], b"x", []),
    ],
)
def test_lines_behind_the_last_one_seen(lines: list[bytes], seen: bytes, expected: list[bytes]) -> None:
    """All of them where it is not there."""
    assert lines_after(lines, seen) == expected

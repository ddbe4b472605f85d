"""The history keeps the newest events, and readers go on where they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rosterd.history import History


def told(history: History, *names: str) -> None:
    """Have these events be logged."""
    for name in names:
        history.record(None, "info", {"event": name, "level": "info"})


def names(events: tuple[dict[str, Any], ...]) -> list[str]:
    """Return what happened."""
    return [event["event"] for event in events]


async def next_of(reader: AsyncIterator[tuple[dict[str, Any], ...]]) -> list[str]:
    """Return what a reader is given next; it must not be kept waiting."""
    return names(await asyncio.wait_for(anext(reader), 5))


def test_an_event_is_passed_on_as_it_came() -> None:
    """It is on its way into the log."""
    event = {"event": "member.joined", "member": "web-1"}
    assert History("ab").record(None, "info", event) is event
    assert event == {"event": "member.joined", "member": "web-1"}


def test_events_are_numbered_in_their_order() -> None:
    """With the few characters that tell one process from another."""
    history = History("ab")
    told(history, "one", "two")
    assert [event["id"] for event in history.newest()] == ["ab-1", "ab-2"]
    assert names(history.newest()) == ["one", "two"]


def test_there_is_room_for_so_many() -> None:
    """The oldest go first."""
    history = History("ab", most=3)
    told(history, *"abcde")
    assert names(history.newest()) == ["c", "d", "e"]
    assert names(history.newest(2)) == ["d", "e"]
    assert history.newest(0) == ()


def test_a_traceback_stays_in_the_log() -> None:
    """Only the kind of the error is told, however structlog was given it."""
    history = History("ab")
    error = KeyError("secret")
    try:
        raise error
    except KeyError:
        for given in (True, error, (KeyError, error, error.__traceback__)):
            history.record(None, "error", {"event": "turn.failed", "exc_info": given})
    assert [event["exception"] for event in history.newest()] == ["KeyError"] * 3
    assert "secret" not in repr(history.newest())


def test_an_event_takes_no_more_room_than_a_line_should() -> None:
    """HAProxy's words can be long, and a list of servers longer; the log has all of it."""
    history = History("ab")
    event = {"event": "apply.failed", "error": "x" * 1_000_000, "reasons": ["y" * 10_000] * 1000, "pid": 7}
    assert history.record(None, "error", event)["error"] == "x" * 1_000_000
    (kept,) = history.newest()
    assert len(repr(kept)) < 120_000
    assert kept["error"].startswith("xxx")
    assert kept["error"].endswith("…")
    assert kept["pid"] == 7


async def test_a_reader_without_a_place_gets_what_comes_next() -> None:
    """Several at once, when it was away meanwhile."""
    history = History("ab")
    told(history, "before")
    reader = history.follow("")
    waiting = asyncio.ensure_future(next_of(reader))
    await asyncio.sleep(0)
    told(history, "one")
    assert await waiting == ["one"]
    told(history, "two", "three")
    assert await next_of(reader) == ["two", "three"]


async def test_a_reader_goes_on_where_it_was() -> None:
    """By the id of the last event that it has."""
    history = History("ab")
    told(history, "one", "two", "three")
    assert await next_of(history.follow("ab-1")) == ["two", "three"]


@pytest.mark.parametrize("place", ["cd-1", "ab-99", "ab-", "ab", "ab-x", "ab--1", "-", "ab-²", "ab-" + "9" * 5000])
async def test_a_place_that_is_none_here_starts_from_the_beginning(place: str) -> None:
    """Another process's, one that is still to come, or nonsense."""
    history = History("ab")
    told(history, "one", "two")
    assert await next_of(history.follow(place)) == ["one", "two"]


async def test_a_slow_reader_is_told_what_it_missed() -> None:
    """And then goes on with what is still there."""
    history = History("ab", most=2)
    told(history, "one")
    reader = history.follow("ab-1")
    told(history, *"abcde")
    gap, *rest = await asyncio.wait_for(anext(reader), 5)
    assert (gap["event"], gap["missed"]) == ("history.truncated", 3)
    assert [event["event"] for event in rest] == ["d", "e"]
    told(history, "f")
    assert await next_of(reader) == ["f"]


async def test_a_reader_gets_the_last_events_and_then_the_end() -> None:
    """Of a daemon that stops; also one that has been waiting for more."""
    history = History("ab")
    late, waiting = history.follow("ab-0"), history.follow("")
    told(history, "one")
    assert await next_of(waiting) == ["one"]
    waits = asyncio.ensure_future(anext(waiting))
    await asyncio.sleep(0)
    history.end()
    assert await next_of(late) == ["one"]
    for reader in (waits, anext(late)):
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(reader, 5)


async def test_all_readers_are_woken() -> None:
    """Each gets the whole."""
    history = History("ab")
    waiting = [asyncio.ensure_future(next_of(history.follow(""))) for _ in range(3)]
    await asyncio.sleep(0)
    told(history, "one")
    assert await asyncio.gather(*waiting) == [["one"]] * 3

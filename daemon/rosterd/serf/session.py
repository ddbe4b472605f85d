"""One conversation with the agent, from the first byte to the last, without I/O: what to ask next, and when.

    CLOSED ── HANDSHAKE ── AUTH ── SUBSCRIBE ── SNAPSHOT ── LIVE

Rules:

- `TRANSITIONS` is the whole truth: a signal that a state does not list raises `SerfOutOfStep`, and nothing else changes
  the state.
- The `members` reply is the truth. A log line, a `stats` reply whose mark moved, and an event that no log line came
  before, only ask for a new one.
- At most one `stats` and one `members` are in flight. Wakes that come meanwhile add up to one more `members`, and that
  waits as long as the last one took: a storm of log lines cannot take more than half of the agent's time for us.
- The agent answers in order, so what `stats` show, a table that was asked for after them shows, too. They are read
  before each table, or the next poll would find them moved and have the same table read once more.
- Every request has a deadline. The stream carries no heartbeat, so the polled `stats` is also the sign of life.
- Time is an argument: seconds of one monotonic clock.

How to drive it: `open`, then `receive` for each piece of data and `timer` whenever `next_timer` is reached; after each
of the three send what `data_to_send` returns. An instance serves one connection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from rosterd.errors import SerfAuthRefused, SerfOutOfStep, SerfRefused, SerfUnreachable
from rosterd.model import Snapshot
from rosterd.serf import protocol
from rosterd.serf.protocol import (
    Accepted,
    Command,
    Joined,
    Members,
    Message,
    QueryAnswered,
    QueryEnded,
    QueryReceived,
    Refused,
    Stats,
    Told,
    Wire,
)


@dataclass(frozen=True, slots=True)
class SerfTiming:
    """The rhythm of listening, in seconds.

    A changed member is seen within `stats_interval`; a change that no counter shows, such as of tags, when its log line
    comes, and at the latest after `members_interval`. `request_timeout` bounds the wait for a connection and for each
    reply, `join_timeout` a join, which the agent answers only when every address has answered or failed.
    """

    request_timeout: float = 3.0
    stats_interval: float = 0.05
    members_interval: float = 2.0
    backoff_first: float = 0.2
    backoff_longest: float = 10.0
    join_timeout: float = 10.0


class State(Enum):
    """How far the conversation is, named by what it waits for."""

    CLOSED = "closed"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    SUBSCRIBE = "subscribe"
    SNAPSHOT = "snapshot"
    LIVE = "live"


class Signal(Enum):
    """What can happen to a conversation."""

    OPENED = "opened"
    HANDSHAKE_ACCEPTED = "handshake accepted"
    AUTH_ACCEPTED = "auth accepted"
    AUTH_SKIPPED = "auth skipped"
    STREAM_ACCEPTED = "stream accepted"
    MONITOR_ACCEPTED = "monitor accepted"
    STATS_READ = "stats read"
    MEMBERS_READ = "members read"
    TOLD = "told"
    CLOSED = "closed"


TRANSITIONS: Final[Mapping[State, Mapping[Signal, State]]] = {
    State.CLOSED: {
        Signal.OPENED: State.HANDSHAKE,
    },
    State.HANDSHAKE: {
        Signal.HANDSHAKE_ACCEPTED: State.AUTH,
        Signal.CLOSED: State.CLOSED,
    },
    State.AUTH: {
        Signal.AUTH_ACCEPTED: State.SUBSCRIBE,
        Signal.AUTH_SKIPPED: State.SUBSCRIBE,
        Signal.CLOSED: State.CLOSED,
    },
    State.SUBSCRIBE: {
        Signal.STREAM_ACCEPTED: State.SUBSCRIBE,
        Signal.MONITOR_ACCEPTED: State.SNAPSHOT,
        Signal.TOLD: State.SUBSCRIBE,
        Signal.CLOSED: State.CLOSED,
    },
    State.SNAPSHOT: {
        Signal.STATS_READ: State.SNAPSHOT,
        Signal.MEMBERS_READ: State.LIVE,
        Signal.TOLD: State.SNAPSHOT,
        Signal.CLOSED: State.CLOSED,
    },
    State.LIVE: {
        Signal.STATS_READ: State.LIVE,
        Signal.MEMBERS_READ: State.LIVE,
        Signal.TOLD: State.LIVE,
        Signal.CLOSED: State.CLOSED,
    },
}


def advance(state: State, signal: Signal) -> State:
    """Return the state that follows.

    Raises:
        SerfOutOfStep: the table has no such step.
    """
    following = TRANSITIONS[state].get(signal)
    if following is None:
        raise SerfOutOfStep(f"`{signal.value}` while in state `{state.value}`")
    return following


@dataclass(frozen=True, slots=True)
class BecameLive:
    """The first snapshot was read; it follows at once."""


SessionEvent: TypeAlias = BecameLive | Snapshot

_ACCEPTED: Final[Mapping[Command, Signal]] = {
    Command.HANDSHAKE: Signal.HANDSHAKE_ACCEPTED,
    Command.AUTH: Signal.AUTH_ACCEPTED,
    Command.STREAM: Signal.STREAM_ACCEPTED,
    Command.MONITOR: Signal.MONITOR_ACCEPTED,
}


class Session:
    """A conversation: bytes and times in, requests and snapshots out."""

    def __init__(self, auth_key: str | None, timing: SerfTiming) -> None:
        self._auth_key = auth_key
        self._timing = timing
        self._state = State.CLOSED
        self._wire = Wire()
        self._outgoing = bytearray()
        # Of each request in flight: when it was sent. The time-out is the same for all, so the first is due first.
        self._sent: dict[Command, float] = {}
        self._stats: Stats | None = None
        self._woken = False
        self._log_spoke = False
        self._stats_due = 0.0
        self._stats_read_at = 0.0
        self._members_due = 0.0
        self._rested_at = 0.0

    @property
    def state(self) -> State:
        """How far the conversation is."""
        return self._state

    # --- what happens to it -------------------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """The connection is made."""
        self._step(Signal.OPENED)
        self._ask(protocol.handshake(), now)

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """Take what the agent sent, in any pieces.

        Raises:
            SerfOutOfStep: it does not fit the protocol or what was asked.
            SerfAuthRefused: the agent wants another key, or one where we have none.
            SerfRefused: the agent answered a request with an error.
        """
        events: list[SessionEvent] = []
        for message in self._wire.receive(data):
            events += self._take(message, now)
        self._ask_what_is_due(now)
        return events

    def timer(self, now: float) -> None:
        """The time that `next_timer` named has come.

        Raises:
            SerfUnreachable: a reply is overdue.
        """
        for command, sent in self._sent.items():
            if now >= sent + self._timing.request_timeout:
                raise SerfUnreachable(f"no answer to `{command.value}` within {self._timing.request_timeout:g} s")
        self._ask_what_is_due(now)

    def close(self) -> None:
        """The connection is gone, or given up."""
        if self._state is not State.CLOSED:
            self._step(Signal.CLOSED)
        self._sent.clear()
        self._outgoing.clear()

    # --- what it wants ------------------------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """Return the requests that were not sent yet; each is returned once."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def next_timer(self) -> float:
        """Return when `timer` must be called if nothing comes before; infinity where nothing is waited for."""
        overdue = min(self._sent.values(), default=math.inf) + self._timing.request_timeout
        if self._state is not State.LIVE:
            return overdue
        stats = math.inf if Command.STATS in self._sent else self._stats_due
        members = math.inf if Command.MEMBERS in self._sent else self._members_at()
        return min(overdue, stats, members)

    # --- inside -------------------------------------------------------------------------------------------------

    def _step(self, signal: Signal) -> None:
        self._state = advance(self._state, signal)

    def _ask(self, request: protocol.Request, now: float) -> None:
        self._outgoing += self._wire.request(request)
        self._sent[request.command] = now

    def _take(self, message: Message, now: float) -> tuple[SessionEvent, ...]:
        match message:
            case Told(subscription):
                self._step(Signal.TOLD)
                self._take_told(subscription)
            case Accepted(command):
                self._take_accepted(command, now)
            case Stats():
                self._take_stats(message, now)
            case Members():
                return self._take_members(message, now)
            case Refused(command, reason):
                raise refusal(command, reason)
            case Joined() | QueryReceived() | QueryAnswered() | QueryEnded():
                raise SerfOutOfStep(f"{type(message).__name__}, for which this connection never asks")
        return ()

    def _take_accepted(self, command: Command, now: float) -> None:
        del self._sent[command]
        self._step(_ACCEPTED[command])
        if command is Command.HANDSHAKE and self._auth_key is not None:
            self._ask(protocol.auth(self._auth_key), now)
        elif command is Command.HANDSHAKE:
            self._step(Signal.AUTH_SKIPPED)
            self._ask(protocol.stream(), now)
        elif command is Command.AUTH:
            self._ask(protocol.stream(), now)
        elif command is Command.STREAM:
            self._ask(protocol.monitor(), now)
        else:
            self._ask(protocol.stats(), now)

    def _take_told(self, subscription: Command) -> None:
        """Have the table read; not for an event that comes behind log lines, which have told of it a second before."""
        if subscription is Command.MONITOR or not self._log_spoke:
            self._woken = True
        self._log_spoke = subscription is Command.MONITOR

    def _take_stats(self, stats: Stats, now: float) -> None:
        self._stats_due = self._sent.pop(Command.STATS) + self._timing.stats_interval
        self._stats_read_at = now
        before, self._stats = self._stats, stats
        self._step(Signal.STATS_READ)
        if self._state is State.SNAPSHOT:
            self._ask_members(now)
        elif before is not None and stats.mark != before.mark and Command.MEMBERS not in self._sent:
            self._woken = True  # a table in flight was asked for after these stats

    def _take_members(self, members: Members, now: float) -> tuple[SessionEvent, ...]:
        sent = self._sent.pop(Command.MEMBERS)
        self._members_due = sent + self._timing.members_interval
        self._rested_at = now + (now - sent)
        was_live = self._state is State.LIVE
        self._step(Signal.MEMBERS_READ)
        if self._stats is None:
            raise SerfOutOfStep("`members` before `stats`")
        # The agent lists its members in another order each time; equal tables should be equal values.
        records = tuple(sorted(members.records, key=lambda record: record.name))
        snapshot = Snapshot(records, self._stats.health_score, self._stats.agent, self._stats.encrypted)
        return (snapshot,) if was_live else (BecameLive(), snapshot)

    def _ask_what_is_due(self, now: float) -> None:
        if self._state is not State.LIVE:
            return
        is_table_due = Command.MEMBERS not in self._sent and now >= self._members_at()
        are_stats_due = now > self._stats_read_at if is_table_due else now >= self._stats_due
        if are_stats_due and Command.STATS not in self._sent:
            self._ask(protocol.stats(), now)
        if is_table_due:
            self._ask_members(now)

    def _ask_members(self, now: float) -> None:
        # Cleared now and not with the reply: what wakes us from here on may have come too late for it.
        self._woken = False
        self._ask(protocol.members(), now)

    def _members_at(self) -> float:
        return self._rested_at if self._woken else self._members_due


def refusal(command: Command, reason: str) -> SerfRefused | SerfAuthRefused:
    """Return the error that a refused `command` is."""
    if command is Command.AUTH:
        return SerfAuthRefused(f"the auth key (serf.auth_key, serf.auth_key_file) was refused: {reason}")
    if reason == protocol.AUTH_REQUIRED:
        return SerfAuthRefused("an auth key is wanted; set serf.auth_key_file or serf.auth_key")
    return SerfRefused(f"`{command.value}` was refused: {reason}")

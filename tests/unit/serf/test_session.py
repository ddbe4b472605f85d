"""The conversation with the agent: what is asked next, and when. Time is a number here, the agent is this test."""

from __future__ import annotations

import math
from itertools import product

import msgpack
import pytest

from rosterd.errors import SerfAuthRefused, SerfError, SerfOutOfStep, SerfRefused, SerfUnreachable
from rosterd.model import Snapshot
from rosterd.serf.session import (
    TRANSITIONS,
    BecameLive,
    SerfTiming,
    Session,
    SessionEvent,
    Signal,
    State,
    advance,
)
from tests.fixtures.serf.record import KEY, recorded

TIMING = SerfTiming(request_timeout=3.0, stats_interval=0.05, members_interval=2.0)
COUNTERS = {"member_time": "1", "members": "1", "failed": "0", "left": "0", "event_time": "1", "health_score": "0"}


class Peer:
    """An agent that answers when the test says so: remembers each request's Seq by its command."""

    def __init__(self, auth_key: str | None = None, timing: SerfTiming = TIMING) -> None:
        self.session = Session(auth_key, timing)
        self.seqs: dict[str, int] = {}
        self.counters = dict(COUNTERS)

    def asked(self) -> list[str]:
        """Return the commands sent since the last call."""
        unpacker = msgpack.Unpacker()
        unpacker.feed(self.session.data_to_send())
        headers = [item for item in unpacker if "Command" in item]
        self.seqs |= {header["Command"]: header["Seq"] for header in headers}
        return [header["Command"] for header in headers]

    def answer(self, command: str, now: float, error: str = "") -> list[SessionEvent]:
        """Answer the last request of that command, or send a record for a subscription."""
        bodies: dict[str, object] = {
            "stats": {"agent": {"name": "local"}, "serf": self.counters},
            "members": {"Members": []},
            "event": {"Event": "member-join", "Members": []},
            "log": {"Log": "2026/01/01 00:00:00 [INFO] serf: EventMemberUpdate: n"},
        }
        seq = self.seqs[{"event": "stream", "log": "monitor"}.get(command, command)]
        data = msgpack.packb({"Error": error, "Seq": seq})
        if command in bodies and not error:
            data += msgpack.packb(bodies[command])
        return self.session.receive(data, now)

    def go_live(self, now: float = 0.0) -> None:
        """Walk through the opening."""
        self.session.open(now)
        for command in ("handshake", "stream", "monitor", "stats", "members"):
            assert self.asked() == [command]
            self.answer(command, now)
        assert self.session.state is State.LIVE

    def poll(self, now: float) -> None:
        """Let the next `stats` be asked and answered at `now`."""
        self.session.timer(now)
        assert "stats" in self.asked()
        self.answer("stats", now)


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_every_pair_of_state_and_signal_steps_or_raises(state: State, signal: Signal) -> None:
    """The table decides for every pair; what it does not list is out of step and says which pair it was."""
    following = TRANSITIONS[state].get(signal)
    if following is not None:
        assert advance(state, signal) is following
        return
    with pytest.raises(SerfOutOfStep, match=f"`{signal.value}` while in state `{state.value}`"):
        advance(state, signal)


def test_the_table_leads_from_closed_to_live_and_from_everywhere_back() -> None:
    """Each state can be reached, and each open one can be closed."""
    reached = {State.CLOSED}
    for _ in State:
        reached |= {following for state in reached for following in TRANSITIONS[state].values()}
    assert reached == set(State)
    for state in set(State) - {State.CLOSED}:
        assert advance(state, Signal.CLOSED) is State.CLOSED


def test_only_a_read_table_makes_a_conversation_live() -> None:
    """Nothing but `members` leads to LIVE, so no listener hears of a conversation without its table."""
    leading = {
        (state, signal)
        for state, signals in TRANSITIONS.items()
        for signal, following in signals.items()
        if following is State.LIVE and state is not State.LIVE
    }
    assert leading == {(State.SNAPSHOT, Signal.MEMBERS_READ)}


def test_the_opening_goes_step_by_step() -> None:
    """With a key: handshake, auth, stream, monitor, stats, members, one at a time; then it is live."""
    peer = Peer(auth_key="k")
    peer.session.open(0.0)
    events: list[SessionEvent] = []
    for command in ("handshake", "auth", "stream", "monitor", "stats", "members"):
        assert peer.asked() == [command]
        events += peer.answer(command, 0.0)
    assert events == [BecameLive(), Snapshot(records=(), health_score=0, agent=b"local")]


def test_a_recorded_agent_is_read_to_its_table() -> None:
    """What a real agent sent in this order takes the conversation to its first snapshot."""
    session = Session(KEY, TIMING)
    session.open(0.0)
    data = recorded("session")
    last = data.index(b"Seq\x07")  # the recording goes on with a join, which this conversation never asks
    events = [event for byte in data[:last] for event in session.receive(bytes([byte]), 0.0)]
    assert events[0] == BecameLive()
    assert isinstance(events[1], Snapshot)
    assert len(events[1].records) == 2


def test_the_health_score_of_the_last_stats_is_in_the_snapshot() -> None:
    """A score that changes is news: the table is read again to carry it."""
    peer = Peer()
    peer.go_live()
    peer.counters["health_score"] = "4"
    peer.poll(1.0)
    assert peer.asked() == ["members"]
    assert peer.answer("members", 1.0) == [Snapshot(records=(), health_score=4, agent=b"local")]


def test_stats_are_polled_at_their_interval() -> None:
    """Each poll comes an interval after the last was sent, and never a second beside one in flight."""
    peer = Peer()
    peer.go_live(now=10.0)
    assert peer.session.next_timer() == pytest.approx(10.05)
    peer.session.timer(10.04)
    assert peer.asked() == []
    peer.session.timer(10.05)
    assert peer.asked() == ["stats"]
    peer.session.timer(10.2)
    assert peer.asked() == []
    peer.answer("stats", 10.3)
    assert peer.asked() == ["stats"]


def test_equal_stats_read_no_table() -> None:
    """A quiet cluster costs polls of constant size until the members interval is over."""
    peer = Peer()
    peer.go_live()
    for _ in range(39):
        peer.poll(peer.session.next_timer())
        assert peer.asked() == []
    peer.session.timer(2.0)
    assert "members" in peer.asked()


@pytest.mark.parametrize("wake", ["event", "log"])
def test_a_record_reads_the_table_at_once(wake: str) -> None:
    """An event or a log line alone only wakes: the table is asked for in the same turn, and the stats before it."""
    peer = Peer()
    peer.go_live()
    assert peer.answer(wake, 0.01) == []
    assert peer.asked() == ["stats", "members"]


def test_an_event_behind_log_lines_is_no_news() -> None:
    """The log told of it a second before; the next event without a line in between is read for again."""
    peer = Peer()
    peer.go_live()
    peer.answer("log", 0.01)
    assert peer.asked() == ["stats", "members"]
    peer.answer("stats", 0.02)
    peer.answer("members", 0.02)
    peer.answer("event", 0.03)
    assert peer.asked() == []
    peer.answer("event", 0.04)
    assert peer.asked() == ["stats", "members"]


def test_a_change_that_a_record_told_is_read_once() -> None:
    """The stats before the table have moved already, so neither they nor the next poll ask for another table."""
    peer = Peer()
    peer.go_live()
    peer.counters["member_time"] = "2"
    peer.answer("log", 0.01)
    assert peer.asked() == ["stats", "members"]
    peer.answer("stats", 0.02)
    peer.answer("members", 0.02)
    peer.poll(peer.session.next_timer())
    assert peer.asked() == []


def test_a_change_after_the_table_is_not_lost() -> None:
    """A poll that was sent behind the request for the table shows what the table may lack."""
    peer = Peer()
    peer.go_live()
    peer.answer("log", 0.01)
    assert peer.asked() == ["stats", "members"]
    peer.answer("stats", 0.02)
    peer.session.timer(0.07)
    assert peer.asked() == ["stats"]
    peer.answer("members", 0.07)
    peer.counters["member_time"] = "2"
    peer.answer("stats", 0.08)
    peer.session.timer(0.14)  # the last table took 0.06 s, and the agent has rested as long
    assert "members" in peer.asked()


def test_changed_stats_read_the_table_at_once() -> None:
    """A counter that moved asks for the table in the turn in which it was read."""
    peer = Peer()
    peer.go_live()
    peer.counters["member_time"] = "2"
    peer.poll(0.05)
    assert peer.asked() == ["members"]


def test_wakes_during_a_read_add_up_to_one_more() -> None:
    """A hundred wakes while `members` is in flight cost one read, for the reply may be older than they are."""
    peer = Peer()
    peer.go_live()
    peer.answer("log", 0.01)
    assert peer.asked() == ["stats", "members"]
    for _ in range(100):
        peer.answer("log", 0.01)
    assert peer.asked() == []
    peer.answer("stats", 0.01)
    peer.answer("members", 0.01)
    assert peer.asked() == ["members"]
    peer.answer("members", 0.01)
    assert peer.asked() == []


def test_a_storm_takes_at_most_half_of_the_agents_time() -> None:
    """After a read that took 0.4 s, the next one that a wake asks for starts 0.4 s later."""
    peer = Peer()
    peer.go_live()
    peer.answer("log", 0.1)
    assert peer.asked() == ["stats", "members"]
    peer.answer("log", 0.3)
    peer.answer("members", 0.5)
    assert peer.asked() == []
    peer.session.timer(0.89)
    assert peer.asked() == []
    assert peer.session.next_timer() == pytest.approx(0.9)
    peer.session.timer(0.91)
    assert peer.asked() == ["members"]


def test_wakes_before_the_table_was_read_are_not_forgotten() -> None:
    """A log line that came between the request for the first table and its reply asks for another."""
    peer = Peer()
    peer.session.open(0.0)
    for command in ("handshake", "stream", "monitor", "stats"):
        assert peer.asked() == [command]
        peer.answer(command, 0.0)
    assert peer.asked() == ["members"]
    peer.answer("log", 0.0)
    peer.answer("members", 0.0)
    assert peer.asked() == ["members"]


@pytest.mark.parametrize("unanswered", ["handshake", "stream", "monitor", "stats", "members"])
def test_each_request_of_the_opening_has_a_deadline(unanswered: str) -> None:
    """An agent that accepts and then says nothing is given up after the time-out, with the request's name."""
    peer = Peer()
    peer.session.open(0.0)
    while (command := peer.asked()[0]) != unanswered:
        peer.answer(command, 0.0)
    assert peer.session.next_timer() == pytest.approx(3.0)
    peer.session.timer(2.99)
    with pytest.raises(SerfUnreachable, match=f"no answer to `{unanswered}` within 3 s"):
        peer.session.timer(3.0)


def test_an_agent_that_stops_is_noticed_by_the_polls() -> None:
    """Once live, silence is found one interval and one time-out later, although nothing else happens."""
    peer = Peer()
    peer.go_live()
    peer.session.timer(0.05)
    peer.asked()
    peer.answer("log", 1.0)
    with pytest.raises(SerfUnreachable, match="`stats`"):
        peer.session.timer(3.05)


def test_records_do_not_hide_a_reply_that_is_overdue() -> None:
    """An agent that still logs and no longer answers is lost all the same."""
    peer = Peer()
    peer.go_live()
    peer.session.timer(0.05)
    peer.asked()
    for tenth in range(1, 31):
        peer.answer("event", 0.05 + tenth / 10)
    with pytest.raises(SerfUnreachable):
        peer.session.timer(peer.session.next_timer())


@pytest.mark.parametrize(
    ("command", "error", "kind"),
    [
        ("handshake", "Unsupported IPC version", SerfRefused),
        ("auth", "Invalid authentication token", SerfAuthRefused),
        ("stream", "Authentication required", SerfAuthRefused),
        ("monitor", "Unknown log level: INFO", SerfRefused),
        ("members", "nothing", SerfRefused),
    ],
)
def test_a_refusal_is_the_right_error(command: str, error: str, kind: type[SerfError]) -> None:
    """Whatever speaks of the key is SerfAuthRefused, everything else SerfRefused with the agent's words."""
    peer = Peer(auth_key="k" if command == "auth" else None)
    peer.session.open(0.0)
    while (asked := peer.asked()[0]) != command:
        peer.answer(asked, 0.0)
    with pytest.raises(kind, match=error if kind is SerfRefused else "key"):
        peer.answer(command, 0.0, error)


def test_a_record_before_its_subscription_is_out_of_step() -> None:
    """A Seq that was never asked fits nothing."""
    peer = Peer()
    peer.session.open(0.0)
    peer.seqs["stream"] = 77
    with pytest.raises(SerfOutOfStep):
        peer.answer("event", 0.0)


def test_a_closed_conversation_wants_nothing() -> None:
    """After `close` nothing is sent and no timer runs; closing twice is no fault."""
    peer = Peer()
    peer.go_live()
    peer.session.timer(1.0)
    peer.session.close()
    peer.session.close()
    assert peer.session.state is State.CLOSED
    assert peer.session.data_to_send() == b""
    assert peer.session.next_timer() == math.inf


def test_a_fresh_conversation_waits_for_nothing() -> None:
    """Before `open` there is no deadline."""
    assert Session(None, TIMING).next_timer() == math.inf

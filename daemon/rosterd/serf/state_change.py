"""One change of the tag `state` of some nodes: what to ask, what the answers mean, when it is over. No I/O.

A tag can be set at a node's own agent alone. So each node is sent the query `QUERY`, with the state as its payload; a
handler there sets the tag, answers `OK` or why not, and the change comes back by gossip like any other. Rules:

- The member table is the truth. A node whose tag shows there is done, whatever it answered or did not; an answer may be
  lost, or come from somebody else. An answer that refuses ends the wait for its node, and so does the node's end.
- A query is gossip and may pass a node over: who has not said that it came is asked again. Twice does no harm.
- An agent that hangs is not mistaken for nodes that do not answer: each read of the table has a deadline of its own.
- An agent that is lost in the middle takes nothing away from what its table has shown.
- Time is an argument: seconds of one monotonic clock.

How to drive it: until `is_over`, make the `requests` that are due and `take` each message, at the latest when
`next_timer` is reached; then there are `outcomes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from rosterd.errors import SerfOutOfStep, SerfUnreachable
from rosterd.model import AdminState
from rosterd.parse import SHOWN_LENGTH, printable
from rosterd.serf import protocol
from rosterd.serf.lookup import Node, nodes_of
from rosterd.serf.protocol import (
    Accepted,
    Command,
    Members,
    Message,
    QueryAnswered,
    QueryEnded,
    QueryReceived,
    Request,
)

QUERY: Final = "rosterd-state"
OK: Final = b"ok"

AGAIN_S: Final = 1.5
"""A query reaches a node within 0.2 s, or not at all."""

READ_INTERVAL_S: Final = 0.05
"""How often the member table is read; more seldom where that takes longer."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the local agent may be silent, and how long the table may take to show what was asked; seconds."""

    agent_s: float
    nodes_s: float


@dataclass(frozen=True, slots=True)
class Shown:
    """The member table shows the state, `after_s` seconds after it was asked for."""

    node: Node
    after_s: float


@dataclass(frozen=True, slots=True)
class ShownBefore:
    """The member table showed the state already; nothing was asked."""

    node: Node


@dataclass(frozen=True, slots=True)
class NotShown:
    """The member table does not show the state; `why` is for a person."""

    node: Node
    why: str


Outcome: TypeAlias = Shown | ShownBefore | NotShown


@dataclass(slots=True)
class _Asked:
    """How far it is with one node; `due` is when it has to be asked, `outcome` None as long as it is open."""

    node: Node
    due: float
    received: bool = False
    answered: bool = False
    outcome: Outcome | None = None


class StateChange:
    """The change of these nodes to `state`, begun `now`."""

    def __init__(self, nodes: Sequence[Node], state: AdminState, now: float, patience: Patience) -> None:
        self._state = state
        self._began = now
        self._patience = patience
        self._deadline = now + patience.nodes_s
        self._asked = {node.name: _Asked(node, now) for node in nodes}
        for asked in self._asked.values():
            if asked.node.state == state.value:
                asked.outcome = ShownBefore(asked.node)
        self._read_due = now
        self._reading_since: float | None = None

    # --- driving it ---------------------------------------------------------------------------------------------

    def is_over(self, now: float) -> bool:
        """Say whether there is nothing left to wait for; past the deadline that is the reply to the last read."""
        return not any(self._open()) or (now >= self._deadline and self._reading_since is None)

    def requests(self, now: float) -> list[Request]:
        """Return what is to be asked now.

        Raises:
            SerfUnreachable: the agent is silent for too long.
        """
        if now >= self._silent_at():
            raise SerfUnreachable(f"no answer to `members` within {self._patience.agent_s:g} s")
        if now >= self._deadline:
            return []
        requests = [self._query(asked, now) for asked in self._unreached() if asked.due <= now]
        if self._reading_since is None and self._read_due <= now:
            self._reading_since = now
            requests.append(protocol.members())
        return requests

    def next_timer(self, now: float) -> float:
        """Return when `requests` or `is_over` have to be looked at, if no message comes before."""
        if now >= self._deadline:
            return self._silent_at()
        read = math.inf if self._reading_since is not None else self._read_due
        return min([self._deadline, self._silent_at(), read, *(asked.due for asked in self._unreached())])

    def take(self, message: Message, now: float) -> None:
        """Take what the agent says.

        Raises:
            SerfOutOfStep: it says what was not asked.
        """
        match message:
            case QueryReceived(sender):
                for asked in self._of(sender):
                    asked.received = True
            case QueryAnswered(sender, payload):
                for asked in self._of(sender):
                    self._take_answer(asked, payload)
            case Members():
                self._take_members(message, now)
            case Accepted(Command.QUERY) | QueryEnded():
                pass
            case _:
                raise SerfOutOfStep(f"{type(message).__name__}, for which nobody asked")

    def lose_agent(self, why: str) -> None:
        """End the wait for all that is open: the agent, whose table would show it, does not do its part any more."""
        for asked in self._open():
            asked.outcome = NotShown(asked.node, f"{asked.node} may have done it or not: {why}")

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return how it ended with each node, in the order in which they were given."""
        return tuple(asked.outcome or self._not_shown(asked) for asked in self._asked.values())

    # --- inside -------------------------------------------------------------------------------------------------

    def _silent_at(self) -> float:
        return math.inf if self._reading_since is None else self._reading_since + self._patience.agent_s

    def _open(self) -> Iterator[_Asked]:
        return (asked for asked in self._asked.values() if asked.outcome is None)

    def _unreached(self) -> Iterator[_Asked]:
        return (asked for asked in self._open() if not asked.received)

    def _of(self, sender: bytes) -> Iterator[_Asked]:
        return (asked for asked in self._open() if asked.node.name.encode() == sender)

    def _query(self, asked: _Asked, now: float) -> Request:
        asked.due = now + AGAIN_S
        return protocol.query(QUERY, self._state.value.encode(), asked.node.name, self._deadline - now)

    def _take_answer(self, asked: _Asked, payload: bytes) -> None:
        asked.received = asked.answered = True
        if payload.strip() != OK:
            words = printable(payload.strip().removeprefix(b"error: ")[: 4 * SHOWN_LENGTH])
            asked.outcome = NotShown(asked.node, f"{asked.node} refused: {words or 'an empty answer'}")

    def _take_members(self, members: Members, now: float) -> None:
        began = now if self._reading_since is None else self._reading_since
        self._reading_since = None
        self._read_due = now + max(READ_INTERVAL_S, now - began)
        names = {asked.node.name.encode() for asked in self._open()}
        present = {node.name: node for node in nodes_of(row for row in members.records if row.name in names)}
        for asked in self._open():
            node = present.get(asked.node.name)
            if node is None or not node.is_alive:
                status = "no longer listed" if node is None else node.status
                asked.outcome = NotShown(asked.node, f"{asked.node} is {status} meanwhile")
            elif node.state == self._state.value:
                asked.outcome = Shown(node, now - self._began)

    def _not_shown(self, asked: _Asked) -> NotShown:
        within = f"within {self._patience.nodes_s:g} s"
        if asked.answered:
            why = f"says that it is done, but its tag `state` is not seen here {within}: compare `rosterd members`"
        elif asked.received:
            why = f"got the query and did not answer {within}: its agent has no handler for {QUERY}, or it failed"
        else:
            why = f"did not say {within} that the query has come: is its agent well, and its network?"
        return NotShown(asked.node, f"{asked.node} {why}")

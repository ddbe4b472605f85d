"""Actions as lines for HAProxy's runtime socket, and its replies as outcomes. No I/O.

Rules:

- A line is made of words that were checked, one by one and in number: no blank, `;`, quote or escape can be in it, and
  64 words, of which HAProxy 2.6.12 dies, cannot come about.
- Replies carry no code. What says that it worked is listed here; every other text is a refusal, with the text.

Source: HAProxy's management guide, "Unix Socket commands", 2.6 and 3.0; replies recorded from 2.6.12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rosterd.errors import ProxyGarbled
from rosterd.model import (
    Action,
    Address,
    AddServer,
    CutSessions,
    DisableAgent,
    EnableAgent,
    EnableChecks,
    RemoveServer,
    SetEndpoint,
    SetState,
    SetWeight,
)

MAX_WORDS = 63
"""HAProxy 2.6.12 dies of a command of 64 words."""

MAX_OPTIONS = MAX_WORDS - 8
"""Words that a server line may add to `add server NAME ENDPOINT id N weight N`."""

_WORD = re.compile(r"[A-Za-z0-9_.:/,()%+=@*\[\]!$&>?^`{|}~-]+")
"""Characters that mean themselves on the socket of every version, and in the file. `<<` begins a payload, `;` ends a
command; `#`, quotes and escapes mean something in one of the two."""

_PROMPT = "\n> "

_DONE = re.compile(
    r"|New server registered\."
    r"|Server deleted\."
    r"|No such server\.(?# of a removal: somebody was faster)"
    r"|IP changed from '.*|port changed from '.*"
    r"|no need to change the addr.*"
)
_BUSY = "Server still has connections attached to it, cannot remove it."


@dataclass(frozen=True, slots=True)
class Done:
    """HAProxy did it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """HAProxy did not do it, and says why."""

    text: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Not yet: the same may be asked again in a moment."""


Result: TypeAlias = Done | Refused | Busy


OneLine: TypeAlias = EnableChecks | DisableAgent | SetWeight | SetEndpoint | SetState | CutSessions | RemoveServer


def lines_of(action: Action) -> tuple[str, ...]:
    """The lines that carry out an action, in order."""
    label = f"{action.service}/{action.name}"
    if isinstance(action, AddServer):
        return tuple(_addition(action, label))
    if isinstance(action, EnableAgent):
        # The agent of a server from the file begins as one that says "up". HAProxy 2.6 has the agent of an added server
        # begin as one that says "down", which counts after the next maintenance.
        return (_line("enable", "agent", label), _line("set", "server", label, "agent", "up"))
    return (_line(*_words(action, label)),)


def _words(action: OneLine, label: str) -> tuple[str, ...]:
    match action:
        case EnableChecks() | DisableAgent():
            return ("enable", "health", label) if isinstance(action, EnableChecks) else ("disable", "agent", label)
        case SetWeight(_, _, weight):
            return ("set", "server", label, "weight", str(weight))
        case SetEndpoint(_, _, address, port):
            return ("set", "server", label, "addr", str(address), "port", str(port))
        case SetState(_, _, state):
            return ("set", "server", label, "state", state.value)
        case CutSessions():
            return ("shutdown", "sessions", "server", label)
        case RemoveServer():
            return ("del", "server", label)


def _addition(action: AddServer, label: str) -> Iterator[str]:
    server = action.server
    words = ("add", "server", label, _endpoint(server.address, server.port))
    # With the weight of its line, which HAProxy keeps as the initial one, and then without.
    yield _line(*words, "id", str(server.id), "weight", str(server.weight), *action.options)
    yield _line("set", "server", label, "weight", "0")
    yield _line("enable", "server", label)
    # Checks last: one that is due before its server is enabled is put off by a whole interval. An agent would give the
    # server its weight at once: it is enabled with the weight.
    if "check" in action.options:
        yield _line("enable", "health", label)


BATCH_END = "quit"
"""HAProxy closes after this line. A client that closes its half instead loses the end of a long batch: HAProxy up to
3.0 then resets the connection while commands still wait."""


def is_word(text: str) -> bool:
    """True if the text is one word of a command, and the same word in a configuration file."""
    return bool(_WORD.fullmatch(text))


def batch(lines: Sequence[str]) -> str:
    """Return the text that asks HAProxy for all of these lines in one write.

    The prompt that follows each reply separates the replies. Since HAProxy 3.2 a prompt follows each line instead of
    each command, so every command has a line of its own; older versions take both forms in the same time.
    """
    return "\n".join(("prompt", *lines, BATCH_END))


def split_replies(text: str, number: int) -> tuple[str, ...]:
    """The replies to a batch of so many lines. ProxyGarbled when there are more or fewer."""
    first, *replies = text.split(_PROMPT)
    if first or len(replies) != number + 1 or replies[-1]:
        raise ProxyGarbled(f"HAProxy answered {max(0, len(replies) - 1)} of {number} commands: {text[-200:]!r}")
    return tuple(reply.strip() for reply in replies[:-1])


def result_of(action: Action, replies: Sequence[str]) -> Result:
    """What came of an action, from the replies to its lines; the first that is no success counts."""
    for reply in replies:
        if reply == _BUSY:
            return Busy()
        missing = reply == "No such server." and not isinstance(action, RemoveServer)
        if missing or not _DONE.fullmatch(reply):
            return Refused(reply)
    return Done()


def _endpoint(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _line(*words: str) -> str:
    if len(words) > MAX_WORDS:
        raise ValueError(f"a command of {len(words)} words; HAProxy takes {MAX_WORDS}")
    for word in words:
        if not is_word(word):
            raise ValueError(f"{word!r} cannot be a word of a command")
    return " ".join(words)

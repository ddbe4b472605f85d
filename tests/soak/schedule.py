"""Which faults happen, one turn after the other: the same turns from the same seed. Pure.

The faults are dealt like cards: every one is dealt once before any comes again, so that each is tried about as often.
A card may take a second one with it that is still in the deck and goes with it: both happen in one turn.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_IN_COMPANY = 0.5
_LONGEST_PAUSE_S = 3.0
_LONGEST_APART_S = 3.0


class Part(Enum):
    """What a fault breaks. Two faults of one turn have no part in common."""

    AGENT = "the balancer's agent"
    DAEMON = "rosterd"
    PROXY = "HAProxy"
    DISK = "the disk"
    TEMPLATE = "the template"
    STATE = "the state directory"
    NODES = "web nodes"


class Card(Protocol):
    """What the schedule has to know of a fault: its name, what it breaks, how many web nodes it takes.

    `excuse` says why requests may fail meanwhile; empty where none may.
    """

    name: str
    parts: frozenset[Part]
    nodes: int
    excuse: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One or two faults, the second `apart_s` after the first; `pause_s` before both. `seed` is for their choices."""

    number: int
    faults: tuple[str, ...]
    pause_s: float
    apart_s: float
    seed: int


def turns(seed: int, cards: Sequence[Card], nodes: int) -> Iterator[Turn]:
    """Yield turns without end, for a cluster with so many web nodes."""
    dice = random.Random(seed)  # noqa: S311  moments and victims, and no secret
    deck: list[Card] = []
    number = 0
    while cards:
        if not deck:
            deck = dice.sample(cards, len(cards))
        dealt = [deck.pop()]
        if dice.random() < _IN_COMPANY:
            second = next((card for card in reversed(deck) if go_together(dealt[0], card, nodes)), None)
            if second is not None:
                deck.remove(second)
                dealt.append(second)
        number += 1
        yield Turn(
            number,
            tuple(card.name for card in dealt),
            pause_s=dice.uniform(0.0, _LONGEST_PAUSE_S),
            apart_s=dice.uniform(0.0, _LONGEST_APART_S),
            seed=dice.getrandbits(32),
        )


def go_together(one: Card, other: Card, nodes: int) -> bool:
    """Whether two faults may happen at once: they break different things, and a request has somewhere to go.

    Of two that may lose requests nobody could say which one did; and where most web nodes are away, only they are.
    """
    if one.parts & other.parts or (one.excuse and other.excuse):
        return False
    taken = one.nodes + other.nodes
    if (one.excuse or other.excuse) and taken > nodes // 2:
        return False
    return taken < nodes

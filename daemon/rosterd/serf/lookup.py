"""Which member a person means: by the name that people know a node by (tag `node`), or by its Serf name. Pure.

Rules:

- Only alive members are meant. A node that restarts is a new member, and the old one of its name lingers for hours.
- A name that more than one of them has is nobody's: members choose names and tags freely, and a wrong guess would leave
  a server in the traffic that a person takes for drained.
- A member whose Serf name does not parse is never served, and cannot be meant. What else of it does not parse does not
  matter here: a state that is no word is mended by setting one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rosterd.errors import NodeUnknown
from rosterd.model import AdminState, MemberRecord
from rosterd.parse import NAME, printable

SHOWN: Final = 20
"""How many names are listed where one is unknown."""

_ALIVE: Final = "alive"


@dataclass(frozen=True, slots=True)
class Node:
    """A member as an operator sees it: `name` is its Serf name, `node` its name for people, `state` its tag."""

    name: str
    node: str
    status: str
    state: str

    def __str__(self) -> str:
        return self.node if self.node == self.name else f"{self.node} ({self.name})"

    @property
    def is_alive(self) -> bool:
        """Whether it can be told anything."""
        return self.status == _ALIVE


def nodes_of(records: Iterable[MemberRecord]) -> tuple[Node, ...]:
    """Return every member that has a name, in the order of the names."""
    nodes = [
        Node(name, _name(record.tags.get(b"node", b"")) or name, printable(record.status), _state(record))
        for record in records
        if (name := _name(record.name))
    ]
    return tuple(sorted(nodes, key=lambda node: (node.node, node.name)))


def find(nodes: Sequence[Node], wanted: Iterable[str]) -> tuple[Node, ...]:
    """Return the node of each of these names, each once.

    Raises:
        NodeUnknown: with a line for each name that no alive node has, or several.
    """
    found: dict[str, Node] = {}
    problems: list[str] = []
    for name in wanted:
        meant = [node for node in nodes if name in (node.node, node.name)]
        alive = [node for node in meant if node.is_alive]
        if len(alive) == 1:
            found[alive[0].name] = alive[0]
        elif alive:
            names = ", ".join(node.name for node in alive)
            problems.append(f"{name!r} is the name of {len(alive)} alive nodes; give one of these: {names}")
        elif meant:
            problems.append("; ".join(f"{node} is {node.status}, and only an alive node can be told" for node in meant))
        else:
            problems.append(f"there is no node {name!r}; alive are: {_listed(nodes)}")
    if problems:
        raise NodeUnknown("\n".join(problems))
    return tuple(found.values())


def _listed(nodes: Sequence[Node]) -> str:
    names = list(dict.fromkeys(node.node for node in nodes if node.is_alive))
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


def _name(raw: bytes) -> str:
    text = raw.decode("ascii", "replace")
    return text if NAME.fullmatch(text) else ""


def _state(record: MemberRecord) -> str:
    return printable(record.tags.get(b"state", AdminState.READY.value.encode()))

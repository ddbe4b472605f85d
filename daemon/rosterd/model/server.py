"""Servers as they should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from rosterd.model.member import Address, AdminState

ServerKey: TypeAlias = tuple[str, str]
"""Service and server."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server line. `name` and `id` are unique in their service and survive restarts.

    `weight` is 0 to 256; `id` is 1 to 2^31-1. A server that the tag `state` takes out has weight 0; one that is out
    with its weight was taken out by hand on HAProxy, and that is how the two are told apart everywhere.
    """

    name: str
    id: int
    address: Address
    port: int
    weight: int
    state: AdminState

    @property
    def endpoint(self) -> tuple[Address, int]:
        """Where it listens."""
        return self.address, self.port

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody took it out by hand on HAProxy."""
        return self.state is not AdminState.READY and self.weight > 0


@dataclass(frozen=True, slots=True)
class Backend:
    """The servers of one service, ordered by name."""

    service: str
    servers: tuple[Server, ...]

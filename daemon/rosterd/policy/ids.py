"""Ids: each server has one that depends on its name, and keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b

from rosterd.model import Server

LARGEST_ID = 2**31 - 1
"""HAProxy keeps a server's id in a signed 32-bit integer."""


def with_ids(servers: Iterable[Server], served: Mapping[str, Server]) -> tuple[Server, ...]:
    """The servers, those that are new with an id that depends on their name and on collisions only."""
    servers = tuple(servers)
    taken = {served[server.name].id for server in servers if server.name in served}
    numbered: list[Server] = []
    for server in servers:
        if server.name in served:
            numbered.append(server)
            continue
        number = _free_id(server.name, taken)
        taken.add(number)
        numbered.append(replace(server, id=number))
    return tuple(numbered)


def _free_id(name: str, taken: set[int]) -> int:
    number = int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % LARGEST_ID + 1
    while number in taken:
        number = number % LARGEST_ID + 1
    return number

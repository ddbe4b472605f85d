"""Ids: each server has one that depends on its name, and keeps it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b

from rosterd.model import Server

LARGEST_ID = 2**31 - 1
"""HAProxy keeps a server's id in a signed 32-bit integer."""


def with_ids(
    servers: Iterable[Server], served: Mapping[str, Server], reserved: Container[int] = ()
) -> tuple[Server, ...]:
    """The servers, those that are new with an id that depends on their name and on collisions only.

    `reserved` are the ids of other servers of the same backend: a server that has one of these gets another.
    """
    servers = tuple(servers)
    kept = {server.name for server in servers if server.name in served and served[server.name].id not in reserved}
    taken = {served[name].id for name in kept}
    numbered: list[Server] = []
    for server in servers:
        if server.name in kept:
            numbered.append(server)
            continue
        number = _free_id(server.name, taken, reserved)
        taken.add(number)
        numbered.append(replace(server, id=number))
    return tuple(numbered)


def _free_id(name: str, taken: set[int], reserved: Container[int]) -> int:
    number = int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % LARGEST_ID + 1
    while number in taken or number in reserved:
        number = number % LARGEST_ID + 1
    return number

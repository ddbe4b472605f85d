"""A network of its own for a balancer, with one cable to the test's: for what happens when a network fails.

    with Island() as island:
        balancer = Balancer(directory, island=island)
        web = balancer.add_web(island.outside())     # out here, and reached over the cable
        island.cut()
        island.heal()

Needs root and `ip` (Debian's iproute2). The island is a network namespace; out here there is one interface more, with
the addresses that were asked for. Both go when the context is left.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

import pytest

from tests.loopback import GOSSIP_PORT

if TYPE_CHECKING:
    from types import TracebackType

_SUBNETS = 250
_COMMAND_S = 10.0
# What comes in only: sending into a black hole is an error, which Serf takes for a fault of its own.
_GOSSIP = tuple(
    ("pref", "10", "iif", "eth0", "ipproto", protocol, end, str(GOSSIP_PORT), "blackhole")
    for protocol in ("udp", "tcp")
    for end in ("sport", "dport")
)
_STRIDE = 37
"""So many numbers lie between two processes of which one was started right after the other: tests have workers."""

_numbers = itertools.count(os.getpid() * _STRIDE)


def _subnet(number: int) -> str:
    return f"10.213.{number % _SUBNETS}"


def _free_number() -> int:
    """The next number whose subnet nobody has: tests that were killed leave theirs behind."""
    answer = subprocess.run(
        ["ip", "-oneline", "-4", "address"], capture_output=True, text=True, timeout=_COMMAND_S, check=True
    )
    return next(
        number for number in itertools.islice(_numbers, _SUBNETS) if f" {_subnet(number)}." not in answer.stdout
    )


class Island:
    """One namespace and its cable; skips the test where it cannot be made."""

    def __init__(self) -> None:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("needs root and the program ip (package iproute2) to make a network namespace")
        number = _free_number()
        self.name = f"rosterd-{number}"
        self.cable = f"rst{number % 10**8}"
        self._net = _subnet(number)
        self._hosts = itertools.count(10)

    @property
    def address(self) -> str:
        """The island's own."""
        return f"{self._net}.2"

    @property
    def network(self) -> str:
        """Where the island and all of its neighbours are."""
        return f"{self._net}.0/24"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What goes before a command that runs on the island; it replaces itself with the command."""
        return ("ip", "netns", "exec", self.name)

    def outside(self) -> str:
        """An address out here, one more with each call."""
        address = f"{self._net}.{next(self._hosts)}"
        _ip("addr", "add", f"{address}/24", "dev", self.cable)
        return address

    def add_address(self) -> str:
        """One more address of the island's own."""
        address = f"{self._net}.{next(self._hosts)}"
        self._inside("addr", "add", f"{address}/24", "dev", "eth0")
        return address

    # --- faults -------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Pull the cable out here: on the island what is sent just goes nowhere."""
        _ip("link", "set", self.cable, "down")

    def heal(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self.cable, "up")

    def lose_gossip(self) -> None:
        """Drop what comes in from Serf's gossip port or to it; all else passes."""
        for rule in _GOSSIP:
            self._inside("rule", "add", *rule)

    def find_gossip(self) -> None:
        """Let it pass again."""
        for rule in _GOSSIP:
            self._inside("rule", "del", *rule)

    # --- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _ip("addr", "add", f"{self._net}.1/24", "dev", self.cable)
            _ip("link", "set", self.cable, "up")
            self._inside("addr", "add", f"{self.address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                self._inside("link", "set", link, "up")
            # Rules of ours go before the one that takes whatever is for this host itself.
            self._inside("rule", "add", "pref", "100", "lookup", "local")
            self._inside("rule", "del", "pref", "0")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        _ip("netns", "del", self.name)  # its end of the cable goes with it, and the other end with that

    def _inside(self, *arguments: str) -> None:
        _ip("-n", self.name, *arguments)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

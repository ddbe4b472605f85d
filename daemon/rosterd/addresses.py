"""The addresses of this machine, asked of the kernel: where a bind on every address listens.

By rtnetlink, which lists all of them: those of every interface, also further ones, IPv4 and IPv6, as they are now. The
kernel answers at once, and announces each change, so that an address that moves to this machine is known without a wait
for the next look. Where it may not be asked (a unit that forbids AF_NETLINK), that is said once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import structlog

from rosterd.model import Address

log = structlog.get_logger(__name__)

REREAD_S = 1.0
"""The kernel is asked this often even when it announces nothing: its announcements can be lost, or forbidden."""

LOOKS_APART_S = 0.05
"""A machine that gets a thousand addresses at once announces each of them; one look serves many."""

ANSWER_WITHIN_S = 1.0
"""The kernel needs a tenth of a millisecond. Whatever goes wrong, the loop does not hang for it."""

UNKNOWN = "only the agent's address is known as the balancer's own"
STALE = "the addresses that were read last, and the agent's, are known as the balancer's own"
"""What a failed look means, before and after one that went well."""

_MOST_BYTES = 65536
_HEADER = struct.Struct("=IHHII")
_ADDRESS_MESSAGE = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE, _NEW_ADDRESS, _GET_ADDRESS = 2, 3, 20, 22
_REQUEST_DUMP = 0x301
_GROUPS_OF_ADDRESSES = 0x10 | 0x100
"""`RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of linux/rtnetlink.h."""

_IFA_ADDRESS, _IFA_LOCAL = 1, 2


class LocalAddresses:
    """Tells the addresses of this machine, at first and whenever they differ."""

    def __init__(self, take: Callable[[frozenset[Address]], None], reread_s: float = REREAD_S) -> None:
        """Know none yet; `take` gets them. `reread_s` is the longest time between two looks."""
        self._take = take
        self._reread_s = reread_s
        self._found: frozenset[Address] = frozenset()
        self._is_refused = False

    def look(self) -> None:
        """Ask, and tell what is new; where the kernel does not tell, what was known stays."""
        try:
            found = read_addresses()
        except OSError as error:
            if not self._is_refused:
                log.warning("addresses.unread", error=str(error), effect=STALE if self._found else UNKNOWN)
            self._is_refused = True
            return
        if found != self._found:
            self._found = found
            self._take(found)

    async def run(self) -> None:
        """Look again at each announcement of the kernel, and every `reread_s` without one, until cancelled."""
        announced = asyncio.Event()
        with _announcements(announced.set):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._reread_s):  # wait_for of Python 3.11 can lose a cancellation
                        await announced.wait()
                announced.clear()
                self.look()
                await asyncio.sleep(LOOKS_APART_S)


@contextmanager
def _announcements(announced: Callable[[], None]) -> Iterator[None]:
    """Call back whenever addresses of this machine change; never where the kernel forbids it."""
    try:
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    except OSError:  # look() says so
        yield
        return
    loop = asyncio.get_running_loop()

    def drain() -> None:
        with suppress(OSError):  # ENOBUFS: some are lost, and a look finds what they said
            kernel.recv(_MOST_BYTES)
        announced()

    with kernel:
        try:
            kernel.bind((0, _GROUPS_OF_ADDRESSES))
        except OSError:
            yield
            return
        loop.add_reader(kernel, drain)
        try:
            yield
        finally:
            loop.remove_reader(kernel)


def read_addresses() -> frozenset[Address]:
    """Ask the kernel; OSError when it does not tell."""
    request = _HEADER.pack(_HEADER.size + _ADDRESS_MESSAGE.size, _GET_ADDRESS, _REQUEST_DUMP, 1, 0)
    found: set[Address] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(ANSWER_WITHIN_S)
        kernel.send(request + _ADDRESS_MESSAGE.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        is_done = False
        while not is_done:
            for kind, body in _messages(kernel.recv(_MOST_BYTES)):
                if kind == _ERROR:
                    raise OSError("the kernel refuses to list the addresses")
                if kind == _DONE:
                    is_done = True
                elif kind == _NEW_ADDRESS and (address := _address_in(body)) is not None:
                    found.add(address)
    return frozenset(found)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _address_in(body: bytes) -> Address | None:
    """The address itself: of a point-to-point link, `IFA_ADDRESS` is the other end's."""
    attributes = dict(_attributes(body[_ADDRESS_MESSAGE.size :]))
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    return ip_address(packed) if packed is not None and len(packed) in (4, 16) else None


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3

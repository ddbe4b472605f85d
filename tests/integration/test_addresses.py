"""Which addresses this machine has, by its kernel."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, ip_address
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from rosterd.addresses import STALE, UNKNOWN, LocalAddresses, read_addresses
from rosterd.model import Address
from tests.balancer import until
from tests.island import Island


def by_ip() -> frozenset[Address]:
    """Return what the program ip lists."""
    shown = json.loads(subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout)
    return frozenset(ip_address(each["local"]) for link in shown for each in link.get("addr_info", ()))


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs the program ip (package iproute2) to compare with")
def test_all_of_them() -> None:
    """Of every interface, further ones too, IPv4 and IPv6."""
    until(lambda: read_addresses() == by_ip(), "both to say the same; other tests give and take addresses")
    assert IPv4Address("127.0.0.1") in read_addresses()


def test_what_is_new_is_told() -> None:
    """Once, and not again while nothing changes."""
    told: list[frozenset[Address]] = []
    local = LocalAddresses(told.append)

    def is_level() -> bool:
        for _ in range(3):
            local.look()
        return told[-1] == read_addresses()

    until(is_level, "the newest to be told; other tests give and take addresses")
    assert all(before != after for before, after in pairwise(told))


@contextmanager
def no_socket() -> Iterator[None]:
    """Have no descriptor left for one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_cannot_be_asked_is_said_once() -> None:
    """It is asked again later."""
    told: list[frozenset[Address]] = []
    local = LocalAddresses(told.append)
    with no_socket(), capture_logs() as lines:
        for _ in range(3):
            local.look()
    assert [(line["event"], line["effect"]) for line in lines] == [("addresses.unread", UNKNOWN)]
    assert told == []
    local.look()
    assert IPv4Address("127.0.0.1") in told[0]


def test_what_was_read_stays_known() -> None:
    """And the log says so."""
    told: list[frozenset[Address]] = []
    local = LocalAddresses(told.append)
    local.look()
    with no_socket(), capture_logs() as lines:
        local.look()
    assert [line["effect"] for line in lines] == [STALE]
    assert len(told) == 1


async def test_new_address_is_known_when_the_kernel_announces_it() -> None:
    """The next look by the clock is an hour away, and the kernel's announcement is not waited out."""
    known: list[frozenset[Address]] = []
    local = LocalAddresses(known.append, reread_s=3600.0)
    local.look()
    following = asyncio.create_task(local.run())
    try:
        with Island() as island:
            await asyncio.sleep(0.1)  # the task listens
            further = ip_address(await asyncio.to_thread(island.outside))
            async with asyncio.timeout(10.0):
                while further not in known[-1]:  # noqa: ASYNC110  nothing announces it to the test
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(10.0):
            while further in known[-1]:  # noqa: ASYNC110  the same
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

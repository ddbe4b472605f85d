"""Trying new ports before HAProxy is asked to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosterd.errors import ConfigRefused
from rosterd.proxy.start_check import try_start
from tests.loopback import free_address

PROBE = """
import encodings.ascii, os, pathlib, sys  # what is found later may not be readable then
from rosterd.errors import ConfigRefused
from rosterd.proxy.start_check import try_start
os.setgid(65534), os.setuid(65534)
for address in sys.argv[1:]:
    try:
        try_start(f"frontend a\\n    bind {address}\\n", "", None, (2, 6), pathlib.Path("x"))
        print("free")
    except ConfigRefused:
        print("taken")
"""
HUGE = f":{'9' * 5000}"
FILE = Path("/etc/haproxy/haproxy.cfg")


@pytest.fixture
def taken() -> Iterator[tuple[str, int]]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind((free_address(), 0))
        listener.listen()
        yield listener.getsockname()


def try_new_binds(text: str, held: str | None, shown_as: Path) -> None:
    """Try what a text listens on, where HAProxy runs `held`."""
    try_start(text, held, None, (2, 6), shown_as)


def frontend(*binds: str) -> str:
    """Return a text with these addresses."""
    return "frontend a\n" + "".join(f"    bind {bind}\n" for bind in binds)


def test_a_taken_port_is_named_with_file_and_line(taken: tuple[str, int]) -> None:
    """As HAProxy names what is wrong with a line."""
    address, port = taken
    with pytest.raises(ConfigRefused, match=rf"\[/etc/haproxy/haproxy.cfg:3\].*{port} is taken"):
        try_new_binds(frontend(":1", f"{address}:{port} ssl"), frontend(":1"), FILE)


def test_a_port_that_haproxy_has_is_its_own(taken: tuple[str, int]) -> None:
    """It looks taken, by HAProxy itself; another address of the same port too."""
    address, port = taken
    try_new_binds(frontend(f"{address}:{port}", f"127.0.0.1:{port}"), frontend(f"{address}:{port}"), FILE)


def test_a_free_port_is_fine(taken: tuple[str, int]) -> None:
    """Also several, and a range of them."""
    address, _ = taken
    with socket.socket() as probe:
        probe.bind((address, 0))
        free = probe.getsockname()[1]
    try_new_binds(frontend(f"{address}:{free}", f"{address}:{free}-{free}"), "", FILE)


def test_ipv6_beside_ipv4(taken: tuple[str, int]) -> None:
    """Who has a port of an IPv4 address does not have that of all IPv6 addresses; who has that one, does."""
    _, port = taken
    try_new_binds(frontend(f"[::]:{port} v6only"), "", FILE)
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::", 0))
        listener.listen()
        with pytest.raises(ConfigRefused):
            try_new_binds(frontend(f"ipv6@:{listener.getsockname()[1]}"), "", FILE)


@pytest.mark.parametrize(
    "bind",
    [
        "/run/x.sock",
        "unix@x",
        "abns@x",
        "fd@3",
        "${ADDRESS}:80",
        "host.example:80",
        ":",
        "300.0.0.1:80",
        ":99999",
        f":{'9' * 5000}",
    ],
)
def test_what_cannot_be_tried_proves_nothing(bind: str) -> None:
    """HAProxy says what is wrong with it, if anything is."""
    try_new_binds(frontend(bind), "", FILE)


@pytest.mark.parametrize("held", ["{address}:{port}", ":{port}", "*:{port}"])
def test_only_what_overlaps_is_haproxys_own(taken: tuple[str, int], held: str) -> None:
    """The same address, or every one; another address with the same port is tried."""
    address, port = taken
    try_new_binds(frontend(f"{address}:{port}"), frontend(held.format(address=address, port=port)), FILE)
    with pytest.raises(ConfigRefused):
        try_new_binds(frontend(f"127.0.0.1:{port}", f"{address}:{port}"), frontend(f"127.0.0.1:{port}"), FILE)


def test_the_runtime_api_over_tcp_is_tried_too(taken: tuple[str, int]) -> None:
    """It is a listener like any other."""
    address, port = taken
    with pytest.raises(ConfigRefused, match=f":2.*{port} is taken"):
        try_new_binds(f"global\n    stats socket {address}:{port} level admin\n", "", FILE)


def test_a_port_that_takes_rights_is_looked_up(taken: tuple[str, int]) -> None:
    """Who may not bind it reads the kernel's table of listeners; here a user without rights does."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to listen on a privileged port and to give up the right to")
    with socket.socket() as listener, socket.socket(socket.AF_INET6) as listener6:
        listener.bind((taken[0], 199))
        listener.listen()
        listener6.bind(("::1", 198))
        listener6.listen()
        done = subprocess.run(
            [sys.executable, "-c", PROBE, f"{taken[0]}:199", f"{taken[0]}:197", "[::1]:198", "[::1]:197"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.split() == ["taken", "free", "taken", "free"]


ABSENT = ("192.0.2.77", "2001:db8::77")
"""Addresses for documentation: no machine has them."""


@pytest.mark.parametrize("address", ABSENT)
@pytest.mark.parametrize("held", [None, ""])
def test_address_of_another_machine_is_refused_with_the_remedy(address: str, held: str | None) -> None:
    """Known or not what HAProxy runs: it cannot be HAProxy's own."""
    family = "ipv6" if ":" in address else "ipv4"
    with pytest.raises(ConfigRefused, match=rf":2.*does not have the address {address}.*net.{family}.ip_nonlocal_bind"):
        try_new_binds(frontend(f"[{address}]:8080" if family == "ipv6" else f"{address}:8080"), held, FILE)


@pytest.mark.parametrize("address", ABSENT)
def test_transparent_line_may_have_the_address_of_another_machine(address: str) -> None:
    """HAProxy listens there before the address comes."""
    bind = f"[{address}]:8080" if ":" in address else f"{address}:8080"
    try_new_binds(frontend(f"{bind} transparent"), "", FILE)


def test_address_that_has_gone_since_haproxy_listens_there_stays() -> None:
    """A virtual address moves to the other balancer, and the listener is handed on."""
    text = frontend("192.0.2.77:8080")
    try_new_binds(text, text, FILE)


SECTIONS = (
    "listen a\n    bind {}\n",
    "peers a\n    bind {}\n",
    "ring a\n    bind {}\n",
    "log-forward a\n    bind {}\n",
    "global\n    localpeer me\npeers a\n    peer me {}\n    peer other 127.0.0.1:1\n",
    "global\n    localpeer me\npeers a\n    server me {}\n",
)


@pytest.mark.parametrize("text", SECTIONS)
def test_all_that_listens_is_tried(taken: tuple[str, int], text: str) -> None:
    """In whatever section: a start fails on each of them."""
    address, port = taken
    with pytest.raises(ConfigRefused, match=f"{port} is taken"):
        try_new_binds(text.format(f"{address}:{port}"), "", FILE)
    with pytest.raises(ConfigRefused, match="does not have the address"):
        try_new_binds(text.format("192.0.2.77:8080"), "", FILE)


def test_peer_of_another_name_is_not_ours_to_listen_for(taken: tuple[str, int]) -> None:
    """The port is taken by that peer itself."""
    try_new_binds(f"global\n    localpeer me\npeers a\n    peer other {taken[0]}:{taken[1]}\n", "", FILE)


@pytest.mark.parametrize("line", ["dgram-bind {}", "bind quic4@{}", "bind udp@{}"])
def test_datagram_port_is_tried_apart_from_the_stream_port(taken: tuple[str, int], line: str) -> None:
    """A number is one port for datagrams and another for streams."""
    address, _ = taken
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((address, 0))
        mine = receiver.getsockname()[1]
        with pytest.raises(ConfigRefused, match=f"{mine} is taken"):
            try_new_binds(f"log-forward a\n    {line.format(f'{address}:{mine}')}\n", "", FILE)
        text = f"log-forward a\n    bind {address}:{mine}\n"
        with pytest.raises(ConfigRefused, match=f"{mine} is taken"):
            try_new_binds(f"{text}    {line.format(f'{address}:{mine}')}\n", text, FILE)


@pytest.mark.parametrize("bind", ["{} interface eth9", "{} namespace blue"])
def test_listener_of_another_network_proves_nothing(taken: tuple[str, int], bind: str) -> None:
    """The trial is made in this process's own network."""
    try_new_binds(frontend(bind.format(f"{taken[0]}:{taken[1]}")), "", FILE)


def test_conditional_lines_are_not_tried(taken: tuple[str, int]) -> None:
    """HAProxy may leave such lines out."""
    address, port = taken
    try_new_binds(f"frontend a\n.if feature(QUIC)\n    bind {address}:{port}\n.endif\n", "", FILE)

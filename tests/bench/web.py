"""Many web servers in one cheap process: `python -m tests.bench.web PORT`.

Each line on standard input is an order, and is answered with `done` (or what went wrong) on standard output:

    open ADDRESS     listen there, and answer each request with 200 and the header `x-backend-ip: ADDRESS`
    close ADDRESS    stop in order: listen no more, and end its connections, which are idle between two requests

The end of standard input ends the process. The bench must not measure its own web servers: one process serves all
nodes, one answer is one `recv` and one `send`.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from tests.bench.event_loop import Poller, leave_the_end_to_the_parent

_LOOPBACK = ip_network("127.0.0.0/8")
_END = b"\r\n\r\n"
_ORDERS = 0
_BACKLOG = 1024
_LARGEST_READ = 65_536
_BODY = b"ok\n"


@dataclass(slots=True)
class _Site:
    """One address: its listener, its answers, its connections."""

    listener: socket.socket
    get: bytes
    head: bytes
    connections: dict[int, socket.socket] = field(default_factory=dict)

    @classmethod
    def at(cls, address: str, port: int) -> _Site:
        if ip_address(address) not in _LOOPBACK:
            raise ValueError(f"{address}: not in {_LOOPBACK}")
        listener = socket.create_server((address, port), backlog=_BACKLOG)
        listener.setblocking(False)
        head = f"HTTP/1.1 200 OK\r\nx-backend-ip: {address}\r\nContent-Length: {len(_BODY)}\r\n\r\n".encode()
        return cls(listener, head + _BODY, head)

    def answer(self, request: bytes) -> bytes:
        """The answers to some whole requests, of which browsers and proxies send one at a time."""
        answer = self.head if request.startswith(b"HEAD ") else self.get
        return answer * request.count(_END)


class WebProcess:
    """All sites, in one thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poller = Poller()
        self._sites: dict[str, _Site] = {}
        self._listeners: dict[int, _Site] = {}
        self._lines: dict[int, _Site] = {}
        self._begun: dict[int, bytes] = {}

    def run(self) -> None:
        """Serve until standard input ends."""
        self._poller.watch(_ORDERS)
        while True:
            for number, _ in self._poller.ready(None):
                if number in self._lines:
                    self._serve(number, self._lines[number])
                elif number in self._listeners:
                    self._accept(self._listeners[number])
                elif number == _ORDERS and not self._obey():
                    return

    def _obey(self) -> bool:
        data = os.read(_ORDERS, _LARGEST_READ)
        for line in data.decode().splitlines():
            order, _, address = line.partition(" ")
            try:
                self._open(address) if order == "open" else self._close(address)
            except (OSError, ValueError, KeyError) as error:
                sys.stdout.write(f"{error!r}\n")
            else:
                sys.stdout.write("done\n")
            sys.stdout.flush()
        return data != b""

    def _open(self, address: str) -> None:
        site = _Site.at(address, self._port)
        self._sites[address] = self._listeners[site.listener.fileno()] = site
        self._poller.watch(site.listener)

    def _close(self, address: str) -> None:
        site = self._sites.pop(address)
        del self._listeners[site.listener.fileno()]
        site.listener.close()
        for number in tuple(site.connections):
            self._hang_up(number, site)

    def _accept(self, site: _Site) -> None:
        while True:
            try:
                connection, _ = site.listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            site.connections[connection.fileno()] = connection
            self._lines[connection.fileno()] = site
            self._poller.watch(connection)

    def _serve(self, number: int, site: _Site) -> None:
        connection = site.connections[number]
        try:
            data = connection.recv(_LARGEST_READ)
            if not data:
                self._hang_up(number, site)
                return
            request = self._begun.pop(number, b"") + data
            if not request.endswith(_END):
                self._begun[number] = request
                return
            connection.send(site.answer(request))
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(number, site)
            return
        if b" HTTP/1.0\r\n" in request:  # a health check: it has what it wants
            self._hang_up(number, site)

    def _hang_up(self, number: int, site: _Site) -> None:
        self._begun.pop(number, None)
        del self._lines[number]
        site.connections.pop(number).close()


if __name__ == "__main__":
    leave_the_end_to_the_parent()
    gc.disable()  # nothing here makes circles, and a collection is a pause
    WebProcess(int(sys.argv[1])).run()

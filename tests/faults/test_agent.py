"""The balancer's agent fails, or what lies between it and the daemon: nothing changes, it is told, and it heals."""

from __future__ import annotations

import base64
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import pytest

from tests.balancer import Balancer, throughout
from tests.frozen import freeze
from tests.loopback import RPC_PORT, free_port

STOPPED_S = 60.0
STALE_KEY = base64.b64encode(bytes(32)).decode()
EVENTS = 10_000
MOST_GROWTH_KB = 30_000
HEALED_WITHIN_S = 1.0
RECONNECTED_WITHIN_S = 2.0
"""The first wait before connecting again, and the last one before that, which was longer."""


def test_an_agent_that_stands_still_for_a_minute(tmp_path: Path) -> None:
    """HAProxy goes on with everybody; the daemon says since when it knows nothing; a node that came meanwhile is in."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        webs = [balancer.add_web() for _ in range(2)]
        balancer.wait_served(*webs)
        names = {web.name for web in webs}
        with balancer.traffic():
            mark = balancer.daemon.mark()
            balancer.agent.pause()
            balancer.daemon.wait_event("agent.lost", mark)
            newcomer = balancer.add_web(join=webs[0].agent.gossip)
            throughout(lambda: balancer.running_names() == names, STOPPED_S - 5.0, "every server in HAProxy")
            status = balancer.daemon.status()
            assert status["ready"] is False
            assert status["agent"]["stale"] is True
            assert STOPPED_S - 10.0 < status["agent"]["stale_s"] < STOPPED_S + 5.0
            assert status["agent"]["error"] != ""
            balancer.agent.resume()
            balancer.wait_served(*webs, newcomer)
        balancer.wait_ready()
        assert balancer.daemon.status()["reloads"] == 0


def test_an_agent_that_is_restarted_with_another_gossip_key(tmp_path: Path) -> None:
    """It is alone then, which is no news of the others: they are held, and all is well when it has the right one."""
    key = base64.b64encode(os.urandom(32)).decode()
    with Balancer(tmp_path, encrypt_key=key) as balancer:
        balancer.start()
        webs = [balancer.add_web() for _ in range(2)]
        balancer.wait_served(*webs)
        names = {web.name for web in webs}
        with balancer.traffic():
            for wrong_or_right in (STALE_KEY, key):
                balancer.agent.leave()
                balancer.agent.encrypt_key = wrong_or_right
                mark = balancer.daemon.mark()
                balancer.agent.start()
                balancer.daemon.wait_event("agent.reached", mark)
                if wrong_or_right == STALE_KEY:
                    throughout(lambda: balancer.running_names() == names, 5.0, "every server in HAProxy")
                    assert {balancer.daemon.member(name)["status"] for name in names} == {"unseen"}
            balancer.agent.join_now(webs[0].agent.gossip)
            balancer.until(
                lambda: {balancer.daemon.member(name)["status"] for name in names} == {"alive"}, "them to be back"
            )
        assert balancer.daemon.status()["reloads"] == 0


def test_a_daemon_that_is_slower_than_ten_thousand_events(tmp_path: Path) -> None:
    """The agent drops what does not fit; nothing that matters is missed, and memory does not grow with it."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        freeze(balancer.daemon.pid)
        before = resident_kb(balancer.daemon.pid)
        fire_events(balancer.agent.rpc_address, EVENTS)
        second = balancer.add_web()
        balancer.wait_joined(second)
        os.kill(balancer.daemon.pid, signal.SIGCONT)
        balancer.until(lambda: second.name in balancer.running_names(), "the newcomer", HEALED_WITHIN_S)
        balancer.wait_served(first, second)
        assert resident_kb(balancer.daemon.pid) < before + MOST_GROWTH_KB


@pytest.mark.parametrize("fault", ["stall", "cut", "garbage", "silence"])
def test_a_line_to_the_agent_that_fails(tmp_path: Path, fault: str) -> None:
    """Bytes that come late, half, wrong or not at all; what changed meanwhile is in force when it is over."""
    with Balancer(tmp_path) as balancer, relayed(balancer) as relay:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        with balancer.traffic():
            mark = balancer.daemon.mark()
            relay.fault = fault
            balancer.daemon.wait_event("agent.lost", mark)
            second = balancer.add_web()
            balancer.wait_joined(second)
            throughout(lambda: balancer.running_names() == {first.name}, 2.0, "the first in HAProxy")
            relay.fault = ""
            balancer.until(lambda: second.name in balancer.running_names(), "the newcomer", RECONNECTED_WITHIN_S)
            balancer.wait_served(first, second)


def resident_kb(pid: int) -> int:
    """Return a process's memory in kilobytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def fire_events(rpc: tuple[str, int], number: int) -> None:
    """Have an agent send so many user events."""
    with socket.create_connection(rpc, timeout=30) as line:
        line.sendall(msgpack.packb({"Command": "handshake", "Seq": 0}) + msgpack.packb({"Version": 1}))
        answers = msgpack.Unpacker()
        for seq in range(1, number + 1):
            event = {"Name": f"e{seq % 100}", "Payload": b"x" * 200, "Coalesce": False}
            line.sendall(msgpack.packb({"Command": "event", "Seq": seq}) + msgpack.packb(event))
            if seq % 500 == 0:
                take_answers(line, answers, seq)


def take_answers(line: socket.socket, answers: msgpack.Unpacker, last: int) -> None:
    """Read answers up to that of a request."""
    while True:
        answers.feed(line.recv(65536))
        if any(answer["Seq"] == last for answer in answers):
            return


# --- a line that can fail ---------------------------------------------------------------------------------------


@dataclass
class Relay:
    """Hands bytes on between whoever connects and an agent, and does to the agent's what `fault` says.

    stall: nothing is read of them; cut: half of a chunk, and the end; garbage: other bytes; silence: they are dropped.
    """

    listener: socket.socket
    agent: tuple[str, int]
    fault: str = ""
    _ends: list[socket.socket] = field(default_factory=list)

    def serve(self) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                agent = socket.create_connection(self.agent, timeout=5)
            except OSError:
                client.close()
                continue
            agent.settimeout(None)
            self._ends += [client, agent]
            threading.Thread(target=self._hand_on, args=(client, agent), daemon=True).start()
            threading.Thread(target=self._spoil, args=(agent, client), daemon=True).start()

    def close(self) -> None:
        """End everything."""
        self.listener.shutdown(socket.SHUT_RDWR)
        for end in (self.listener, *self._ends):
            end.close()

    def _hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _spoil(self, agent: socket.socket, client: socket.socket) -> None:
        try:
            while data := agent.recv(65536):
                while self.fault == "stall":
                    time.sleep(0.01)
                if self.fault == "cut":
                    client.sendall(data[: len(data) // 2])
                    break
                if self.fault == "garbage":
                    client.sendall(bytes(byte ^ 0x5A for byte in data))
                elif self.fault == "":
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


@contextmanager
def relayed(balancer: Balancer) -> Iterator[Relay]:
    """Put a relay between a daemon that is not started yet and its agent."""
    port = free_port(balancer.address)
    relay = Relay(socket.create_server((balancer.address, port)), (balancer.address, RPC_PORT))
    balancer.settings["serf"]["rpc_address"] = f"{balancer.address}:{port}"
    balancer.write_settings()
    thread = threading.Thread(target=relay.serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.fault = ""
        relay.close()
        thread.join()

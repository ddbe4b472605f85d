"""What a container does before it is a node, when a program of it cannot run, and how its health is asked."""

from __future__ import annotations

import io
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from compose.node.container import make_key, prepare
from compose.node.fatal import listen
from compose.node.healthy import problem_with


class TestPrepare:
    """Places and keys."""

    def environ(self, tmp_path: Path, **more: str) -> dict[str, str]:
        """Return what the image sets, below a directory."""
        for name in ("run", "keys"):
            (tmp_path / name).mkdir(exist_ok=True)
        return {
            "NODE_LOGS": str(tmp_path / "run" / "logs"),
            "NODE_SPOOL": str(tmp_path / "spool"),
            "NODE": "web",
            "SERF_RPC_AUTH_FILE": str(tmp_path / "run" / "rpc_auth"),
            "SERF_ENCRYPT_KEY_FILE": str(tmp_path / "keys" / "encrypt_key"),
            **more,
        }

    def test_what_is_missing_is_made(self, tmp_path: Path) -> None:
        """The folder of the logs and two keys, for their owner only; nothing else is left behind."""
        prepare(self.environ(tmp_path))
        assert (tmp_path / "run" / "logs").is_dir()
        for path in (tmp_path / "run" / "rpc_auth", tmp_path / "keys" / "encrypt_key"):
            assert len(path.read_text()) == 44
            assert stat.S_IMODE(path.stat().st_mode) == 0o400
        assert [path.name for path in (tmp_path / "keys").iterdir()] == ["encrypt_key"]

    def test_each_node_has_a_spool_of_its_own_and_what_is_long_gone_goes(self, tmp_path: Path) -> None:
        """Two weeks after its last word; a file that is younger than its directory counts."""
        environ = self.environ(tmp_path)
        long_ago = time.time() - 15 * 86_400
        for node in ("web", "gone", "old-but-busy"):
            (tmp_path / "spool" / node).mkdir(parents=True)
            (tmp_path / "spool" / node / "records.qi").touch()
        os.utime(tmp_path / "spool" / "gone" / "records.qi", (long_ago, long_ago))
        for node in ("web", "gone", "old-but-busy"):
            os.utime(tmp_path / "spool" / node, (long_ago, long_ago))
        assert prepare(environ)["NODE_SPOOL"] == str(tmp_path / "spool" / "web")
        assert {path.name for path in (tmp_path / "spool").iterdir()} == {"web", "old-but-busy"}

    def test_keys_that_are_there_stay(self, tmp_path: Path) -> None:
        """A restart, and every other node on the same volume."""
        environ = self.environ(tmp_path)
        prepare(environ)
        before = (tmp_path / "keys" / "encrypt_key").read_text()
        prepare(environ)
        assert (tmp_path / "keys" / "encrypt_key").read_text() == before

    def test_of_nodes_that_come_at_once_one_makes_the_key(self, tmp_path: Path) -> None:
        """All use the same."""
        path = tmp_path / "key"
        barrier = threading.Barrier(8)
        seen: list[str] = []

        def start() -> None:
            barrier.wait()
            make_key(path)
            seen.append(path.read_text())

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert len(set(seen)) == 1
        assert [found.name for found in tmp_path.iterdir()] == ["key"]

    def test_the_name_of_the_node(self, tmp_path: Path) -> None:
        """As given, else the container's host name."""
        assert prepare(self.environ(tmp_path, NODE="ha"))["NODE"] == "ha"
        assert prepare(self.environ(tmp_path, NODE=""))["NODE"] == socket.gethostname()

    def test_the_address_of_its_agent(self, tmp_path: Path) -> None:
        """That of the name which says on which network; none where there is but one."""
        assert prepare(self.environ(tmp_path, NODE_HOST="localhost"))["NODE_ADDRESS"] == "127.0.0.1"
        assert "NODE_ADDRESS" not in prepare(self.environ(tmp_path))

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        """The error has its path."""
        environ = self.environ(tmp_path, SERF_ENCRYPT_KEY_FILE=str(tmp_path / "nowhere" / "key"))
        with pytest.raises(OSError, match="nowhere"):
            prepare(environ)


class TestFatal:
    """The event listener of supervisord."""

    EVENT = "ver:3.0 server:supervisor serial:1 pool:fatal poolserial:1 eventname:{name} len:{length}\n{payload}"
    PAYLOAD = "processname:haproxy groupname:haproxy from_state:BACKOFF"

    def told(self, *names: str) -> tuple[list[str], str]:
        """Return who was given up for these events, and what was answered."""
        text = "".join(self.EVENT.format(name=name, length=len(self.PAYLOAD), payload=self.PAYLOAD) for name in names)
        given_up: list[str] = []
        answers = io.StringIO()
        listen(io.StringIO(text), answers, given_up.append)
        return given_up, answers.getvalue()

    def test_a_program_that_cannot_run_is_given_up(self) -> None:
        """And the event is answered."""
        assert self.told("PROCESS_STATE_FATAL") == (["haproxy"], "READY\nRESULT 2\nOKREADY\n")

    def test_other_events_are_answered_only(self) -> None:
        """There are none by our definition; should there be, nothing ends."""
        given_up, answers = self.told("PROCESS_STATE_RUNNING", "TICK_5")
        assert given_up == []
        assert answers.count("RESULT 2\nOK") == 2

    def test_the_end_of_supervisord(self) -> None:
        """The stream ends, and so does the listener."""
        assert self.told() == ([], "READY\n")


class _Page(BaseHTTPRequestHandler):
    """Answers `/` and `/readyz`, each with a status of its own."""

    def do_GET(self) -> None:
        """Not ready."""
        self.send_response(503)
        self.end_headers()

    def do_HEAD(self) -> None:
        """Alive."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class TestHealthy:
    """What HEALTHCHECK asks."""

    @pytest.fixture
    def port(self) -> Iterator[int]:
        """Return the port of a program that answers."""
        with HTTPServer(("127.0.0.1", 0), _Page) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            yield server.server_port
            server.shutdown()
            thread.join()

    def test_one_that_answers(self, port: int) -> None:
        """With 200, or at all."""
        assert problem_with(f"http://127.0.0.1:{port}/") == ""
        assert problem_with(f"tcp://127.0.0.1:{port}") == ""

    def test_one_that_is_not_ready(self, port: int) -> None:
        """Its status is told."""
        assert problem_with(f"http://127.0.0.1:{port}/readyz") == f"http://127.0.0.1:{port}/readyz: status 503"

    @pytest.mark.parametrize(("scheme", "why"), [("http", "refused"), ("tcp", "nobody listens")])
    def test_one_that_is_not_there(self, scheme: str, why: str) -> None:
        """Why, in words."""
        assert why in problem_with(f"{scheme}://127.0.0.1:9/")

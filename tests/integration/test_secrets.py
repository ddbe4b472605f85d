"""Keys are in the files that hold them, and nowhere else: no log, no answer, no command line, no traceback.

And what rosterd and HAProxy open or write is for those only whom it concerns.
"""

from __future__ import annotations

import base64
import http.client
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.balancer import ADMIN_PORT, Balancer

RPC_KEY = "canary-of-the-rpc-key"
GOSSIP_KEY = base64.b64encode(b"canary-of-the-gossip-key-32bytes").decode()
WRONG_KEY = "canary-of-a-wrong-key"
CANARIES = (RPC_KEY, GOSSIP_KEY, WRONG_KEY)


@pytest.fixture
def balancer(tmp_path: Path) -> Balancer:
    """A balancer with keys, not started yet."""
    made = Balancer(tmp_path, encrypt_key=GOSSIP_KEY)
    made.agent.auth_key = RPC_KEY
    key_file = tmp_path / "rpc_auth"
    key_file.touch(mode=0o600)
    key_file.write_text(RPC_KEY)
    made.settings["serf"]["auth_key_file"] = str(key_file)
    made.write_settings()
    return made


def command_lines() -> str:
    """Return what everybody on this machine can read in a list of processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return "\n".join(lines)


def written_files(directory: Path) -> str:
    """Return all that was written below a directory, but the two files that are there to hold a key."""
    holders = {"rpc_auth", "serf.json"}
    paths = (path for path in directory.rglob("*") if path.is_file() and path.name not in holders)
    return "\n".join(path.read_text(errors="replace") for path in paths)


def test_no_key_is_told_to_anybody(balancer: Balancer, tmp_path: Path) -> None:
    """Through a life with everything in it: a start, members, commands, a wrong key, settings that are wrong, a bug."""
    with balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        told = [command_lines(), str(balancer.daemon.status()), str(balancer.daemon.member(web.name))]
        for words in (["status"], ["members"], ["status", "--json"], ["render"], ["check"], ["plan"]):
            done = balancer.daemon.command(*words)
            told += [done.stdout, done.stderr]

        (tmp_path / "rpc_auth").write_text(WRONG_KEY)
        balancer.daemon.end()
        balancer.daemon.spawn()
        told.append(command_lines())
        assert balancer.daemon.exit_code() != 0  # it says that the key was refused

        for changes in ({"serf": {"auth_key": WRONG_KEY}}, {"serf": {"auth_key": WRONG_KEY, "auth_key_file": ""}}):
            balancer.write_settings({**changes, "log": {"level": "no such level"}})
            done = balancer.daemon.command("run")
            assert done.returncode != 0
            assert "log.level" in done.stderr
            told += [done.stdout, done.stderr]
        told.append(traceback_with_settings(tmp_path / "rpc_auth"))
        balancer.write_settings()
        (tmp_path / "rpc_auth").write_text(RPC_KEY)
        balancer.daemon.start()
        balancer.wait_ready()
    told.append(written_files(tmp_path))
    for canary in CANARIES:
        assert [text[max(0, at - 100) : at + 50] for text in told if (at := text.find(canary)) >= 0] == []


def traceback_with_settings(key_file: Path) -> str:
    """Return what a bug prints while the key is in a variable of the frame that fails."""
    program = f"""
import sys, time
import structlog
from rosterd import logs
from rosterd.stdlib_logs import StdlibLogs
from rosterd.log_writer import LogWriter
from rosterd.settings import Settings
writer = LogWriter(sys.stderr.fileno())
logs.configure("info", "json", lambda _logger, _method, event: event, writer, StdlibLogs(time.monotonic))
def fail():
    settings = Settings.model_validate({{"serf": {{"auth_key_file": {str(key_file)!r}}}}})
    key = settings.serf.auth_key.get_secret_value()
    assert len(key) > 10
    raise RuntimeError(f"a bug with {{settings}} in sight")
try:
    fail()
except RuntimeError:
    structlog.get_logger().exception("turn.failed")
writer.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert "turn.failed" in done.stderr
    assert "a bug with" in done.stderr
    return done.stdout + done.stderr


def test_what_is_opened_and_written_is_for_few(balancer: Balancer, tmp_path: Path) -> None:
    """Sockets of HAProxy for their owner and group; files that rosterd makes, not for everybody."""
    before = os.umask(0o022)
    try:
        with balancer:
            balancer.start()
            web = balancer.add_web()
            balancer.wait_served(web)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes["run.sock"] & 0o007 == 0
    for name in ("haproxy.cfg", "haproxy.cfg.good"):
        assert modes[name] & 0o007 == 0, name


def test_a_file_keeps_its_mode_and_owner(balancer: Balancer, tmp_path: Path) -> None:
    """Somebody gave it to another group, for a reason; every version of it after that has the same."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file away")
    with balancer:
        balancer.start()
        config = tmp_path / "haproxy.cfg"
        os.chown(config, 1234, 2345)
        config.chmod(0o604)
        web = balancer.add_web()
        balancer.wait_served(web)
        assert web.name in config.read_text()
        found = config.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o604)


def test_the_admin_interface_takes_no_orders(balancer: Balancer) -> None:
    """It is there to be read: whatever else is asked is refused, and nothing happens."""
    with balancer:
        balancer.start()
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in ("/v1/status", "/v1/members", "/healthz", "/readyz", "/"):
                connection = http.client.HTTPConnection(balancer.address, ADMIN_PORT, timeout=5)
                connection.request(method, path, body=b"{}")
                assert connection.getresponse().status in {404, 405}
                connection.close()
        balancer.wait_ready()

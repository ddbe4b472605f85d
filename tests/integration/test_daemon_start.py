"""What keeps the daemon from starting, with which message and exit code; and what it starts in spite of."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer import ADMIN_PORT, Balancer, replace, throughout
from tests.haproxy_process import BINARY


@pytest.fixture
def balancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer of which nothing runs."""
    with Balancer(tmp_path_factory.mktemp("b")) as made:
        yield made


def refusal(balancer: Balancer, code: int) -> list[str]:
    """Start the daemon, which must end by itself with this code; return what it said that is no log line."""
    balancer.daemon.spawn()
    assert balancer.daemon.exit_code() == code
    lines = balancer.daemon.log.splitlines()
    return [line.removeprefix("rosterd: ") for line in lines if line.startswith("rosterd: ")]


# --- what it cannot start with ----------------------------------------------------------------------------------


def test_wrong_settings(balancer: Balancer) -> None:
    """Every mistake on a line of its own with its key: code 3."""
    balancer.write_settings({"reload": {"quiet_s": -1}, "admin": {"listen": "nowhere"}, "proxy": {"colour": "red"}})
    lines = refusal(balancer, 3)
    assert sorted(line.partition(": ")[0] for line in lines) == ["admin.listen", "proxy.colour", "reload.quiet_s"]


def test_no_settings_file(balancer: Balancer) -> None:
    """The file is named: code 3."""
    balancer.daemon.settings_file.unlink()
    assert refusal(balancer, 3) == [f"{balancer.daemon.settings_file}: cannot be read: No such file or directory"]


def test_a_wrong_variable(balancer: Balancer) -> None:
    """The environment is read like the file, and its mistakes are told like the file's: code 3."""
    balancer.daemon.environ = {"ROSTERD_RELOAD__QUIET_S": "soon"}
    (line,) = refusal(balancer, 3)
    assert line.startswith("reload.quiet_s: ")


def test_no_template(balancer: Balancer) -> None:
    """Without a last good one there is nothing to go on with: code 4."""
    balancer.template.unlink()
    (line,) = refusal(balancer, 4)
    assert line.startswith(f"{balancer.template}: cannot be read")
    assert line.endswith("No such file or directory; it is named by proxy.template_file")


def test_a_broken_template(balancer: Balancer) -> None:
    """File and line: code 4."""
    balancer.template.write_text("global\n{% if %}\n")
    (line,) = refusal(balancer, 4)
    assert line.startswith(f"{balancer.template}:2: ")


def test_a_wrong_key(balancer: Balancer) -> None:
    """The agent never accepted it, so trying again cannot help: code 5, and the key is shown nowhere."""
    balancer.agent.auth_key = "right"
    balancer.agent.start()
    balancer.write_settings({"serf": {"auth_key": "wr0ng-key"}})
    (line,) = refusal(balancer, 5)
    assert line.startswith(f"Serf agent at {balancer.address}:7373: ")
    assert "auth key" in line
    assert "wr0ng-key" not in balancer.daemon.log


def test_the_admin_port_is_taken(balancer: Balancer) -> None:
    """By another program: code 9, and the address is named."""
    with socket.create_server((balancer.address, ADMIN_PORT)):
        (line,) = refusal(balancer, 9)
    assert line.startswith(f"admin.listen {balancer.address}:{ADMIN_PORT}: cannot be listened on: ")
    assert line.lower().endswith("address already in use")


def test_a_second_daemon(balancer: Balancer) -> None:
    """Started by mistake beside the first it ends with code 9, and leaves the files of the first alone."""
    balancer.start()
    before, first = balancer.file_identity(), balancer.daemon.process
    candidate = balancer.directory / ".haproxy.cfg.candidate-of-the-first"
    candidate.write_text("in the middle of a check")
    try:
        refusal(balancer, 9)
        assert candidate.exists()
        assert balancer.file_identity() == before
        assert balancer.daemon.status()["ready"] is True
    finally:
        balancer.daemon.process = first


# --- what it starts in spite of ---------------------------------------------------------------------------------


def test_nobody_is_there_yet(balancer: Balancer) -> None:
    """No agent, no HAProxy, no haproxy program: it says so once, stays, and all is well when they come."""
    program = balancer.directory / "haproxy"
    balancer.write_settings({"proxy": {"binary": str(program)}})
    balancer.daemon.start()
    failed = balancer.daemon.wait_event("apply.failed")
    assert failed["error"].startswith(f"'{program}' ")
    assert "cannot be run: No such file or directory" in failed["error"]
    balancer.daemon.wait_event("agent.lost")
    balancer.daemon.wait_event("proxy.lost")
    assert balancer.daemon.status()["ready"] is False
    assert not balancer.haproxy.config.exists()

    program.symlink_to(which(BINARY))
    balancer.agent.start()
    balancer.start_haproxy()
    web = balancer.add_web()
    balancer.wait_served(web)
    balancer.daemon.only_event("proxy.lost")


def test_a_key_that_is_changed_under_it(balancer: Balancer) -> None:
    """Once the agent has accepted it, a refusal is lived with like any other loss, until the key is back."""
    balancer.agent.auth_key = "right"
    balancer.write_settings({"serf": {"auth_key": "right"}})
    balancer.start()
    before = balancer.file_identity()
    balancer.agent.kill()
    balancer.agent.auth_key = "other"
    mark = balancer.daemon.mark()
    balancer.agent.start()
    balancer.until(lambda: "auth key" in balancer.daemon.status()["agent"]["error"], "the refusal in the status")
    throughout(lambda: balancer.daemon.status()["agent"]["reachable"] is False, 0.5, "the refusal")
    balancer.agent.kill()
    balancer.agent.auth_key = "right"
    balancer.agent.start()
    balancer.daemon.wait_event("agent.reached", mark)
    balancer.wait_ready()
    assert balancer.file_identity() == before


def which(program: str) -> Path:
    """Return where a program is."""
    found = shutil.which(program)
    assert found is not None
    return Path(found)


def test_template_that_breaks_rules_is_used_at_a_first_start_and_named(tmp_path: Path) -> None:
    """There is nothing better: HAProxy gets the servers, and the log and the status say what is wrong."""
    with Balancer(tmp_path, {"reload": {"least_interval_s": 0.1}}) as balancer:
        source = balancer.template.read_text()
        replace(balancer.template, source.replace(" id {{ server.id }}", ""))
        balancer.agent.start()
        mark = balancer.daemon.mark()
        balancer.daemon.start()
        line = balancer.daemon.wait_event("edit.rejected", mark)
        assert "a server line has no `id`: write `id {{ server.id }}`" in line["error"]
        assert line["effect"] == "they are used as far as they go: there are no last good ones"
        balancer.until(balancer.haproxy.config.exists, "the configuration file")
        balancer.haproxy.start()
        web = balancer.add_web()
        balancer.until(lambda: balancer.answering(4) == {web.address}, "answers of the web node")
        assert balancer.daemon.status()["blueprint"]["error"] == line["error"]
        replace(balancer.template, source)
        balancer.daemon.wait_event("edit.accepted", mark)
        balancer.wait_content()

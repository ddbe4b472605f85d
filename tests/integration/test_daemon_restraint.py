"""What the daemon must not do: give up servers for want of news, reload for ever, spin."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from rosterd.words import OPEN_GOSSIP
from tests.balancer import Balancer, throughout

QUIET = {"reload": {"quiet_s": 1.5, "longest_s": 3.0}}
"""A daemon that takes its time, so that HAProxy can be lost while a reload waits."""


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_edit_that_leaves_out_the_weight_is_rejected_without_a_reload(tmp_path: Path) -> None:
    """HAProxy would never have the weight that is compared, and would be reloaded for it without end."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web(weight="7")
        balancer.wait_served(web)
        reloads = balancer.daemon.status()["reloads"]
        mark, good = balancer.daemon.mark(), balancer.template.read_text()
        broken = good.replace(' weight {{ 0 if server.state.value == "drain" else server.weight }}', "")
        assert broken != good
        balancer.edit_template(broken)
        error = balancer.daemon.wait_event("edit.rejected", mark)["error"]
        assert "a server line has no `weight" in error
        balancer.wait_content()
        running = balancer.running_server(web.name)
        assert running is not None
        assert running.weight == 7
        throughout(lambda: balancer.daemon.status()["reloads"] == reloads, 2, "no reload")
        assert balancer.daemon.status()["blueprint"]["error"] == error


def test_a_file_with_servers_outlives_a_start_without_news(tmp_path: Path) -> None:
    """HAProxy comes up late and the agent knows only itself: the file keeps its servers, and HAProxy's are held."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        balancer.wait_content()
        assert balancer.daemon.end() == 0
        balancer.kill_haproxy()
        balancer.agent.kill()
        web.agent.kill()  # so that nobody tells the new agent of it; its server still answers
        file = balancer.haproxy.config.read_text()

        balancer.agent.start()
        balancer.daemon.start()
        throughout(lambda: balancer.haproxy.config.read_text() == file, 7, "the file as it was")
        balancer.start_haproxy()
        balancer.daemon.wait_event("servers.inherited", servers=1)
        balancer.wait_ready()
        assert balancer.answering() == {web.address}
        assert balancer.daemon.server(web.name)["held"] == "unseen"


def test_a_held_server_outlives_a_restart_of_the_agent(tmp_path: Path) -> None:
    """The agent forgets who had failed; that is no reason to remove a server that still answers."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        web.agent.kill()
        balancer.until(lambda: balancer.daemon.server(web.name)["held"] == "failed", "gossip to notice", 40)
        mark = balancer.daemon.mark()
        balancer.agent.kill()
        balancer.agent.start()
        balancer.daemon.wait_event("member.reaped", mark, member=web.name)
        throughout(lambda: balancer.answering(4) == {web.address}, 2, "answers from the server")
        assert balancer.daemon.server(web.name)["held"] == "unseen"


def test_a_lost_haproxy_is_waited_for_quietly(tmp_path: Path) -> None:
    """While a reload waits and HAProxy is gone, the daemon costs next to nothing; then all is made good."""
    with Balancer(tmp_path, QUIET) as balancer:
        balancer.start()
        mark = balancer.daemon.mark()
        web = balancer.add_web()
        balancer.daemon.wait_event("member.joined", mark, member=web.name)
        balancer.kill_haproxy()
        balancer.daemon.wait_event("proxy.lost", mark)
        before, begin = cpu_seconds(balancer.daemon.pid), time.monotonic()
        throughout(lambda: bool(balancer.daemon.pid), 2, "a daemon that waits")
        assert (cpu_seconds(balancer.daemon.pid) - before) / (time.monotonic() - begin) < 0.5
        balancer.start_haproxy()
        balancer.wait_served(web)


def test_a_draft_changes_nothing_before_it_is_proven(tmp_path: Path) -> None:
    """One edit has a port that is taken and another port for all servers: it is rejected, and no request met either."""
    with Balancer(tmp_path, QUIET) as balancer, socket.socket() as listener:
        balancer.start()
        webs = [balancer.add_web() for _ in range(2)]
        balancer.wait_served(*webs)
        listener.bind((balancer.address, 0))
        listener.listen()
        taken = f"{balancer.address}:{listener.getsockname()[1]}"
        service = {"name": "nodes", "match": {"role": "backend"}, "weight": 7}
        mark = balancer.daemon.mark()
        with balancer.traffic(rate=200):
            balancer.write_settings({"proxy": {"stats_bind": taken}, "services": [service]})
            balancer.daemon.wait_event("edit.taken", mark)
            late = balancer.add_web()
            balancer.until(lambda: late.address in balancer.answering(), "the new server, meanwhile")
            assert balancer.daemon.events("edit.rejected", mark) == []
            assert "taken" in balancer.daemon.wait_event("edit.rejected", mark)["error"]
        commands = [line for event in balancer.daemon.events("servers.changed", mark) for line in event["commands"]]
        assert not [line for line in commands if line.endswith("weight 7")]
        balancer.wait_served(*webs, late)


def test_a_draft_whose_text_depends_on_servers_is_reloaded(tmp_path: Path) -> None:
    """The digest is the same, for it sees sample servers: an option that only servers of a certain weight have."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        text = balancer.template.read_text()
        option = "{% if server.weight == 77 %} maxqueue 9{% endif %}"
        balancer.edit_template(text.replace(" id {{ server.id }}", f" id {{{{ server.id }}}}{option}"))
        balancer.daemon.wait_event("edit.taken")
        balancer.wait_content()
        reloads, mark = balancer.daemon.status()["reloads"], balancer.daemon.mark()
        service = {"name": "nodes", "match": {"role": "backend"}, "weight": 77}
        with balancer.traffic(rate=200):
            balancer.write_settings({"services": [service]})
            balancer.until(lambda: "maxqueue 9" in balancer.haproxy.config.read_text(), "the text with the option")
            balancer.until(lambda: balancer.running_server(web.name).weight == 77, "the weight")  # type: ignore[union-attr]
            balancer.wait_content()
        assert balancer.daemon.status()["reloads"] == reloads + 1
        assert balancer.daemon.events("servers.changed", mark) == []
        balancer.remove(web)


def test_haproxy_never_starts_from_what_it_could_not_load(tmp_path: Path) -> None:
    """A port on an address that is not here: `haproxy -c` takes it, the reload fails, and then HAProxy dies."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        assert balancer.daemon.end() == 0
        bind = balancer.settings["proxy"]["http_bind"]
        balancer.write_settings({"proxy": {"http_bind": f"{bind},203.0.113.1:8080"}})
        mark = balancer.daemon.mark()
        balancer.daemon.start()
        balancer.daemon.wait_event("apply.failed", mark)
        balancer.kill_haproxy()
        balancer.daemon.wait_event("proxy.lost", mark)
        throughout(lambda: "203.0.113.1" not in balancer.haproxy.config.read_text(), 2, "a file without that address")
        balancer.haproxy.start()
        balancer.write_settings()
        balancer.wait_served(web)
        balancer.wait_ready()
        balancer.remove(web)


def test_changes_of_servers_alone_need_no_reload(tmp_path: Path) -> None:
    """Not by an edit, and not by a restart of the daemon while the file still lags behind."""
    slow = {"file_quiet_s": 60, "file_longest_s": 60}
    with Balancer(tmp_path, {"reload": slow}) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.until(lambda: web.address in balancer.answering(), "the server")
        assert web.name not in balancer.haproxy.config.read_text()
        pid, mark = balancer.running().pid, balancer.daemon.mark()
        service = {"name": "nodes", "match": {"role": "backend"}, "weight": 7}
        balancer.write_settings({"services": [service], "policy": {"hold_s": 50}})
        balancer.until(lambda: balancer.running_server(web.name).weight == 7, "the weight")  # type: ignore[union-attr]
        balancer.daemon.end(signal.SIGKILL)
        balancer.daemon.start()
        balancer.wait_ready()
        throughout(lambda: balancer.running().pid == pid, 1.0, "the worker")
        assert balancer.daemon.events("proxy.reloaded", mark) == []
        balancer.remove(web)


def test_a_file_that_cannot_follow_costs_nothing(tmp_path: Path) -> None:
    """It is due, and a reload that has to wait keeps it from being written: the loop sleeps all the same."""
    patience = {"quiet_s": 30, "longest_s": 30, "file_quiet_s": 0.2, "file_longest_s": 0.2}
    with Balancer(tmp_path, {"reload": patience}) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.until(lambda: web.address in balancer.answering(), "the server")
        web.agent.set_tags(weight="9")
        balancer.edit_template(balancer.template.read_text() + "# another structure\n")
        balancer.daemon.wait_event("edit.taken")
        before, begin = cpu_seconds(balancer.daemon.pid), time.monotonic()
        throughout(lambda: bool(balancer.daemon.pid), 2, "a daemon that waits")
        assert (cpu_seconds(balancer.daemon.pid) - before) / (time.monotonic() - begin) < 0.5
        balancer.until(lambda: " weight 9\n" in balancer.haproxy.config.read_text(), "the file to follow meanwhile")
        balancer.remove(web)


def test_a_template_that_fails_for_some_members_only(tmp_path: Path) -> None:
    """The error is told once, what was served stays, and it heals when the members fit again."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        line = "{% for service in services if service.servers|length == 2 %}{{ nonsense }}{% endfor %}\n"
        balancer.edit_template(balancer.template.read_text() + line)
        balancer.daemon.wait_event("edit.taken")
        balancer.wait_content()
        mark = balancer.daemon.mark()
        second = balancer.add_web()
        balancer.daemon.wait_event("apply.failed", mark, kind="TemplateError")
        before, begin = cpu_seconds(balancer.daemon.pid), time.monotonic()
        throughout(lambda: balancer.running_names() == {first.name}, 2, "the server that was there")
        assert (cpu_seconds(balancer.daemon.pid) - before) / (time.monotonic() - begin) < 0.5
        assert len(balancer.daemon.events("apply.failed", mark)) < 5
        balancer.wait_served(balancer.add_web())
        balancer.wait_served(second)


def test_edit_that_hides_haproxy_from_the_daemon_is_rejected(tmp_path: Path) -> None:
    """A worker whose runtime socket is elsewhere could be reloaded, and the daemon could not speak to it."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        mark, good = balancer.daemon.mark(), balancer.template.read_text()
        balancer.edit_template(good.replace("stats socket {{ proxy.runtime_socket }}", f"stats socket {tmp_path}/x"))
        error = balancer.daemon.wait_event("edit.rejected", mark)["error"]
        assert "section global has no runtim" in error
        balancer.wait_ready()
        balancer.wait_content()
        assert balancer.running_names() == {web.name}
        assert balancer.daemon.status()["blueprint"]["error"] == error
        balancer.wait_served(balancer.add_web())


def test_a_haproxy_that_listens_elsewhere_is_reloaded(tmp_path: Path) -> None:
    """The settings name another runtime socket than the one HAProxy has: a worker made from them answers there."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        balancer.wait_content()
        assert balancer.daemon.end() == 0
        elsewhere = tmp_path / "elsewhere.sock"
        balancer.haproxy.runtime_socket = elsewhere
        balancer.write_settings({"proxy": {"runtime_socket": str(elsewhere)}})
        mark = balancer.daemon.mark()
        balancer.daemon.start()
        told = balancer.daemon.wait_event("proxy.reloaded", mark, within=30)
        assert told["reasons"] == ["HAProxy runs, but there is nothing at proxy.runtime_socket: it is made anew"]
        balancer.wait_ready()
        assert balancer.running_names() == {web.name}


def test_a_runtime_socket_without_a_listener_is_made_anew(tmp_path: Path) -> None:
    """A worker that failed has put its own in the place, and HAProxy serves on where it cannot be asked."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        balancer.wait_content()
        dead = tmp_path / "dead.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(dead))
            listener.listen()
        mark = balancer.daemon.mark()
        dead.replace(balancer.haproxy.runtime_socket)
        balancer.daemon.wait_event("proxy.lost", mark)
        balancer.daemon.wait_event("proxy.reloaded", mark, within=8)
        balancer.wait_ready()
        assert balancer.running_names() == {web.name}


def test_what_haproxy_warns_of_is_told(tmp_path: Path) -> None:
    """A warning is no reason to refuse an edit; it stands in the line that says that the edit is in force."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        mark = balancer.daemon.mark()
        balancer.edit_template(balancer.template.read_text() + "backend strange\n    option forwardfor\n    mode tcp\n")
        warnings = balancer.daemon.wait_event("proxy.reloaded", mark)["warnings"]
        assert any("strange" in warning and "forwardfor" in warning for warning in warnings)
        checked = balancer.daemon.command("check")
        assert checked.returncode == 0
        assert "rosterd: warning: " in checked.stderr


def test_check_and_daemon_come_to_the_same_verdict(tmp_path: Path) -> None:
    """A file beside the configuration is found by both, and what only a start meets is refused by both."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        balancer.wait_content()
        good = balancer.template.read_text()
        relative = good.replace("global\n", "global\n    default-path config\n", 1)
        relative += "backend page\n    errorfile 503 page.http\n"
        (tmp_path / "page.http").write_text("HTTP/1.0 503 Away\r\n\r\n")
        mark = balancer.daemon.mark()
        balancer.edit_template(relative)
        balancer.daemon.wait_event("proxy.reloaded", mark)
        assert balancer.daemon.command("check").returncode == 0
        assert not list(tmp_path.glob(".*candidate*"))
        mark = balancer.daemon.mark()
        balancer.edit_template(relative + "frontend other\n    bind 192.0.2.77:8077\n")
        rejected = balancer.daemon.wait_event("edit.rejected", mark)["error"]
        checked = balancer.daemon.command("check")
        assert checked.returncode == 6
        for said in (rejected, checked.stderr):
            assert "this machine does not have the address 192.0.2.77" in said
            assert f"is: bind 192.0.2.77:8077, from line {len(relative.splitlines()) + 2} of the template" in said
        kept = tmp_path / "haproxy.cfg.rejected"
        assert str(kept) in rejected
        assert "192.0.2.77" in kept.read_text()
        assert kept.stat().st_mode == (tmp_path / "haproxy.cfg").stat().st_mode


def test_edit_that_leaves_a_server_out_is_rejected_without_a_reload(tmp_path: Path) -> None:
    """Only the real servers show what the edit changes: the samples have other ports."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        web = balancer.add_web()
        balancer.wait_served(web)
        balancer.wait_content()
        before = balancer.daemon.status()
        line = "{% for server in service.servers %}\n"
        good = balancer.template.read_text()
        assert line in good
        balancer.edit_template(good.replace(line, line.replace(" %}", f" if server.port != {web.server.port} %}}")))
        mark = balancer.daemon.mark()
        assert f"no line for nodes/{web.name}" in balancer.daemon.wait_event("edit.rejected", mark)["error"]
        balancer.wait_content()
        assert balancer.running_names() == {web.name}
        status = balancer.daemon.status()
        assert (status["reloads"], status["reloads_failed"]) == (before["reloads"], before["reloads_failed"])
        assert (tmp_path / "last-good.cfg.j2").read_text() == good


@pytest.mark.parametrize("key", [None, "cm9zdGVyZHJvc3RlcmQhIQ=="], ids=["open", "encrypted"])
def test_open_gossip_without_networks_is_a_warning(tmp_path: Path, key: str | None) -> None:
    """Whatever reaches the gossip port could serve from any address: check, status and page say so."""
    with Balancer(tmp_path, {"policy": {"networks": []}}) as balancer:
        balancer.agent.encrypt_key = key
        balancer.start()
        shown = (
            balancer.daemon.command("check").stderr,
            balancer.daemon.command("status").stdout,
            str(balancer.daemon.status()["agent"]["admits_anyone"]),
        )
        if key is None:
            assert all(OPEN_GOSSIP in text for text in shown[:2])
            assert shown[2] == "True"
        else:
            assert not any(OPEN_GOSSIP in text for text in shown)
            assert shown[2] == "False"


def test_named_networks_are_enough_for_no_warning(tmp_path: Path) -> None:
    """Members serve in these networks only, encrypted or not."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        assert OPEN_GOSSIP not in balancer.daemon.command("check").stderr
        assert OPEN_GOSSIP not in balancer.daemon.command("status").stdout

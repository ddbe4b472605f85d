"""Text that depends on which servers there are, and servers that no member is behind, in a real HAProxy.

Each template is the shipped one with a few lines more. The right value of each row is what a client gets, and how many
reloads that took.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.balancer import Balancer, Json, WebNode, throughout
from tests.web_server import WebServer

CHECKS = "    option log-health-checks\n"
"""Where lines of the backend are put."""

LOOP = "{% for server in service.servers %}\n"
ADDRESSES = "{% for server in service.servers %} {{ server.address }}{% endfor +%}\n"
ACL = f"    acl is_member hdr(x-node) -m str{ADDRESSES}    http-request deny deny_status 403 if !is_member\n"
USE_SERVER = (
    f"{LOOP}    use-server {{{{ server.name }}}} if {{ hdr(x-node) -m str {{{{ server.name }}}} }}\n{{% endfor %}}\n"
)
WEIGHT = 'weight {{ 0 if server.state.value == "drain" else server.weight }}'
AFTER_LOOP = '{% else %}\n    # No server yet: every {{ "request gets a 503" if service.mode == "http"'
EDIT = "    http-response set-header x-edited yes\n"
FRONTEND = "frontend traffic\n"

Started = Callable[..., Balancer]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Starts a balancer whose template was changed by replacing this by that; settings are merged."""
    made: list[Balancer] = []

    def start(old: str, new: str, settings: Mapping[str, Any] | None = None) -> Balancer:
        given: dict[str, Any] = {"policy": {"hold_s": 1.0}, **(settings or {})}
        given["reload"] = {"least_interval_s": 0.1, **given.get("reload", {})}
        balancer = Balancer(tmp_path, given)
        text = balancer.template.read_text(encoding="utf-8")
        assert old in text
        balancer.edit_template(text.replace(old, new))
        made.append(balancer)
        balancer.start()
        return balancer

    yield start
    for balancer in made:
        balancer.close()
    for balancer in made:
        balancer.assert_sound()


@pytest.fixture
def sorry() -> Iterator[WebServer]:
    """A web server that belongs to no member."""
    server = WebServer.start()
    yield server
    server.kill()


def status_with(balancer: Balancer, node: str) -> tuple[int, str]:
    """Send a request with the header `x-node`; status, and the address of the server that answered."""
    connection = http.client.HTTPConnection(balancer.address, balancer.haproxy.port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": "balancer", "x-node": node})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("x-backend-ip", "")
    finally:
        connection.close()


def reloads(balancer: Balancer) -> int:
    """Return how many reloads there were."""
    return int(balancer.daemon.status()["reloads"])


def join(balancer: Balancer, name: str = "") -> WebNode:
    """Add a web node, and wait until HAProxy runs what the daemon wants."""
    web = balancer.add_web(name=name)
    balancer.until(lambda: balancer.running_server(web.name), f"{web.name} in HAProxy")
    balancer.wait_content()
    return web


def leave(balancer: Balancer, web: WebNode) -> None:
    """Have a web node leave, and wait until HAProxy runs what the daemon wants."""
    balancer.remove(web)
    balancer.wait_content()


# --- text that depends on which servers there are ---------------------------------------------------------------


def test_an_acl_with_the_members_addresses_follows_them(started: Started) -> None:
    """A new member is let in, one that has left is not, and a daemon that has just started sees the difference too."""
    balancer = started(CHECKS, CHECKS + ACL)
    first = join(balancer)
    before = reloads(balancer)
    second = join(balancer)
    assert status_with(balancer, second.address)[0] == 200
    leave(balancer, second)
    assert status_with(balancer, second.address)[0] == 403
    assert status_with(balancer, first.address)[0] == 200
    assert reloads(balancer) - before == 2
    line = balancer.daemon.events("proxy.reloaded")[-1]
    assert line["lines_removed"] == [
        f"backend nodes: acl is_member hdr(x-node) -m str {' '.join(sorted_of(first, second))}"
    ]
    assert balancer.daemon.end() == 0
    third = balancer.add_web()
    balancer.daemon.start()
    balancer.until(lambda: status_with(balancer, third.address)[0] == 200, "the third member to be let in")
    balancer.wait_content()
    throughout(lambda: reloads(balancer) == 1, 1.0, "one reload")


def sorted_of(*webs: WebNode) -> list[str]:
    """Return the addresses in the order of the names."""
    return [web.address for web in sorted(webs, key=lambda web: web.name)]


def test_use_server_for_each_member(started: Started) -> None:
    """Each request goes to the member that it names."""
    balancer = started(CHECKS, CHECKS + USE_SERVER)
    webs = [join(balancer), join(balancer)]
    for web in webs:
        answers = {status_with(balancer, web.name) for _ in range(10)}
        assert answers == {(200, web.address)}


def test_an_option_that_is_computed_from_the_weight(started: Started) -> None:
    """The limit of connections follows the tag `weight`, with one reload for each change."""
    balancer = started(WEIGHT, f"{WEIGHT} maxconn {{{{ 10 * server.weight }}}}")
    web = join(balancer)
    before = reloads(balancer)
    assert limit(balancer, web.name) == "1000"
    web.agent.set_tags(weight="50")
    balancer.until(lambda: limit(balancer, web.name) == "500", "the limit to follow")
    balancer.wait_content()
    other = join(balancer)
    assert limit(balancer, other.name) == "1000"
    throughout(lambda: reloads(balancer) == before + 1, 1.0, "one reload")
    (line,) = balancer.daemon.events("proxy.reloaded")[before:]
    assert any(f"nodes/{web.name}: options" in reason and "maxconn 500" in reason for reason in line["reasons"])


def limit(balancer: Balancer, name: str) -> str:
    """Return the most connections that HAProxy gives a server."""
    header, *rows = balancer.haproxy.ask("show stat").splitlines()
    columns = header.removeprefix("# ").split(",")
    for row in rows:
        fields = dict(zip(columns, row.split(","), strict=False))
        if fields.get("pxname") == "nodes" and fields.get("svname") == name:
            return fields["slim"]
    return ""


def test_text_that_is_only_warned_of(started: Started) -> None:
    """With `reload.on_text = "warn"` the lines are logged once and shown, the file has them, and there is no reload."""
    balancer = started(CHECKS, CHECKS + ACL, {"reload": {"on_text": "warn"}})
    first = join(balancer)
    before, mark = reloads(balancer), balancer.daemon.mark()
    second = join(balancer)
    balancer.until(lambda: second.address in balancer.haproxy.config.read_text(encoding="utf-8"), "the file to follow")
    said = balancer.daemon.wait_event("text.not_applied", mark)
    assert [second.address in line for line in said["lines_added"]] == [True]
    assert status_with(balancer, second.address)[0] == 403
    balancer.daemon.only_event("text.not_applied", mark)
    left = balancer.daemon.status()["plan"]["left"]
    assert [reason["kind"] for reason in left] == ["text"]
    planned = balancer.daemon.command("plan")
    assert planned.returncode == 0
    assert planned.stdout.startswith("nothing\n  stays as it is: text that depends on the servers")
    assert reloads(balancer) == before
    text = balancer.template.read_text(encoding="utf-8")
    balancer.edit_template(text.replace(FRONTEND, FRONTEND + EDIT))
    balancer.until(lambda: status_with(balancer, second.address)[0] == 200, "the edit's reload to bring it")
    assert balancer.daemon.wait_event("text.applied", mark)
    assert status_with(balancer, first.address)[0] == 200


# --- servers that no member is behind ---------------------------------------------------------------------------


def sorry_row(balancer: Balancer) -> Json:
    """Return the row of the template's own server in the status."""
    services = balancer.daemon.status()["services"]
    rows: list[Json] = services[0]["template_servers"]
    assert [row["name"] for row in rows] == ["sorry"]
    return rows[0]


@pytest.mark.parametrize("apply", ["runtime", "reload"])
def test_a_sorry_server_stays(started: Started, sorry: WebServer, apply: str) -> None:
    """The sorry server answers without members, and stays over joins, leaves, a crash, an edit and a restart."""
    line = f"    server sorry {sorry.address}:{sorry.port} backup\n"
    settings = {"proxy": {"apply": apply}, "services": [{"name": "nodes", "least_servers": 0}]}
    balancer = started(LOOP, line + LOOP, settings)
    per_change = 1 if apply == "reload" else 0
    assert balancer.answering(4) == {sorry.address}
    before = reloads(balancer)
    web = join(balancer)
    assert balancer.answering(8) == {web.address}
    leave(balancer, web)
    assert balancer.answering(4) == {sorry.address}
    throughout(lambda: reloads(balancer) == before + 2 * per_change, 2.0, "a reload for each change at most")
    web = join(balancer)
    web.crash()
    balancer.until(lambda: balancer.answering(4) == {sorry.address}, "the sorry server to stand in")
    balancer.wait_gone(web.name, within=40.0)
    balancer.wait_content()
    throughout(lambda: reloads(balancer) == before + 4 * per_change, 2.0, "a reload for each change at most")
    assert (sorry_row(balancer)["up"], sorry_row(balancer)["address"]) == (True, sorry.address)
    text = balancer.template.read_text(encoding="utf-8")
    balancer.edit_template(text.replace(FRONTEND, FRONTEND + EDIT))
    balancer.until(lambda: balancer.get()[2].get("x-edited") == "yes", "the edit to be in force")
    balancer.wait_content()
    throughout(lambda: reloads(balancer) == before + 4 * per_change + 1, 2.0, "one reload for the edit")
    assert balancer.daemon.status()["blueprint"]["error"] == ""
    balancer.restart_daemon()
    balancer.wait_ready()
    balancer.wait_content()
    assert balancer.daemon.member("sorry") == {}
    throughout(lambda: reloads(balancer) == 0 and balancer.answering(2) == {sorry.address}, 2.0, "the sorry server")
    assert balancer.daemon.events("server.held", server="sorry") == []
    assert not [each for each in balancer.daemon.events("servers.changed") if "nodes/sorry" in json.dumps(each)]


def test_a_member_by_the_name_of_the_templates_own_server(started: Started, sorry: WebServer) -> None:
    """The member is not served, and the status says why; the id on the other one's line is no member's."""
    line = f"    server sorry {sorry.address}:{sorry.port} id 7 backup\n"
    balancer = started(LOOP, line + LOOP)
    web = join(balancer)
    before = reloads(balancer)
    twin = balancer.add_web(name="sorry")
    barred = balancer.daemon.wait_event("server.barred", server="sorry")
    assert "rename one of the two" in barred["reason"]
    assert balancer.answering(12) == {web.address}
    found = balancer.running_server("sorry")
    assert found is not None
    assert (str(found.address), found.id) == (sorry.address, 7)
    assert [row["server"] for row in balancer.daemon.status()["barred"]] == ["sorry"]
    assert reloads(balancer) == before
    twin.close()


def test_a_server_that_stands_in_only_without_members(started: Started, sorry: WebServer) -> None:
    """The stand-in goes with the first member and comes back with the last, and no request fails in between."""
    line = f"    server sorry {sorry.address}:{sorry.port}\n"
    balancer = started("{% else %}\n    # No server yet", "{% else %}\n" + line + "    # No server yet")
    assert balancer.answering(4) == {sorry.address}
    with balancer.traffic():
        web = join(balancer)
        balancer.until(lambda: balancer.answering(4) == {web.address}, "the member alone to answer")
        balancer.wait_content()
        leave(balancer, web)
        balancer.until(lambda: balancer.answering(4) == {sorry.address}, "the stand-in to be back")
        balancer.wait_content()
    count = reloads(balancer)
    throughout(lambda: reloads(balancer) == count, 2.0, "no more reloads")


# --- no loops ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apply", ["runtime", "reload"])
def test_a_difference_that_reloads_leave_ends_in_no_loop(started: Started, apply: str) -> None:
    """A template without ids: an edit of it is rejected, and what a reload leaves different is said and not repeated.

    A server that is added at run time has its id from the command, so that nothing differs there.
    """
    balancer = started(" id {{ server.id }}", "", {"proxy": {"apply": apply}})
    web = balancer.add_web()
    balancer.until(lambda: balancer.answering(4) == {web.address}, "the member to answer")
    text = balancer.template.read_text(encoding="utf-8")
    mark = balancer.daemon.mark()
    balancer.edit_template(text.replace(FRONTEND, FRONTEND + EDIT))
    said = balancer.daemon.wait_event("edit.rejected", mark)
    assert "a server line has no `id" in said["error"]
    if apply == "reload":
        balancer.until(lambda: balancer.daemon.status()["plan"]["left"], "the difference to be said")
        assert f"nodes/{web.name}: id 1 to" in balancer.daemon.status()["plan"]["left"][0]["detail"]
    pid = balancer.running().pid
    throughout(lambda: balancer.running().pid == pid, 4.0, "the same worker")
    assert balancer.answering(4) == {web.address}


# --- the plan beforehand ----------------------------------------------------------------------------------------


def planned_with(balancer: Balancer, text: str) -> tuple[int, Json, str]:
    """Plan with another template than the daemon's; the exit code, the answer, and what is printed for people."""
    copy = balancer.directory / "edited.cfg.j2"
    copy.write_text(text, encoding="utf-8")
    environ, balancer.daemon.environ = balancer.daemon.environ, {"ROSTERD_PROXY__TEMPLATE_FILE": str(copy)}
    try:
        found, shown = balancer.daemon.command("plan", "--json"), balancer.daemon.command("plan")
    finally:
        balancer.daemon.environ = environ
    assert found.returncode == shown.returncode, found.stderr + shown.stderr
    return found.returncode, json.loads(found.stdout), shown.stdout


def test_the_plan_of_an_edit_is_what_the_daemon_does(started: Started) -> None:
    """Reasons and lines are the same, also for lines that neither samples nor a server's fields show."""
    balancer = started(CHECKS, CHECKS)
    web = join(balancer)
    text = balancer.template.read_text(encoding="utf-8")
    assert planned_with(balancer, text)[:2] == (0, planned_with(balancer, text)[1])
    only_now = "{% if service.servers | length == 1 %}\n    http-response set-header x-edited alone\n{% endif %}\n"
    for edit in (text.replace(FRONTEND, FRONTEND + EDIT), text.replace(CHECKS, CHECKS + only_now)):
        code, plan, shown = planned_with(balancer, edit)
        assert (code, plan["action"], plan["refused"]) == (1, "reload", "")
        assert "+    http-response set-header x-edited" in shown
        mark = balancer.daemon.mark()
        balancer.edit_template(edit)
        line = balancer.daemon.wait_event("proxy.reloaded", mark)
        assert line["reasons"] == [reason["detail"] for reason in plan["reasons"]]
        assert len(line["lines_added"]) + len(line["lines_removed"]) == plan["lines_total"]
        assert any("http-response set-header x-edited" in each for each in line["lines_added"])
        balancer.wait_content()
        assert planned_with(balancer, edit)[0] == 0
    assert balancer.get()[2]["x-edited"] == "alone"
    leave(balancer, web)


def test_the_plan_says_what_haproxy_refuses(started: Started) -> None:
    """The plan refuses the same texts as the daemon."""
    balancer = started(CHECKS, CHECKS)
    text = balancer.template.read_text(encoding="utf-8")
    code, plan, shown = planned_with(balancer, text.replace(FRONTEND, FRONTEND + "    bogus keyword\n"))
    assert (code, plan["action"]) == (1, "reload")
    assert "unknown keyword 'bogus'" in plan["refused"]
    assert "refused by HAProxy: " in shown


def test_a_template_that_leaves_a_server_out_is_rejected(started: Started) -> None:
    """The edit is rejected without a reload, with the remedy; members go on by the last good one."""
    balancer = started(CHECKS, CHECKS)
    web = join(balancer)
    before, mark = reloads(balancer), balancer.daemon.mark()
    text = balancer.template.read_text(encoding="utf-8")
    start, loop, end = text.rpartition(LOOP)
    balancer.edit_template(f"{start}{loop.rstrip().removesuffix('%}')}if server.name != '{web.name}' %}}\n{end}")
    said = balancer.daemon.wait_event("edit.rejected", mark)
    assert f"the text has no line for nodes/{web.name}" in said["error"]
    other = join(balancer)
    assert balancer.answering(12) == {web.address, other.address}
    assert reloads(balancer) == before

"""The template and the settings are edited while everything runs: good edits, broken ones, and what comes after."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.balancer import Balancer, Json, replace, throughout

GOOD_LINE = "    http-response set-header x-edited yes\n"
AFTER = "frontend traffic\n"
"""Where an edit puts its line."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer that runs, with one web node."""
    with Balancer(tmp_path_factory.mktemp("b"), {"reload": {"least_interval_s": 0.1}}) as made:
        made.start()
        made.wait_served(made.add_web())
        yield made


@pytest.fixture
def balancer(running: Balancer) -> Iterator[Balancer]:
    """The same, whose template and settings are put back afterwards."""
    original = running.template.read_text()
    yield running
    replace(running.template, original)
    running.write_settings()
    running.until(lambda: running.daemon.status()["blueprint"]["error"] == "", "the edit to be taken back")
    running.until(lambda: header(running) is None, "the template as it was")
    running.wait_content()


def edited(balancer: Balancer, line: str) -> str:
    """Return the template with one more line in the frontend."""
    before, found, after = balancer.template.read_text().partition(AFTER)
    assert found
    return before + found + line + after


def header(balancer: Balancer) -> str | None:
    """Return what the good edit adds to each answer."""
    return balancer.get()[2].get("x-edited")


def line_number(path: Path, wanted: str) -> int:
    """Return the number of this line of a file."""
    lines = path.read_text().splitlines(keepends=True)
    return lines.index(wanted) + 1


def rejected(balancer: Balancer, since: int) -> Json:
    """Return the line that tells of a broken edit; the status tells the same."""
    line = balancer.daemon.wait_event("edit.rejected", since)
    balancer.until(lambda: balancer.daemon.status()["blueprint"]["error"] == line["error"], "the status to tell")
    return line


def joins_and_leaves(balancer: Balancer) -> None:
    """The membership is followed."""
    web = balancer.add_web()
    balancer.wait_served(web)
    balancer.remove(web)


def untouched(balancer: Balancer) -> tuple[object, int]:
    """Return what a write of the file or a reload would change."""
    return balancer.file_identity(), balancer.running().pid


# --- the template -----------------------------------------------------------------------------------------------


def test_a_good_template_is_in_force_at_once(balancer: Balancer) -> None:
    """It is checked and reloaded while requests flow, and none fails."""
    mark = balancer.daemon.mark()
    with balancer.traffic():
        replace(balancer.template, edited(balancer, GOOD_LINE))
        balancer.until(lambda: header(balancer) == "yes", "the edit in an answer")
    assert balancer.daemon.wait_event("edit.taken", mark)["template"] is True
    assert balancer.daemon.wait_event("proxy.reloaded", mark)["woken_by"][0] == "file"
    joins_and_leaves(balancer)
    assert header(balancer) == "yes"


def test_a_template_that_is_written_in_place(balancer: Balancer) -> None:
    """An editor that writes into the file itself is followed as well."""
    balancer.template.write_text(edited(balancer, GOOD_LINE))
    balancer.until(lambda: header(balancer) == "yes", "the edit in an answer")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("    {% if %}\n", "Expected an expression, got 'end of statement block'"),
        ("    {{ proxy.nonsense }}\n", "proxy has no attribute 'nonsense'"),
        ("    bogus keyword\n", "unknown keyword 'bogus' in 'frontend' section"),
    ],
    ids=["syntax", "name", "keyword"],
)
def test_a_broken_template_changes_nothing(balancer: Balancer, line: str, reason: str) -> None:
    """It is reported with file and line; members come and go on the last good one, until it is mended."""
    before, mark, good = untouched(balancer), balancer.daemon.mark(), balancer.template.read_text()
    replace(balancer.template, edited(balancer, line))
    error = rejected(balancer, mark)["error"]
    # HAProxy complains of its own file, in which the line comes after the same one as in the template.
    file = balancer.haproxy.config if "bogus" in line else balancer.template
    assert f"{file}:{line_number(file, AFTER) + 1}" in error
    assert reason in error
    throughout(lambda: untouched(balancer) == before, 0.7, "the file and the worker")
    balancer.daemon.only_event("edit.rejected", mark)

    joins_and_leaves(balancer)
    assert balancer.daemon.status()["blueprint"]["error"] == error

    replace(balancer.template, good.replace(AFTER, AFTER + GOOD_LINE))
    balancer.until(lambda: header(balancer) == "yes", "the mended template in an answer")
    balancer.daemon.wait_event("edit.accepted", mark)
    assert balancer.daemon.status()["blueprint"]["error"] == ""


@pytest.mark.parametrize("line", ["    {% if %}\n", "    bogus keyword\n"], ids=["syntax", "keyword"])
def test_a_daemon_that_starts_beside_a_broken_template(balancer: Balancer, line: str) -> None:
    """It goes on with the last good one, says what is wrong, follows the members, and takes up the mended one."""
    before, good = untouched(balancer), balancer.template.read_text()
    assert balancer.daemon.end() == 0
    replace(balancer.template, edited(balancer, line))
    mark = balancer.daemon.mark()
    balancer.daemon.start()
    balancer.wait_ready()
    rejected(balancer, mark)
    assert untouched(balancer) == before
    joins_and_leaves(balancer)
    replace(balancer.template, good.replace(AFTER, AFTER + GOOD_LINE))
    balancer.until(lambda: header(balancer) == "yes", "the mended template in an answer")


def test_a_template_that_vanishes(balancer: Balancer) -> None:
    """Nothing changes; it is told which file cannot be read."""
    mark, good = balancer.daemon.mark(), balancer.template.read_text()
    balancer.template.unlink()
    error = rejected(balancer, mark)["error"]
    assert error.startswith(f"{balancer.template}: cannot be read")
    assert f"edit rejected: {error}" in balancer.daemon.command("status").stdout
    joins_and_leaves(balancer)
    replace(balancer.template, good)
    balancer.until(lambda: balancer.daemon.status()["blueprint"]["error"] == "", "the template to be read")


def test_an_edit_that_goes_back_to_a_broken_one(balancer: Balancer) -> None:
    """What is told is always why the newest edit is not in force, also when the same mistake is made again."""
    bogus, syntax = edited(balancer, "    bogus keyword\n"), edited(balancer, "    {% if %}\n")

    def wait_told(text: str, word: str) -> None:
        replace(balancer.template, text)
        balancer.until(lambda: word in balancer.daemon.status()["blueprint"]["error"], f"the status to tell of {word}")

    wait_told(bogus, "bogus")
    wait_told(syntax, "Expected an expression")
    wait_told(bogus, "bogus")


# --- the settings -----------------------------------------------------------------------------------------------


def test_good_settings_are_in_force_at_once(balancer: Balancer) -> None:
    """The service's weight is every server's weight; the log tells which keys were edited."""
    mark = balancer.daemon.mark()
    balancer.write_settings({"services": [{"name": "nodes", "weight": 33}]})
    balancer.until(
        lambda: {s.weight for s in balancer.running().backends["nodes"].values()} == {33}, "the weight in HAProxy"
    )
    assert balancer.daemon.wait_event("edit.taken", mark)["settings"] == ["services"]


def test_a_second_service(balancer: Balancer) -> None:
    """It has hosts of its own, takes the members that match it, and goes again with its settings."""
    api = balancer.add_web(role="api")
    try:
        balancer.write_settings(
            {"services": [{"name": "nodes"}, {"name": "api", "match": {"role": "api"}, "hosts": ["api.example"]}]}
        )
        balancer.until(lambda: balancer.answering(4, host="api.example") == {api.address}, "answers of the new service")
        assert api.address not in balancer.answering()
        balancer.until(lambda: balancer.daemon.server(api.name, "api").get("up") is True, "the status to tell")
        balancer.write_settings()
        balancer.until(lambda: "api" not in balancer.running().backends, "the service to go")
    finally:
        api.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"services": [{"name": "nodes", "weight": 1000}]}, "services[0].weight: "),
        ({"reload": {"quiet_s": "soon"}}, "reload.quiet_s: "),
        ({"proxy": {"no_such_key": 1}}, "proxy.no_such_key: "),
        ({"services": [{"name": "nodes", "match": {}}]}, "services[0].match: "),
    ],
    ids=["value", "type", "unknown", "match"],
)
def test_broken_settings_change_nothing(balancer: Balancer, changes: Json, reason: str) -> None:
    """They are reported with their key, and the old ones stay in force over later changes."""
    before, mark = untouched(balancer), balancer.daemon.mark()
    balancer.write_settings(changes)
    assert reason in rejected(balancer, mark)["error"]
    assert untouched(balancer) == before


def test_settings_that_are_not_toml(balancer: Balancer) -> None:
    """The file is named, with the place of the mistake; the members are followed all the same."""
    mark = balancer.daemon.mark()
    file = balancer.daemon.settings_file
    replace(file, file.read_text() + "[reload\n")
    assert f"{file}: is not TOML" in rejected(balancer, mark)["error"]
    joins_and_leaves(balancer)


def test_settings_that_need_a_restart(balancer: Balancer) -> None:
    """The old value stays in force and the log names the key; what needs none of the same edit is in force."""
    mark = balancer.daemon.mark()
    balancer.write_settings({"admin": {"listen": "127.0.0.1:1"}, "services": [{"name": "nodes", "weight": 44}]})
    assert balancer.daemon.wait_event("settings.restart_needed", mark)["keys"] == ["admin.listen"]
    balancer.until(
        lambda: {s.weight for s in balancer.running().backends["nodes"].values()} == {44}, "the weight in HAProxy"
    )
    assert balancer.daemon.status()["ready"] is True


# --- asking for it ----------------------------------------------------------------------------------------------


def test_an_edit_behind_a_link(balancer: Balancer) -> None:
    """A change that no watcher can see, in another directory, is found by looking now and then."""
    elsewhere = balancer.directory / "elsewhere"
    elsewhere.mkdir()
    linked = elsewhere / "haproxy.cfg.j2"
    linked.write_text(balancer.template.read_text())
    balancer.template.unlink()
    balancer.template.symlink_to(linked)
    balancer.until(lambda: balancer.daemon.status()["blueprint"]["error"] == "", "the link to be read")
    replace(linked, edited(balancer, GOOD_LINE))
    balancer.until(lambda: header(balancer) == "yes", "the edit in an answer")


def test_sighup_tries_a_rejected_edit_again(balancer: Balancer) -> None:
    """What it lacked is there now, and neither file has changed: SIGHUP has both read and checked again."""
    page, mark = balancer.directory / "page.http", balancer.daemon.mark()
    replace(balancer.template, edited(balancer, f"{GOOD_LINE}    errorfile 500 {page}\n"))
    assert str(page) in rejected(balancer, mark)["error"]
    page.write_text("HTTP/1.0 500 Sorry\r\n\r\nsorry\n")
    throughout(lambda: header(balancer) is None, 0.7, "the template as it was")
    assert balancer.daemon.process is not None
    balancer.daemon.process.send_signal(signal.SIGHUP)
    balancer.until(lambda: header(balancer) == "yes", "the edit in an answer")
    balancer.daemon.wait_event("edit.accepted", mark)
    assert balancer.daemon.status()["blueprint"]["error"] == ""


def test_plan_and_check_tell_of_an_edit_beforehand(balancer: Balancer) -> None:
    """`check` refuses a broken file with its code, `plan` tells what the edited settings would change."""
    assert balancer.daemon.command("check").returncode == 0
    replace(balancer.template, edited(balancer, "    bogus keyword\n"))
    refused = balancer.daemon.command("check")
    assert refused.returncode == 6
    assert "unknown keyword 'bogus'" in refused.stderr
    planned = balancer.daemon.command("plan")
    assert planned.returncode == 1
    assert planned.stdout.startswith("reload\n  structure: template or settings: ")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (" id {{ server.id }}", "", "a server line has no `id`: write `id {{ server.id }}`"),
        ("    server {{ server.name }} ", "    server web{{ loop.index }} ", "has the name of none"),
        ("\nbackend {{ service.name }}\n", "\nbackend other\n", "service nodes has no section"),
    ],
    ids=["id", "name", "section"],
)
def test_template_that_can_never_work_is_rejected_by_check_and_daemon_alike(
    balancer: Balancer, old: str, new: str, words: str
) -> None:
    """HAProxy would accept it, and be reloaded for ever: it would never run what is compared."""
    source, before = balancer.template.read_text(), untouched(balancer)
    assert old in source
    mark = balancer.daemon.mark()
    replace(balancer.template, source.replace(old, new))
    error = rejected(balancer, mark)["error"]
    assert words in error
    refused = balancer.daemon.command("check")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert [line.removeprefix("rosterd: ") for line in refused.stderr.splitlines()] == error.splitlines()
    throughout(lambda: untouched(balancer) == before, 0.7, "the file and the worker")


# --- what an edit must not break --------------------------------------------------------------------------------


def test_a_rejected_edit_costs_no_server_that_is_held(balancer: Balancer) -> None:
    """A server that stays though its member does not parse stays also when an edit without its service is refused."""
    web = balancer.add_web()
    balancer.wait_served(web)
    web.agent.set_tags(port="99999")
    balancer.until(lambda: balancer.daemon.server(web.name)["held"] == "quarantined", "the server to be held")
    mark = balancer.daemon.mark()
    replace(balancer.template, edited(balancer, "    bogus keyword\n"))
    balancer.daemon.wait_event("edit.rejected", mark)
    mark = balancer.daemon.mark()
    balancer.write_settings({"services": [{"name": "others", "match": {"role": "other"}}]})
    balancer.daemon.wait_event("edit.taken", mark)
    balancer.daemon.wait_event("edit.rejected", mark)
    joins_and_leaves(balancer)
    assert web.name in balancer.running_names()
    assert balancer.daemon.server(web.name)["held"] == "quarantined"
    web.agent.set_tags(port=str(web.server.port))
    balancer.until(lambda: balancer.daemon.server(web.name)["held"] == "", "the server to be its member's again")
    balancer.remove(web)

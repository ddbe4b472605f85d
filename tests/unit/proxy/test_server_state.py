from __future__ import annotations

from pathlib import Path

import pytest

from rosterd.errors import ProxyGarbled
from rosterd.proxy.server_state import NO_HEALTH, known_down, reads_server_state, servers_in, with_server_state

FIXTURES = Path(__file__).parents[2] / "fixtures" / "haproxy"
COLUMNS = next(
    line[2:].split()
    for line in (FIXTURES / "2.6" / "observation.txt").read_text(encoding="utf-8").splitlines()
    if line.startswith("# be_id")
)
DOWN = {
    "be_id": "3",
    "be_name": "nodes",
    "srv_id": "7",
    "srv_name": "a",
    "srv_addr": "192.0.2.1",
    "srv_op_state": "0",
    "srv_uweight": "100",
    "srv_iweight": "100",
    "srv_time_since_last_change": "9",
    "srv_check_status": "8",
    "srv_check_result": "2",
    "srv_check_state": "6",
    "srv_fqdn": "-",
    "srv_port": "80",
}
ROW = "0 nodes 0 a - 0 0 0 0 9 1 2 0 6 0 0 0 - 80 -\n"


def answer(*rows: dict[str, str]) -> str:
    """Return a worker's answer with these rows; columns that a row leaves out hold 0."""
    lines = [" ".join(row.get(column, "0") for column in COLUMNS) for row in rows]
    return "\n".join(["1", f"# {' '.join(COLUMNS)}", *lines, "", ""])


def text(*lines: str, section: str = "backend nodes") -> str:
    """Return a configuration whose one backend has these lines."""
    return "\n".join(["global", "    description rosterd:1", section, *lines, ""])


CHECKED = text("server a 192.0.2.1:80 check")


def test_a_server_that_is_down_has_a_row() -> None:
    """Twenty fields: down for so long, and nothing else that the configuration says."""
    content = known_down(answer(DOWN), CHECKED)
    assert content == NO_HEALTH + ROW
    assert servers_in(content) == 1
    assert len(ROW.split()) == 20


@pytest.mark.parametrize(
    "difference",
    [
        pytest.param({"srv_op_state": "2"}, id="up"),
        pytest.param({"srv_op_state": "1"}, id="starting"),
        pytest.param({"srv_admin_state": "1"}, id="maintenance by hand"),
        pytest.param({"srv_admin_state": "5"}, id="disabled in the file"),
        pytest.param({"srv_check_state": "0"}, id="no check"),
        pytest.param({"srv_port": "81"}, id="another port"),
        pytest.param({"srv_addr": "192.0.2.2"}, id="another address"),
        pytest.param({"srv_name": "b"}, id="a server that the text does not have"),
        pytest.param({"be_name": "other"}, id="a backend that the text does not have"),
        pytest.param({"srv_op_state": "2", "srv_uweight": "0", "srv_check_status": "15"}, id="drained and up"),
        pytest.param({"srv_op_state": "2", "srv_check_status": "1"}, id="not checked yet, with traffic"),
    ],
)
def test_any_other_server_has_none(difference: dict[str, str]) -> None:
    """A server without a row starts as every server does."""
    assert known_down(answer(DOWN | difference), CHECKED) == NO_HEALTH


@pytest.mark.parametrize(
    "difference",
    [
        pytest.param({"srv_admin_state": "8"}, id="drained by hand"),
        pytest.param({"srv_uweight": "0"}, id="without weight"),
        pytest.param({"srv_op_state": "3"}, id="stopping"),
        pytest.param({"srv_check_state": "7", "srv_check_result": "0"}, id="a check under way"),
        pytest.param({"srv_op_state": "2", "srv_uweight": "0", "srv_check_status": "1"}, id="before its first check"),
    ],
)
def test_a_server_without_traffic_has_a_row_however_it_is(difference: dict[str, str]) -> None:
    """What is known of its health does not depend on the rest."""
    assert known_down(answer(DOWN | difference), CHECKED) == NO_HEALTH + ROW


@pytest.mark.parametrize(
    "lines",
    [
        ["default-server check", "server a 192.0.2.1:80"],
        ['default-server check sni str("x")', "server a 192.0.2.1:80 id 7"],
        ["server a ipv4@192.0.2.1:80 check # no-check"],
        ["server a node.example:80 check"],
        ["server a ${NODE}:80 check"],
        ["default-server no-check", "server a 192.0.2.1:80 check"],
        ["server a 192.0.2.1:80 agent-check agent-port 9"],
    ],
)
def test_the_line_may_be_written_in_many_ways(lines: list[str]) -> None:
    """What cannot be compared counts as the same server: at worst it has to pass its checks first."""
    assert servers_in(known_down(answer(DOWN), text(*lines))) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["server a 192.0.2.1:80"],
        ["default-server check", "server a 192.0.2.1:80 no-check"],
        ["server a 192.0.2.1:80", "default-server check"],
        ["server a 192.0.2.1 check"],
        ["server a 192.0.2.1:${PORT} check"],
        ["server a 192.0.2.1:80 track nodes/b"],
    ],
)
def test_a_server_that_no_check_would_bring_up_has_none(lines: list[str]) -> None:
    """A server on another port than the row's has none either: HAProxy would take the row's port."""
    assert known_down(answer(DOWN), text(*lines)) == NO_HEALTH


def test_the_check_may_stand_in_the_defaults() -> None:
    """Both named `defaults` sections and the ones above count."""
    above = "defaults\n    default-server check\nbackend nodes\n    server a 192.0.2.1:80\n"
    named = f"defaults web\n    default-server check\ndefaults\n{above.partition('check')[2]}"
    assert servers_in(known_down(answer(DOWN), above)) == 1
    assert servers_in(known_down(answer(DOWN), named)) == 0
    assert servers_in(known_down(answer(DOWN), named.replace("backend nodes", "backend nodes from web"))) == 1


def test_sockets_names_and_templates_of_servers_are_known() -> None:
    """HAProxy shows no address of a unix socket, the host name of a server that has one, and numbers its templates."""
    at_socket = DOWN | {"srv_addr": "-", "srv_port": "0"}
    assert servers_in(known_down(answer(at_socket), text("server a unix@/run/a.sock check"))) == 1
    assert servers_in(known_down(answer(at_socket), text("server a /run/a.sock check"))) == 1
    named = DOWN | {"srv_fqdn": "one.example"}
    assert servers_in(known_down(answer(named), text("server a one.example:80 check"))) == 1
    assert servers_in(known_down(answer(named), text("server a two.example:80 check"))) == 0
    numbered = [DOWN | {"srv_name": f"a{number}"} for number in (1, 2, 3, 4)]
    assert servers_in(known_down(answer(*numbered), text("server-template a 3 one.example:80 check"))) == 3
    assert servers_in(known_down(answer(*numbered), text("server-template a 2-3 one.example:80 check"))) == 2
    v6 = DOWN | {"srv_addr": "2001:db8::1"}
    assert servers_in(known_down(answer(v6), text("server a [2001:db8:0::1]:80 check"))) == 1
    no_port = DOWN | {"srv_port": "0"}
    assert servers_in(known_down(answer(no_port), text("server a 192.0.2.1 check"))) == 1


@pytest.mark.parametrize("garbage", ["", "1\n# a b\n\n", answer(DOWN | {"srv_op_state": "x"}), answer(DOWN)[:-1]])
def test_garbage_is_no_health(garbage: str) -> None:
    """An answer that was cut short is garbage too."""
    with pytest.raises(ProxyGarbled):
        known_down(garbage, CHECKED)


def test_a_configuration_reads_the_state_file() -> None:
    """In the first section global, and in each section that has servers; the rest stays as it is."""
    before = "global\n    maxconn 9\ndefaults\nfrontend f\nbackend a # one\nlisten b\n    bind :1\nglobal\n"
    after = with_server_state(before, "/var/lib/h.cfg.server-state")
    assert after == (
        "global\n"
        "    # By rosterd: what was down before a reload stays down until its checks pass.\n"
        '    server-state-file "/var/lib/h.cfg.server-state"\n'
        "    maxconn 9\ndefaults\nfrontend f\nbackend a # one\n"
        "    load-server-state-from-file global\n"
        "listen b\n"
        "    load-server-state-from-file global\n"
        "    bind :1\nglobal\n"
    )
    assert reads_server_state(after, "/var/lib/h.cfg.server-state")
    assert not reads_server_state(after, "/var/lib/h")
    assert not reads_server_state(before, "/var/lib/h.cfg.server-state")


@pytest.mark.parametrize("line", ["server-state-file /x", "  load-server-state-from-file none", "server-state-file"])
def test_a_text_with_lines_of_its_own_stays_as_it_is(line: str) -> None:
    """The template's author has decided."""
    mine = f"global\n{line}\nbackend a\n"
    assert with_server_state(mine, "/y") == mine


def test_a_text_that_names_our_file_itself_counts() -> None:
    """The path counts with and without quotes."""
    assert reads_server_state("global\n  server-state-file /x\n", "/x")
    assert not reads_server_state("global\n  # server-state-file /x\n", "/x")


def test_a_path_is_one_word_whatever_it_holds() -> None:
    """HAProxy would take a blank for the end of the word, and a dollar sign for a variable."""
    made = with_server_state("global\n", '/a b/$HOME"\\é')
    assert '    server-state-file "/a b/\\$HOME\\"\\\\é"\n' in made
    assert reads_server_state(made, '/a b/$HOME"\\é')

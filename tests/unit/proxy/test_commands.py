from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import ProxyGarbled
from rosterd.model import AdminState, RunningServer
from rosterd.proxy.commands import (
    Outcome,
    Worker,
    parse_info,
    parse_messages,
    parse_observation,
    parse_proc,
    parse_reload,
    parse_servers_state,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "haproxy"
VERSIONS = ("2.6", "2.8", "3.0", "3.2", "3.4")
COLUMNS = (
    "be_name",
    "srv_id",
    "srv_name",
    "srv_addr",
    "srv_op_state",
    "srv_admin_state",
    "srv_uweight",
    "srv_port",
    "srv_check_result",
    "srv_check_state",
    "srv_iweight",
    "srv_agent_state",
)


def recorded(version: str, name: str) -> str:
    """Return an answer as a real HAProxy gave it."""
    return (FIXTURES / version / name).read_text(encoding="utf-8")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """A version of HAProxy whose answers were recorded."""
    return str(request.param)


def state_table(*rows: dict[str, str]) -> str:
    """Return a whole `show servers state` with these rows; columns that a row leaves out hold 0."""
    defaults = dict.fromkeys(COLUMNS, "0")
    lines = [" ".join({**defaults, **row}[column] for column in COLUMNS) for row in rows]
    return "\n".join(["1", f"# {' '.join(COLUMNS)}", *lines, "", ""])


class TestObservation:
    """What HAProxy runs, read from both answers at once."""

    def test_who_answers_and_what_it_runs(self, version: str) -> None:
        """The version, the worker's pid and the digest in the description are read."""
        running = parse_observation(recorded(version, "observation.txt"))
        assert running.version.startswith(version)
        assert running.pid > 1
        assert running.structure == "first"

    def test_servers_are_as_the_file_and_the_operator_made_them(self, version: str) -> None:
        """Weight, state, address and health of each server, also where an operator changed them by hand."""
        servers = parse_observation(recorded(version, "observation.txt")).backends["nodes"]
        local = IPv4Address("127.0.0.1")
        ready, drain, maint = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
        assert servers == {
            "ready": RunningServer("ready", 17, local, 3001, 20, ready, up=False, checked=True),
            "drained": RunningServer("drained", 18, local, 3002, 0, ready, up=True, checked=False),
            "disabled": RunningServer("disabled", 19, local, 3003, 5, maint, up=False, checked=False),
            "v6": RunningServer("v6", 20, IPv6Address("::1"), 3004, 7, ready, up=True, checked=True),
            "last": RunningServer("last", 2147483647, local, 3005, 1, ready, up=True, checked=True),
            "by_hand": RunningServer("by_hand", 21, local, 3006, 9, drain, up=True, checked=True),
            "enabled_by_hand": RunningServer("enabled_by_hand", 22, local, 3007, 9, ready, up=True, checked=True),
            "unix_socket": RunningServer("unix_socket", 23, None, 0, 1, ready, up=True, checked=True),
        }

    def test_a_backend_without_servers_is_not_listed(self, version: str) -> None:
        """HAProxy leaves it out; the answer is whole nevertheless."""
        assert parse_observation(recorded(version, "observation_no_servers.txt")).backends == {}

    @pytest.mark.parametrize("description", ["description: shop balancer\n", ""])
    def test_a_configuration_of_somebody_else_has_no_structure(self, description: str) -> None:
        """Another description, or none, gives an empty structure, which equals no digest."""
        text = recorded("2.6", "observation.txt").replace("description: rosterd:first\n", description)
        assert parse_observation(text).structure == ""

    def test_an_answer_cut_anywhere_is_garbled(self, version: str) -> None:
        """A worker that dies while it answers never looks like one with fewer servers."""
        whole = recorded(version, "observation.txt")
        for end in range(len(whole)):
            with pytest.raises(ProxyGarbled):
                parse_observation(whole[:end])


class TestInfo:
    """The answer to `show info`."""

    def test_a_missing_field_is_named(self) -> None:
        """The error says which command and which field."""
        with pytest.raises(ProxyGarbled, match="'show info' lacks Pid"):
            parse_info("Version: 2.6.12\nUptime_sec: 4\n")

    def test_a_number_must_be_one(self) -> None:
        """A pid that is no number is quoted in the error."""
        with pytest.raises(ProxyGarbled, match=r"'show info'.*'many'"):
            parse_info("Version: 2.6.12\nPid: many\nUptime_sec: 4\n")


class TestServersState:
    """The answer to `show servers state`."""

    @pytest.mark.parametrize(
        ("bits", "state"),
        [
            (0x00, AdminState.READY),
            (0x01, AdminState.MAINT),
            (0x02, AdminState.MAINT),
            (0x04, AdminState.READY),
            (0x05, AdminState.MAINT),
            (0x08, AdminState.DRAIN),
            (0x09, AdminState.MAINT),
            (0x10, AdminState.DRAIN),
            (0x20, AdminState.MAINT),
            (0x40, AdminState.READY),
        ],
    )
    def test_admin_bits(self, bits: int, state: AdminState) -> None:
        """Maintenance outweighs drain; `disabled in the file` (4) and `name set by hand` (64) keep nothing out."""
        backends = parse_servers_state(state_table({"srv_admin_state": str(bits)}))
        assert backends["0"]["0"].state is state

    @pytest.mark.parametrize(
        ("agent_state", "bits", "state", "out_by_agent", "weight"),
        [
            pytest.param(0, 0x08, AdminState.DRAIN, AdminState.READY, 50, id="no agent, drain by hand"),
            pytest.param(0x16, 0x00, AdminState.READY, AdminState.READY, 100, id="agent on"),
            pytest.param(0x17, 0x08, AdminState.READY, AdminState.DRAIN, 100, id="drain by the agent, asked just now"),
            pytest.param(0x16, 0x01, AdminState.READY, AdminState.MAINT, 100, id="maintenance by the agent"),
            pytest.param(0x16, 0x05, AdminState.MAINT, AdminState.READY, 100, id="disabled in the file"),
            pytest.param(0x16, 0x04, AdminState.MAINT, AdminState.READY, 100, id="disabled in the file, agent says up"),
            pytest.param(0x16, 0x02, AdminState.MAINT, AdminState.READY, 100, id="maintenance of the tracked server"),
            pytest.param(0x12, 0x08, AdminState.DRAIN, AdminState.READY, 50, id="agent off, drain by hand"),
            pytest.param(0x12, 0x00, AdminState.READY, AdminState.READY, 50, id="agent off"),
        ],
    )
    def test_weight_and_state_are_of_the_line_while_the_agent_is_on(
        self, agent_state: int, bits: int, state: AdminState, out_by_agent: AdminState, weight: int
    ) -> None:
        """What the agent makes of them is the agent's business; a server that it takes out is not up."""
        row = {"srv_agent_state": str(agent_state), "srv_admin_state": str(bits), "srv_uweight": "50"}
        server = parse_servers_state(state_table({**row, "srv_iweight": "100", "srv_op_state": "2"}))["0"]["0"]
        assert (server.state, server.out_by_agent, server.weight) == (state, out_by_agent, weight)
        assert server.up is (out_by_agent is AdminState.READY)
        assert server.initial_weight == (100 if agent_state else 0)

    @pytest.mark.parametrize(
        ("result", "check_state", "is_checked"),
        [(0, 6, False), (0, 7, False), (2, 7, False), (2, 6, True), (3, 6, True), (3, 7, True)],
    )
    def test_a_check_that_fails_counts_once_it_has_ended(
        self,
        result: int,
        check_state: int,
        is_checked: bool,  # noqa: FBT001  a table's column
    ) -> None:
        """HAProxy 3.2 shows the result a moment before the server is down."""
        row = {"srv_check_result": str(result), "srv_check_state": str(check_state), "srv_op_state": "2"}
        assert parse_servers_state(state_table(row))["0"]["0"].checked is is_checked

    @pytest.mark.parametrize(("op_state", "up"), [(0, False), (1, True), (2, True), (3, False)])
    def test_operational_states_that_take_traffic(self, op_state: int, up: bool) -> None:  # noqa: FBT001  a table's column
        """Starting and running servers do, stopped and stopping ones do not."""
        assert parse_servers_state(state_table({"srv_op_state": str(op_state)}))["0"]["0"].up is up

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n\n",
            "Unknown command: 'show'\n\n",
            "2\n# be_name\n\n",
            "1\nbe_name\n\n",
            "1\n# be_id be_name srv_id\n\n",
            state_table({"srv_uweight": "-1"}),
            state_table({"srv_id": "x"}),
            state_table({"srv_port": "٣"}),
            state_table({"srv_name": "a b"}),
        ],
    )
    def test_what_does_not_fit_is_garbled(self, text: str) -> None:
        """Another format, a missing column, a row of another length or no number: the command is named."""
        with pytest.raises(ProxyGarbled, match="'show servers state'"):
            parse_servers_state(text)

    @given(
        st.dictionaries(
            st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True),
            st.tuples(st.integers(1, 2**31 - 1), st.ip_addresses(), st.integers(0, 65535), st.integers(0, 256)),
            max_size=6,
        )
    )
    def test_every_server_comes_back(self, servers: dict[str, tuple[int, IPv4Address | IPv6Address, int, int]]) -> None:
        """Whatever names, ids, addresses, ports and weights the servers have, they are read as they were written."""
        rows = [
            {
                "be_name": "nodes",
                "srv_name": name,
                "srv_id": str(number),
                "srv_addr": str(address),
                "srv_port": str(port),
                "srv_uweight": str(weight),
            }
            for name, (number, address, port, weight) in servers.items()
        ]
        read = parse_servers_state(state_table(*rows)).get("nodes", {})
        assert {name: (s.id, s.address, s.port, s.weight) for name, s in read.items()} == {
            name: (number, ip_address(str(address)), port, weight)
            for name, (number, address, port, weight) in servers.items()
        }


class TestProc:
    """The answer to `show proc`."""

    def test_one_worker(self, version: str) -> None:
        """After a start there is one worker and nothing else."""
        processes = parse_proc(recorded(version, "proc.txt"))
        assert (processes.reloads, processes.failed, processes.old_workers) == (0, 0, ())
        assert [worker.reloads for worker in processes.workers] == [0]

    def test_an_old_worker_is_told_from_the_new_one(self, version: str) -> None:
        """After a reload under a client that stays, the old worker is listed apart."""
        before = parse_proc(recorded(version, "proc.txt"))
        after = parse_proc(recorded(version, "proc_old_worker.txt"))
        assert after.reloads == 1
        assert after.old_workers == (Worker(before.workers[0].pid, reloads=1),)
        assert after.workers[0].pid != before.workers[0].pid

    def test_a_failed_reload_is_counted_and_the_worker_stays(self, version: str) -> None:
        """The worker is the one from before; a later good reload clears the count."""
        before = parse_proc(recorded(version, "proc_old_worker.txt"))
        failed = parse_proc(recorded(version, "proc_failed.txt"))
        assert failed.failed == 1
        assert failed.workers[0].pid == before.workers[0].pid
        assert parse_proc(recorded(version, "proc_after_repair.txt")).failed == 0

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n\n",
            "no such command\n\n",
            "# workers\n12 worker 0 0d00h00m01s 2.6\n\n",
            "#<PID>\n1 master x 0d 2.6\n\n",
        ],
    )
    def test_what_does_not_fit_is_garbled(self, text: str) -> None:
        """Without exactly one master, or with a row of another form, the command is named."""
        with pytest.raises(ProxyGarbled, match="'show proc'"):
            parse_proc(text)


class TestReload:
    """The answer to `reload`."""

    def test_the_answer_of_2_6_tells_nothing(self) -> None:
        """It is empty, whatever happened."""
        assert parse_reload(recorded("2.6", "reload.txt")).outcome is Outcome.UNTOLD
        assert parse_reload(recorded("2.6", "reload_failed.txt")).outcome is Outcome.UNTOLD

    @pytest.mark.parametrize("version", VERSIONS[1:])
    def test_the_answer_of_newer_versions_is_a_proof(self, version: str) -> None:
        """It says whether the file was loaded, and why not."""
        assert parse_reload(recorded(version, "reload.txt")).outcome is Outcome.LOADED
        failed = parse_reload(recorded(version, "reload_failed.txt"))
        assert failed.outcome is Outcome.FAILED
        assert failed.messages.alerts == (
            "parsing [/run/rosterd/haproxy.cfg:22] : unknown keyword 'bogus' in 'backend' section",
        )

    def test_an_earlier_reload_that_is_under_way_is_no_failure(self) -> None:
        """HAProxy 3.1 and newer answer at once, and the file was not read."""
        answer = parse_reload("Success=0\n--\nAnother reload is still in progress.\n\n")
        assert answer.outcome is Outcome.BUSY

    def test_another_answer_is_garbled(self) -> None:
        """A socket that does not know `reload` is no master socket."""
        with pytest.raises(ProxyGarbled, match=r"'reload'.*Unknown command"):
            parse_reload("Unknown command: 'reload'\n")


class TestMessages:
    """What HAProxy says while it reads a configuration."""

    def test_a_message_of_several_lines_stays_together(self) -> None:
        """HAProxy indents what belongs to the message above."""
        said = parse_messages(
            "[NOTICE]   (7) : haproxy version is 2.6.12\n"
            "[WARNING]  (7) : config : missing timeouts for frontend 't'.\n"
            "   | While not properly invalid, you will encounter problems\n"
            "Warnings were found.\n"
        )
        assert said.warnings == (
            "missing timeouts for frontend 't'.\nWhile not properly invalid, you will encounter problems",
        )
        assert said.alerts == ()

    def test_a_taken_port_is_told_without_the_summary(self) -> None:
        """What stays is the line that names the address."""
        said = parse_messages(
            "[ALERT]    (9) : Binding [/f:11] for frontend traffic: cannot bind socket for [127.0.0.1:80].\n"
            "[ALERT]    (9) : [haproxy.main()] Some protocols failed to start their listeners! Exiting.\n"
            "[WARNING]  (9) : Loading failure!\n"
        )
        assert said.alerts == ("Binding [/f:11] for frontend traffic: cannot bind socket for [127.0.0.1:80].",)
        assert said.warnings == ()


@given(st.text())
@pytest.mark.parametrize("parse", [parse_observation, parse_info, parse_servers_state, parse_proc])
def test_any_text_is_garbled(parse: Callable[[str], object], text: str) -> None:
    """No random text passes for an answer, and none raises anything but our own error."""
    with pytest.raises(ProxyGarbled, match="HAProxy's answer to"):
        parse(text)


@given(st.text())
def test_messages_are_read_from_any_text(text: str) -> None:
    """They are for people: what looks strange is left out, and nothing is raised."""
    assert parse_messages(text).alerts == ()

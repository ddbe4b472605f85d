"""Requests under way to each server, and whether its check has spoken: what the steps of a plan wait for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import ProxyGarbled
from rosterd.proxy.commands import parse_observation, parse_servers_state, parse_sessions

RECORDED = (
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,\n"
    "nodes,web-1,0,0,2,5,,17,100,200,\n"
    "nodes,web-2,3,9,0,1,30,4,0,0,\n"
    "cache,web-1,1,1,1,1,,1,0,0,\n"
    "\n"
)
"""As HAProxy 2.6.12 writes it, with the first ten of its columns."""

OBSERVATION = (
    "Version: 2.6.12-1\nPid: 7\ndescription: rosterd:digest\n\n"
    "1\n# be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port srv_check_result "
    "srv_check_state srv_iweight srv_agent_state\nnodes 1 web-1 10.0.0.1 2 0 100 80 3 6 100 0\n\n"
)


def table(*rows: tuple[str, str, str, str], columns: str = "pxname,svname,qcur,scur") -> str:
    """Return a `show stat` with these columns and rows."""
    return "\n".join((f"# {columns}", *(",".join(row) for row in rows), "", ""))


class TestSessions:
    """The answer to `show stat` for servers."""

    def test_those_that_run_and_those_that_queue(self) -> None:
        """Both are requests of somebody who waits for an answer; two services may have servers of one name."""
        assert parse_sessions(RECORDED) == {("nodes", "web-1"): 2, ("nodes", "web-2"): 3, ("cache", "web-1"): 2}

    def test_the_columns_are_found_by_name(self) -> None:
        """A newer HAProxy may have more of them, in another order."""
        assert parse_sessions(table(("5", "a", "4", "b"), columns="scur,svname,qcur,pxname")) == {("b", "a"): 9}

    def test_a_haproxy_without_servers(self) -> None:
        """There is a head and nothing below it."""
        assert parse_sessions(table()) == {}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "Unknown command\n\n",
            table(columns="pxname,svname,qcur"),
            table(("nodes", "web-1", "", "1")),
            table(("nodes", "web-1", "0", "-1")),
            table(("nodes", "web-1", "0", "\u0663")),
            "# pxname,svname,qcur,scur\nnodes,web-1,0\n\n",
            "\n\n",
        ],
    )
    def test_what_does_not_fit_is_garbled(self, text: str) -> None:
        """No column, no number, a row too short, nothing at all: the command is named."""
        with pytest.raises(ProxyGarbled, match="'show stat"):
            parse_sessions(text)

    def test_an_answer_cut_anywhere_is_garbled(self) -> None:
        """A server whose line is missing would look as if nothing ran on it."""
        for end in range(len(RECORDED)):
            with pytest.raises(ProxyGarbled):
                parse_sessions(RECORDED[:end])

    @given(
        st.dictionaries(
            st.tuples(st.sampled_from(["nodes", "cache"]), st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)),
            st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
            max_size=6,
        )
    )
    def test_every_count_comes_back(self, counts: dict[tuple[str, str], tuple[int, int]]) -> None:
        """Whatever the names and the numbers."""
        rows = [(service, name, str(queued), str(running)) for (service, name), (queued, running) in counts.items()]
        assert parse_sessions(table(*rows)) == {key: sum(pair) for key, pair in counts.items()}

    @given(st.text(), st.sampled_from(["", "# ", "# pxname,svname,qcur,scur\n"]))
    def test_any_text_is_an_answer_or_garbled(self, text: str, head: str) -> None:
        """Nothing but our own error, however odd it is; a count is never below zero."""
        try:
            counts = parse_sessions(f"{head}x{text}\n\n")
        except ProxyGarbled:
            return
        assert all(number >= 0 for number in counts.values())


class TestObservation:
    """Sessions beside the rest of what HAProxy runs."""

    def test_without_the_question(self) -> None:
        """There are none, which is not the same as none that run."""
        assert parse_observation(OBSERVATION).sessions == {}

    def test_with_the_question(self) -> None:
        """Both answers are read, each to its end."""
        running = parse_observation(OBSERVATION + RECORDED)
        assert list(running.backends["nodes"]) == ["web-1"]
        assert running.sessions["nodes", "web-1"] == 2

    def test_one_that_was_cut_short_never_shows_fewer_requests(self) -> None:
        """It is garbled, or it looks like one without the question."""
        whole = OBSERVATION + RECORDED
        for end in range(len(OBSERVATION), len(whole)):
            try:
                running = parse_observation(whole[:end])
            except ProxyGarbled:
                continue
            assert running.sessions == {}


class TestChecked:
    """Whether the health check of a server has spoken, or there is none to wait for."""

    @pytest.mark.parametrize(
        ("state", "result", "checked"),
        [
            pytest.param(0, 0, True, id="no check"),
            pytest.param(6, 0, False, id="not yet"),
            pytest.param(14, 0, False, id="not yet, and in maintenance"),
            pytest.param(6, 2, True, id="failed"),
            pytest.param(6, 3, True, id="passed"),
            pytest.param(6, 4, True, id="passed, but going"),
            pytest.param(7, 0, False, id="under way"),
            pytest.param(
                2,
                0,
                False,
                id="configured, but nobody switched it on",
            ),
        ],
    )
    def test_state_and_result(self, state: int, result: int, checked: bool) -> None:  # noqa: FBT001  a table's column
        """Bits of srv_check_state and numbers of srv_check_result, as HAProxy's management guide lists them."""
        text = OBSERVATION.partition("\n\n")[2].replace(" 3 6 100 0\n", f" {result} {state} 100 0\n")
        found = parse_servers_state(text)["nodes"]["web-1"]
        assert (found.checked, found.checking) == (checked, state == 7)

"""What the daemon tells: the fields that programs rely on, and the way back from the member list."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.answers import members_answer, plan_answer, records_of, status_answer
from rosterd.errors import MembersFileError
from rosterd.generation import of_desired, of_running
from rosterd.model import (
    AdminState,
    Backend,
    Desired,
    Member,
    MemberRecord,
    Nothing,
    Plan,
    Reason,
    ReasonKind,
    Reload,
    RemoveServer,
    Running,
    RunningServer,
    Runtime,
    SetWeight,
    Status,
    Wait,
)
from rosterd.parse import printable
from rosterd.planner import Planned
from rosterd.policy import View, decide
from rosterd.proxy.traffic import Figures, Reading, Traffic
from rosterd.report import LastReload, Report
from rosterd.roster import EMPTY, Table, advance, inherit
from rosterd.settings import PolicySettings, ServiceSettings
from tests.unit.members import EVERYBODY, hostile_text, record, table_of

NODES = ServiceSettings(name="nodes")
SEEN = RunningServer("web-1", 1, IPv4Address("10.0.0.1"), 3000, 100, AdminState.READY, up=False, checked=True)
RUNNING = Running("2.6.12", 99, "digest", {"nodes": {"web-1": SEEN}}, {})
DESIRED = Desired("digest", (Backend("nodes", ()),), "text")
WANTED = of_desired(DESIRED, 0, None).servers_digest
RUNS = of_running(RUNNING, 0, None).servers_digest
EARLY = Report(
    version="1.2.3",
    pid=4711,
    now=100.0,
    started_at=90.0,
    complete=False,
    table=EMPTY,
    decision=None,
    planned=Planned(None),
    template_servers=frozenset(),
    refused={},
    desired=None,
    on_disk=None,
    running=None,
    runs=None,
    health_score=0,
    own_address=None,
    encrypted=None,
    names_networks=False,
    agent_since=90.0,
    agent_error="not reached yet",
    proxy_since=90.0,
    proxy_error="not reached yet",
    blueprint_error="",
    action_error="",
    file_lags=False,
    departed={},
    penalties={},
    flap_half_life_s=30.0,
    services=(NODES,),
    stale_limit_s=30.0,
    reloads=0,
    reloads_failed=0,
    last_reload=None,
)
"""A daemon that has only just started."""


BARRED = "address 127.0.0.1 is loopback, which policy.networks does not name"


TRAFFIC = Reading(
    99.25,
    Traffic({"nodes": Figures(8, 5, 41, 4, "", 99)}, {("nodes", "web-1"): Figures(7, 2, 40, 3, "L7OK", 65)}),
    "",
)
"""What HAProxy said when it was asked for traffic."""


def at_work() -> Report:
    """Return the report of a daemon that serves one of two servers, one failed, and has one member in quarantine."""
    table = table_of(
        record("web-1", "10.0.0.1"), record("web-2", "10.0.0.2"), record("bad", port="x"), record("web-3", "10.0.0.1")
    )
    first = decide(table, (NODES,), View(served={}, answering={}, health_score=0), PolicySettings(), 0)
    fallen = (record("web-1", "10.0.0.1"), record("web-2", "10.0.0.2", "failed"), record("bad", port="x"))
    web_3 = record("web-3", "10.0.0.1")
    table, _ = advance(table, (*fallen, web_3), 50.0, served=EVERYBODY)
    table, _ = advance(
        table, (*fallen, web_3, record("web-4", "10.0.0.4"), record("lo", "127.0.0.1")), 55.0, served=EVERYBODY
    )
    decision = decide(
        table,
        (NODES,),
        View(served=first.lines, answering={}, health_score=0, waiting={"web-4": 140.0}),
        PolicySettings(),
        60,
    )
    return replace(
        EARLY,
        complete=True,
        table=table,
        decision=decision,
        planned=Planned(Nothing()),
        desired=of_desired(DESIRED, 95.0, None),
        on_disk=of_desired(DESIRED, 97.5, None),
        runs=of_running(RUNNING, 90.0, None),
        running=RUNNING,
        agent_error="",
        agent_since=91.5,
        proxy_error="",
        health_score=1,
        reloads=3,
        reloads_failed=1,
        last_reload=LastReload(95.25, ("nodes/web-2 at 10.0.0.2 port 3000",), ""),
    )


def as_json(answer: object) -> Any:  # noqa: ANN401  JSON can be anything
    """Return what a program reads that asks for it."""
    return json.loads(json.dumps(answer, allow_nan=False))


class TestStatus:
    """`/v1/status` and `rosterd status --json`."""

    def test_of_a_daemon_at_work(self) -> None:
        """Every field, by its name; programs rely on them."""
        ids = {server.name: server.id for server in at_work().decision.backends[0].servers}  # type: ignore[union-attr]
        assert as_json(status_answer(at_work(), TRAFFIC)) == {
            "version": "1.2.3",
            "pid": 4711,
            "uptime_s": 10.0,
            "ready": True,
            "agent": {
                "reachable": True,
                "since_s": 8.5,
                "stale_s": 0.0,
                "stale": False,
                "health_score": 1,
                "encrypted": None,
                "admits_anyone": False,
                "address": None,
                "error": "",
            },
            "proxy": {
                "reachable": True,
                "since_s": 10.0,
                "error": "",
                "version": "2.6.12",
                "pid": 99,
                "structure": "digest",
                "servers_digest": RUNS,
            },
            "services": [
                {
                    "name": "nodes",
                    "servers": [
                        {
                            "name": "web-1",
                            "id": ids["web-1"],
                            "address": "10.0.0.1",
                            "port": 3000,
                            "weight": 100,
                            "state": "ready",
                            "up": False,
                            "held": "",
                            "by_hand": False,
                            "out_by_agent": None,
                            "sessions": 7,
                            "queue": 2,
                            "rate_per_s": 40,
                            "errors": 3,
                            "check": "L7OK",
                            "since_s": 65,
                        },
                        {
                            "name": "web-2",
                            "id": ids["web-2"],
                            "address": "10.0.0.2",
                            "port": 3000,
                            "weight": 100,
                            "state": "ready",
                            "up": None,
                            "held": "failed",
                            "by_hand": False,
                            "out_by_agent": None,
                            "sessions": None,
                            "queue": None,
                            "rate_per_s": None,
                            "errors": None,
                            "check": None,
                            "since_s": None,
                        },
                    ],
                    "leaving": [],
                    "template_servers": [],
                    "sessions": 8,
                    "queue": 5,
                    "rate_per_s": 41,
                    "errors": 4,
                }
            ],
            "guard": "",
            "guard_overridden": "",
            "displaced": [{"service": "nodes", "server": "web-3", "by": "web-1"}],
            "barred": [{"service": "nodes", "server": "lo", "reason": BARRED}],
            "damped": [{"service": "nodes", "server": "web-4", "for_s": 40.0}],
            "quarantined": [{"name": "bad", "reason": "tag port 'x' is not a number from 1 to 65535"}],
            "traffic": {"age_s": 0.75, "error": ""},
            "plan": {
                "action": "nothing",
                "reasons": [],
                "commands": [],
                "waits": [],
                "lines": [],
                "lines_total": 0,
                "left": [],
            },
            "refused": [],
            "file": {"level": True},
            "generations": {
                "desired": {
                    "structure": "digest",
                    "servers_digest": WANTED,
                    "age_s": 5.0,
                },
                "file": {
                    "structure": "digest",
                    "servers_digest": WANTED,
                    "age_s": 2.5,
                },
                "running": {
                    "structure": "digest",
                    "servers_digest": RUNS,
                    "age_s": 10.0,
                },
            },
            "blueprint": {"structure": "digest", "error": ""},
            "action_error": "",
            "reloads": 3,
            "reloads_failed": 1,
            "last_reload": {"age_s": 4.75, "reasons": ["nodes/web-2 at 10.0.0.2 port 3000"], "error": ""},
        }

    def test_it_has_the_same_fields_from_the_start(self) -> None:
        """Programs need not ask which are there yet."""
        early = as_json(status_answer(EARLY))
        assert early.keys() == as_json(status_answer(at_work())).keys()
        assert (early["ready"], early["services"], early["last_reload"]) == (False, [], None)
        assert early["plan"]["action"] == "unknown"

    def test_who_leaves_has_the_requests_that_the_traffic_shows(self) -> None:
        """Queued ones included; where that is not known, those that the loop has counted, or null."""
        report = at_work()
        assert report.running is not None
        going = replace(report, departed={("nodes", "web-1"): 98.0})
        counted = replace(going, running=replace(report.running, sessions={("nodes", "web-1"): 4}))
        shown = [status_answer(going, TRAFFIC), status_answer(counted), status_answer(going)]
        assert [status["services"][0]["leaving"] for status in shown] == [
            [{"name": "web-1", "since_s": 2.0, "sessions": sessions}] for sessions in (9, 4, None)
        ]

    @pytest.mark.parametrize(
        ("change", "reasons"),
        [
            ({}, ()),
            ({"complete": False}, ("no complete state has been applied yet",)),
            ({"complete": False, "agent_error": "gone"}, ("no complete state has been applied yet", "gone")),
            ({"proxy_error": "no HAProxy"}, ("no HAProxy",)),
            ({"agent_error": "gone", "agent_since": 70.1}, ()),
            ({"agent_error": "gone", "agent_since": 70.0}, ("gone",)),
            ({"agent_error": "gone", "agent_since": 70.0, "proxy_error": "no HAProxy"}, ("gone", "no HAProxy")),
        ],
    )
    def test_ready_means_all_of_it(self, change: dict[str, Any], reasons: tuple[str, ...]) -> None:
        """A first complete state, a HAProxy that answers, and an agent that has not been silent for too long."""
        report = replace(at_work(), **change)
        assert (report.not_ready, report.ready) == (reasons, not reasons)

    def test_staleness_counts_while_the_agent_is_silent(self) -> None:
        """From when it fell silent."""
        assert replace(at_work(), agent_error="gone", agent_since=97.5).stale_s == 2.5
        assert at_work().stale_s == 0

    def test_it_is_stale_when_the_agent_has_been_silent_for_too_long(self) -> None:
        """And not while it answers, however long it has done so."""
        silent = replace(at_work(), agent_error="gone", agent_since=70.1)
        assert not silent.is_stale
        assert replace(silent, now=silent.now + 1.0).is_stale
        assert not replace(at_work(), agent_since=0.0).is_stale


class TestMembers:
    """`/v1/members` and `rosterd members --json`."""

    def test_each_kind_of_member(self) -> None:
        """A whole one, one in quarantine and one of which only the name is known, ordered by name."""
        table, _ = advance(
            inherit(["z-inherited"], 40.0),
            (record("web-1", "10.0.0.1", node="shop", weight="7"), record("bad", port="x")),
            60.0,
            served=EVERYBODY,
        )
        assert as_json(members_answer(replace(EARLY, table=table))) == {
            "members": [
                {
                    "name": "bad",
                    "node": "bad",
                    "address": None,
                    "role": None,
                    "status": "alive",
                    "since_s": 40.0,
                    "departures": 0.0,
                    "quarantined": "tag port 'x' is not a number from 1 to 65535",
                    "tags": {},
                },
                {
                    "name": "web-1",
                    "node": "shop",
                    "address": "10.0.0.1",
                    "role": "backend",
                    "status": "alive",
                    "since_s": 40.0,
                    "departures": 0.0,
                    "quarantined": "",
                    "tags": {"role": "backend", "node": "shop", "weight": "7"},
                },
                {
                    "name": "z-inherited",
                    "node": "z-inherited",
                    "address": None,
                    "role": None,
                    "status": "unseen",
                    "since_s": 60.0,
                    "departures": 0.0,
                    "quarantined": "",
                    "tags": {},
                },
            ]
        }


class TestPlan:
    """A plan as JSON."""

    @pytest.mark.parametrize(
        ("plan", "shown"),
        [
            (None, {"action": "unknown", "reasons": [], "commands": [], "waits": []}),
            (Nothing(), {"action": "nothing", "reasons": [], "commands": [], "waits": []}),
            (
                Runtime((SetWeight("a", "b", 1),), (Wait("a", "c", "its first check"),)),
                {
                    "action": "runtime",
                    "reasons": [],
                    "commands": ["set server a/b weight 1"],
                    "waits": [{"service": "a", "server": "c", "for": "its first check"}],
                },
            ),
            (
                Reload((Reason(ReasonKind.SERVER_REMOVED, "nodes/web-1"),), (RemoveServer("a", "b"),)),
                {
                    "action": "reload",
                    "reasons": [{"kind": "server_removed", "detail": "nodes/web-1"}],
                    "commands": ["del server a/b"],
                    "waits": [],
                },
            ),
        ],
    )
    def test_each_form(self, plan: Plan | None, shown: dict[str, object]) -> None:
        """Each form has the same fields."""
        assert as_json(plan_answer(Planned(plan))) == shown | {"lines": [], "lines_total": 0, "left": []}


# --- the way back -----------------------------------------------------------------------------------------------


def there_and_back(table: Table) -> Table:
    """Return the table that the printed members of a table make."""
    text = json.dumps(members_answer(replace(EARLY, table=table)))
    back, _ = advance(EMPTY, records_of(text, "members.json"), 0.0, served=EVERYBODY)
    return back


def row(**fields: object) -> str:
    """Return a member list of one good member, with these fields otherwise."""
    good: dict[str, object] = {"name": "web-1", "address": "10.0.0.1", "status": "alive", "tags": {"role": "backend"}}
    return json.dumps({"members": [good | fields]})


class TestRecordsOf:
    """What `rosterd members --json` prints is what `rosterd render --members` takes."""

    def test_members_come_back_as_they_were(self) -> None:
        """All that counts for a decision: name, node, address, tags and status."""
        table = table_of(
            record("a", "10.0.0.1", node="shop", port="80", weight="7", state="drain"),
            record("b", "2001:db8::1", "failed"),
            record("c", "10.0.0.3", "left"),
            record("d", "10.0.0.4", rack='7 "\\ \n'),
        )
        back = there_and_back(table)
        assert {name: (entry.status, entry.subject) for name, entry in back.entries.items()} == {
            name: (entry.status, entry.subject) for name, entry in table.entries.items()
        }

    @given(st.dictionaries(hostile_text, hostile_text, max_size=4))
    def test_so_do_any_tags(self, tags: dict[bytes, bytes]) -> None:
        """What is shown of them in escapes is read back from those."""
        tags = {key: value for key, value in tags.items() if printable(key) not in {"node", "port", "weight", "state"}}
        table = table_of(replace(record("web-1"), tags=tags))
        subject = there_and_back(table).entries["web-1"].subject
        assert isinstance(subject, Member)
        assert subject == table.entries["web-1"].subject

    def test_who_is_not_known_in_full_is_left_out(self) -> None:
        """The quarantined and the inherited have no address to be served at."""
        table, _ = advance(inherit(["z"], 0), [record("bad", port="x")], 0, served=EVERYBODY)
        assert there_and_back(table) == EMPTY

    def test_who_is_unseen_is_no_word_of_serfs(self) -> None:
        """It is printed with that status, and read back it says nothing."""
        table, _ = advance(table_of(record("web-1")), [], 1.0, served=EVERYBODY)
        assert table.entries["web-1"].status is Status.UNSEEN
        assert there_and_back(table) == EMPTY

    def test_written_by_hand(self) -> None:
        """Four fields are enough."""
        assert records_of(row(), "f") == (
            MemberRecord(b"web-1", bytes([10, 0, 0, 1]), 0, {b"role": b"backend"}, b"alive"),
        )

    @pytest.mark.parametrize("text", ["", "{", "members", '{"members": [}'])
    def test_no_json(self, text: str) -> None:
        """The message names the file."""
        with pytest.raises(MembersFileError, match=r"^m\.json: is not JSON: "):
            records_of(text, "m.json")

    @pytest.mark.parametrize(
        "text", ["[]", "null", "5", '"members"', "{}", '{"members": null}', '{"members": {}}', '{"members": "web-1"}']
    )
    def test_no_list_of_members(self, text: str) -> None:
        """Another JSON is not taken for a cluster without members."""
        with pytest.raises(MembersFileError, match=r"^m\.json: is not what `rosterd members --json` prints"):
            records_of(text, "m.json")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('{"members": ["web-1"]}', "it should be an object"),
            ('{"members": [null]}', "it should be an object"),
            ('{"members": [{}]}', "tags should be an object"),
            (row(name=None), "name should be text"),
            (row(name=5), "name should be text"),
            (row(name="\ud800"), "surrogates not allowed"),
            (row(address="web-1.example"), "'web-1.example' does not appear to be an IPv4 or IPv6 address"),
            (row(address=5), "address should be text"),
            (row(address=""), "does not appear to be"),
            (row(status=None), "status should be text"),
            (row(tags=None), "tags should be an object"),
            (row(tags=["role"]), "tags should be an object"),
            (row(tags={"port": 80}), "port should be text"),
        ],
    )
    def test_a_member_that_is_none(self, text: str, words: str) -> None:
        """The message names file and member, says what is wrong, and what a member needs."""
        with pytest.raises(MembersFileError) as caught:
            records_of(text, "m.json")
        assert str(caught.value).startswith("m.json: member 1: ")
        assert words in str(caught.value)
        assert str(caught.value).endswith("; a member has name, address, status and tags")

    def test_members_are_counted_from_one(self) -> None:
        """Those that are left out count, so that the number leads to the place in the file."""
        rows = [json.loads(row())["members"][0], {"name": "z", "address": None}, {"name": "bad"}]
        with pytest.raises(MembersFileError, match="member 3"):
            records_of(json.dumps({"members": rows}), "m.json")

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["members", "name", "address", "status", "tags", "x"]), inner, max_size=4
                )
            ),
            max_leaves=8,
        )
    )
    def test_any_json_is_members_or_an_error_of_ours(self, answer: object) -> None:
        """No other exception, whatever is piped in."""
        try:
            records = records_of(json.dumps({"members": [answer]}), "m.json")
        except MembersFileError:
            return
        assert all(isinstance(record, MemberRecord) for record in records)

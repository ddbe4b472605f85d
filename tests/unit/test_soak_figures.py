"""The soak's pure parts: options, schedule, excuses, what is well, figures and report."""

import json
import os
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from rosterd.model import AdminState, Running, RunningServer
from tests.bench.samples import Outcome, number_of
from tests.bench.samples import Sample as Request
from tests.soak.census import MASTER, Process, Sample, Usage, orphans_among, processes_below, program_of
from tests.soak.faults import FAULTS
from tests.soak.figures import BEFORE, Losses, fault_rows, growth, losses_by_turn, uses
from tests.soak.ledger import Excuse, Ledger, Span
from tests.soak.options import PLOTS, WrongUsage, options_of
from tests.soak.place import WEB_NODES
from tests.soak.report import as_json, report_of, sum_rows, uses_rows
from tests.soak.report import fault_rows as rows_for_people
from tests.soak.runner import Played, Story, bugs_in
from tests.soak.schedule import Part, Turn, go_together, turns
from tests.soak.wellbeing import ailments

WEB = "127.20.0.11"


@dataclass
class Card:
    """A fault as the schedule sees it."""

    name: str
    parts: frozenset[Part]
    nodes: int = 0
    excuse: str = ""


def request(due: float, done: float, outcome: Outcome = Outcome.ANSWERED, status: int = 200) -> Request:
    """A request to the one web node."""
    return Request(due, due, done, number_of(WEB), status, outcome, 0)


def played(began_at: float, *faults: str, well_at: float | None = 0.0, problems: tuple[str, ...] = ()) -> Played:
    """A turn that began then; its faults were undone a second later."""
    turn = Turn(1, faults, pause_s=0.0, apart_s=0.0, seed=0)
    return Played(turn, began_at, began_at + 1.0, None if well_at is None else well_at or began_at + 1.5, problems)


class TestOptions:
    """What the environment may say."""

    def test_without_any(self) -> None:
        """Ten minutes, all faults, a seed that is fresh, and a picture for the documentation."""
        options = options_of({}, ["a", "b"], fresh_seed=5)
        assert (options.minutes, options.seed, options.faults) == (10.0, 5, frozenset({"a", "b"}))
        assert (options.report, options.plots) == (None, PLOTS)

    def test_a_choice(self) -> None:
        """The seed by either name; a run of some faults draws nothing unless it is asked to."""
        options = options_of({"MINUTES": "0.5", "FAULT_SEED": "7", "FAULTS": "b", "SOAK_REPORT": "x"}, ["a", "b"], 5)
        assert (options.minutes, options.seed, options.faults) == (0.5, 7, frozenset({"b"}))
        assert (options.report, options.plots) == (Path("x"), None)
        assert options_of({"FAULT_SEED": "7", "SOAK_SEED": "8"}, ["a"], 5).seed == 8

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"MINUTES": "0"}, "MINUTES=0"),
            ({"MINUTES": "ten"}, "MINUTES=ten"),
            ({"MINUTES": "nan"}, "MINUTES=nan"),
            ({"SOAK_SEED": "-1"}, "SOAK_SEED=-1"),
            ({"FAULTS": "c"}, "FAULTS=c: may be any of a, b"),
        ],
    )
    def test_a_mistake_is_named(self, given: dict[str, str], words: str) -> None:
        """With the variable, and what it may be."""
        with pytest.raises(WrongUsage, match=words):
            options_of(given, ["a", "b"], 5)


class TestSchedule:
    """Which faults happen when."""

    def test_the_same_seed_gives_the_same_turns(self) -> None:
        """And another seed others."""
        first, again, other = (list(islice(turns(seed, FAULTS, WEB_NODES), 60)) for seed in (1, 1, 2))
        assert first == again
        assert first != other

    @pytest.mark.parametrize("seed", range(20))
    def test_every_fault_comes_before_any_comes_again(self, seed: int) -> None:
        """So that each is tried as often as the others."""
        dealt: list[str] = []
        for turn in turns(seed, FAULTS, WEB_NODES):
            dealt += turn.faults
            if len(dealt) >= 3 * len(FAULTS):
                break
        assert set(Counter(dealt).values()) == {3}

    @pytest.mark.parametrize("seed", range(20))
    def test_two_faults_go_together(self, seed: int) -> None:
        """They break different things, one of them at most may lose requests, and somebody is left to answer."""
        kinds = {kind.name: kind for kind in FAULTS}
        pairs = [turn for turn in islice(turns(seed, FAULTS, WEB_NODES), 60) if len(turn.faults) == 2]
        assert pairs
        for turn in pairs:
            one, other = (kinds[name] for name in turn.faults)
            assert not one.parts & other.parts
            assert not (one.excuse and other.excuse)
            assert one.nodes + other.nodes < WEB_NODES

    def test_who_does_not_go_together(self) -> None:
        """The same part, two excuses, nobody left; few left where requests may fail anyway."""
        agent, nodes = frozenset({Part.AGENT}), frozenset({Part.NODES})
        assert not go_together(Card("a", agent), Card("b", agent), 6)
        assert not go_together(Card("a", agent, excuse="x"), Card("b", nodes, excuse="y"), 6)
        assert not go_together(Card("a", agent, nodes=1), Card("b", nodes, nodes=5), 6)
        assert not go_together(Card("a", agent, excuse="x"), Card("b", nodes, nodes=4), 6)
        assert go_together(Card("a", agent, excuse="x"), Card("b", nodes, nodes=3), 6)
        assert go_together(Card("a", agent), Card("b", nodes, nodes=5), 6)

    def test_nothing_to_deal(self) -> None:
        """Without faults there are no turns."""
        assert list(turns(1, [], 6)) == []

    def test_names_are_used_once(self) -> None:
        """Each fault has a name of its own, and says what happens."""
        assert len({kind.name for kind in FAULTS}) == len(FAULTS)
        assert all(kind.what and kind.parts and kind.nodes <= WEB_NODES for kind in FAULTS)


class TestLedger:
    """Requests, and excuses for those that failed."""

    def test_seconds(self) -> None:
        """A request counts in the second in which it was due."""
        ledger = Ledger(begin=100.0)
        ledger.take(request(100.5, 100.6))
        ledger.take(request(102.5, 107.5, Outcome.LATE))
        assert [(second.requests, second.failed) for second in ledger.seconds] == [(1, 0), (0, 0), (1, 1)]
        assert ledger.seconds[0].slowest_s == pytest.approx(0.1)
        assert ledger.latest(number_of(WEB)) == 100.5

    @pytest.mark.parametrize(
        ("due", "done", "is_excused"),
        [(9.9, 10.1, True), (10.5, 10.5, True), (12.0, 12.1, True), (9.0, 9.9, False), (12.1, 12.2, False)],
    )
    def test_what_an_excuse_covers(self, due: float, done: float, is_excused: bool) -> None:  # noqa: FBT001  a table
        """What was under way when it began, and what was due before it ended; nothing else."""
        ledger = Ledger(begin=0.0)
        ledger.take(request(due, done, Outcome.REFUSED))
        ledger.excuse(Excuse(Span(10.0, 12.0), "killed"))
        lost = losses_by_turn(ledger, [played(0.0)])[0]
        assert lost == (Losses(0, 1) if is_excused else Losses(1, 0))

    def test_what_a_death_excuses(self) -> None:
        """An answer that was cut short at that moment, and no other kind of failure."""
        ledger = Ledger(begin=0.0)
        for outcome in (Outcome.CLOSED, Outcome.REFUSED):
            ledger.take(request(10.0, 10.2, outcome))
        ledger.excuse(Excuse(Span(10.1, 10.3), "killed", cut_only=True))
        assert losses_by_turn(ledger, [played(0.0)])[0] == Losses(1, 1)

    def test_a_failure_belongs_to_its_turn(self) -> None:
        """By when it was due; one with an excuse to the turn that gave it, although it was due before."""
        ledger = Ledger(begin=0.0)
        for due, done in ((1.0, 1.1), (11.0, 11.1), (19.9, 20.1)):
            ledger.take(request(due, done, Outcome.RESET))
        ledger.excuse(Excuse(Span(20.05, 22.0), "killed"))
        losses = losses_by_turn(ledger, [played(10.0), played(20.0)])
        assert losses == {BEFORE: Losses(1, 0), 0: Losses(1, 0), 1: Losses(0, 1)}


class TestFigures:
    """Numbers for each fault, and for memory."""

    def test_rows(self) -> None:
        """Two faults of one turn share its time and what failed, but not what one of them has an excuse for."""
        story = [played(0.0, "a", "b"), played(10.0, "a", well_at=14.0), played(20.0, "a", well_at=None)]
        rows = fault_rows(["a", "b", "c"], story, {0: Losses(2, 3), 1: Losses(), 2: Losses()}, {"a": 3})
        assert rows["a"] == {
            "tried": 3,
            "with_another": 1,
            "failed": 2,
            "excused": 3,
            "heal_median_s": 0.5,
            "heal_longest_s": 3.0,
            "not_healed": 1,
            "problems": 0,
        }
        assert (rows["b"]["tried"], rows["b"]["failed"], rows["b"]["excused"]) == (1, 2, 0)
        assert (rows["c"]["tried"], rows["c"]["heal_median_s"]) == (0, None)

    def test_growth(self) -> None:
        """The median of the last third beside that of the first: one peak is no growth."""
        assert growth([10.0, 10.0, 90.0, 10.0, 10.0, 10.0, 11.0, 11.0, 11.0]) == {
            "first_third": 10.0,
            "last_third": 11.0,
            "grown_percent": 10.0,
            "most": 90.0,
        }
        assert growth([1.0, 2.0]) == {}

    def test_the_longest_life(self) -> None:
        """A daemon that is killed now and then hides what it gains: the one that lived longest is looked at alone."""
        lives = [1, 1, 2, 2, 2, 2, 2, 2, 3]
        samples = [Sample(float(at), Usage(pid, 60.0 + at, 10), None, None, 0, 20, 0) for at, pid in enumerate(lives)]
        found = uses(samples)
        assert found["rosterd"]["lives"] == 3
        assert found["rosterd_longest_life"]["life_s"] == 5
        assert found["rosterd_longest_life"]["rss_mb"]["first_third"] == 62.0


class TestCensus:
    """Which process is what, and whom nobody looks after."""

    @pytest.mark.parametrize(
        ("words", "program"),
        [
            (["/x/python", "-m", "rosterd", "run"], "rosterd"),
            (["/x/python", "-m", "webapp"], "webapp"),
            (["/x/python", "/x/supervisord", "-c", "y"], "supervisord"),
            (["haproxy", "-W", "-db"], MASTER),
            (["haproxy", "-c", "-f", "y"], "haproxy -c"),
            (["/usr/bin/serf", "agent"], "serf"),
            ([], ""),
        ],
    )
    def test_programs(self, words: list[str], program: str) -> None:
        """By the command line."""
        assert program_of(words) == program

    def test_orphans(self) -> None:
        """Whose parent is gone, and whose supervisord is gone."""
        supervisor = Process(10, 1, 10, "supervisord", "/c/web1")
        child = Process(11, 10, 10, "serf", "/c/web1")
        lost_parent = Process(12, 1, 10, "haproxy -c", "/c/web1")
        lost_supervisor = Process(21, 1, 20, "serf", "/c/web2")
        found = orphans_among([supervisor, child, lost_parent, lost_supervisor])
        assert found == (lost_parent, lost_supervisor)


def status(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  parts of the daemon's JSON
    """The status of a daemon that is content, with changes."""
    content = {
        "ready": True,
        "agent": {"error": ""},
        "proxy": {"error": ""},
        "plan": {"action": "nothing"},
        "file": {"level": True},
        "blueprint": {"error": ""},
        "action_error": "",
        "damped": [],
        "quarantined": [],
    }
    return content | changes


def running(*servers: RunningServer) -> Running:
    """A HAProxy with these servers."""
    return Running("2.6", 1, "x", {"nodes": {server.name: server for server in servers}}, {})


def server(name: str = "web1", address: str = WEB, weight: int = 100, *, up: bool = True) -> RunningServer:
    """A server of the one web node."""
    return RunningServer(name, 1, ip_address(address), 3000, weight, AdminState.READY, up, checked=True)


MEMBERS = {"members": [{"address": WEB, "status": "alive"}, {"address": WEB, "status": "left"}]}


class TestWellbeing:
    """What is amiss, from all sides."""

    def test_all_is_well(self) -> None:
        """Nothing to say."""
        assert ailments(status(), MEMBERS, running(server()), [WEB], []) == []

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"ready": False, "agent": {"error": "no agent"}}, "not ready: no agent"),
            ({"plan": {"action": "reload"}}, "has something to do"),
            ({"file": {"level": False}}, "the file lags behind"),
            ({"blueprint": {"error": "no template"}}, "an edit failed: no template"),
            ({"action_error": "disk full"}, "an action failed: disk full"),
            ({"damped": [{"server": "web1"}]}, "damped"),
        ],
    )
    def test_what_the_daemon_says(self, changes: dict[str, Any], words: str) -> None:
        """Each complaint of its own is one."""
        (found,) = ailments(status(**changes), MEMBERS, running(server()), [WEB], [])
        assert words in found

    @pytest.mark.parametrize(
        "servers",
        [
            [],
            [server(weight=10)],
            [server(up=False)],
            [server(), server("web1-again")],
            [server(), server("stranger", "127.20.0.99")],
        ],
    )
    def test_what_haproxy_runs(self, servers: list[RunningServer]) -> None:
        """Every web node once, up and with its weight, and nobody else."""
        assert len(ailments(status(), MEMBERS, running(*servers), [WEB], [])) == 1

    def test_who_is_silent_or_not_alive(self) -> None:
        """A server that nobody got an answer from, and a member that Serf holds for failed."""
        assert ailments(status(), MEMBERS, running(server()), [WEB], [WEB]) == [f"{WEB} has answered no request"]
        assert ailments(status(), {"members": []}, running(server()), [WEB], []) == [f"no member at {WEB} is alive"]

    def test_nobody_answers(self) -> None:
        """Neither rosterd nor HAProxy."""
        found = ailments({}, {}, None, [WEB], [])
        assert "rosterd does not answer" in found
        assert "HAProxy does not answer" in found


def story() -> Story:
    """Three requests and one turn, in which all went well."""
    told = Story(ledger=Ledger(begin=0.0))
    for due in (0.0, 1.0, 2.0):
        told.ledger.take(request(due, due + 0.1))
    told.played.append(played(1.0, FAULTS[0].name))
    told.samples += [Sample(at, Usage(1, 60.0, 10), None, None, 0, 20, 0) for at in (0.0, 1.0, 2.0)]
    return told


class TestReport:
    """How it ended, for machines and for people."""

    def test_all_well(self) -> None:
        """And the JSON is what it was made of."""
        report = report_of({"seed": 1}, FAULTS, story())
        assert report["ok"] is True
        assert json.loads(as_json(report)) == report
        rows = list(rows_for_people(report))
        assert rows[0] == [FAULTS[0].name, "1", "0", "0", "0", "0.5 s", "0.5 s"]
        assert rows[1][:2] == [FAULTS[1].name, "0"]
        assert ["requests", "3"] in list(sum_rows(report))
        assert next(uses_rows(report))[:4] == ["rosterd: memory", "60 MB", "60 MB", "+0 %"]

    def test_a_failed_request_is_a_failure(self) -> None:
        """Unless it has an excuse."""
        told = story()
        told.ledger.take(request(2.5, 2.6, Outcome.STATUS, 503))
        report = report_of({}, FAULTS, told)
        assert (report["ok"], report["requests"]["failures"]) == (False, {"status 503": 1})
        assert report["unexcused"] == [{"at_s": 2.5, "after_s": 0.1, "what": "status 503"}]
        told.ledger.excuse(Excuse(Span(2.0, 3.0), FAULTS[1].name))
        report = report_of({}, FAULTS, told)
        assert (report["ok"], report["faults"][FAULTS[1].name]["excused"]) == (True, 1)
        assert (report["seconds"]["failed"], report["seconds"]["excused"]) == ([0, 0, 1], [0, 0, 1])

    @pytest.mark.parametrize(
        "what", ["problem of a turn", "problem of the soak", "left over", "no requests", "no turns"]
    )
    def test_what_else_is_a_failure(self, what: str) -> None:
        """A fault that did not heal, a load that ended, a process that is left over, and nothing at all."""
        told = story()
        match what:
            case "problem of a turn":
                told.played.append(played(3.0, FAULTS[1].name, well_at=None, problems=("not well",)))
            case "problem of the soak":
                told.problems.append("the load ended by itself")
            case "left over":
                told.left_over.append("serf (7)")
            case "no turns":
                told.played.clear()
            case _:
                told.ledger = Ledger(0.0)
        assert report_of({}, FAULTS, told)["ok"] is False


def test_bugs_are_found_in_the_log(tmp_path: Path) -> None:
    """A turn that failed and what is no log line; not what a kill cut short, nor the daemon's own last words."""
    log = tmp_path / "rosterd.log"
    good = ['{"event": "member.joined"}', '{"event": "memb', "rosterd: the admin port is taken"]
    bad = ['{"event": "turn.failed"}', "Traceback (most recent call last):"]
    log.write_text("\n".join([*good, *bad]) + "\n")
    assert bugs_in(log) == bad
    assert bugs_in(tmp_path / "none") == []


def test_commands_that_the_soak_runs_are_no_processes_of_the_cluster(tmp_path: Path) -> None:
    """They have a node's environment, and are in the session of who runs them; what a node has begun is not."""
    environ = os.environ | {"NODE_RUN": str(tmp_path / "web1")}
    sleep = ["sleep", "60"]
    with (
        subprocess.Popen(sleep, env=environ) as command,
        subprocess.Popen(sleep, env=environ, start_new_session=True) as process,
    ):
        try:
            # Linux shows a process that has just begun without its environment for a moment.
            give_up_at = time.monotonic() + 10.0
            while not (found := processes_below(tmp_path)) and time.monotonic() < give_up_at:
                time.sleep(0.01)
        finally:
            command.kill()
            process.kill()
    assert [(one.pid, one.program, one.run) for one in found] == [(process.pid, "sleep", str(tmp_path / "web1"))]
    assert processes_below(tmp_path) == ()

"""The benchmark's arithmetic: quantiles, ratios, what counts as failed, what an answer is, goals and options."""

import json
import math
from pathlib import Path

import pytest

from tests.bench.children import Traffic
from tests.bench.figures import (
    NOT_MEASURED,
    Figures,
    cpu_ms_per_event,
    median,
    of_requests,
    quantile,
    ratio,
    rounded,
    send_lag,
    spread,
)
from tests.bench.generator import read_answer
from tests.bench.goals import GOALS, verdicts
from tests.bench.options import PLOTS, WrongUsage, options_of
from tests.bench.report import as_json, measured_in, reasons_in, rows_of, shown
from tests.bench.samples import RECORD_SIZE, Outcome, Sample, failures, number_of, packed, unpacked

ANSWER = b"HTTP/1.1 200 OK\r\nX-Backend-IP: 127.77.0.1\r\nContent-Length: 3\r\n\r\nok\n"


def sample(wait: float = 0.001, outcome: Outcome = Outcome.ANSWERED, status: int = 200) -> Sample:
    """A request that was due at 10 and sent 100 microseconds later."""
    return Sample(10.0, 10.0001, 10.0 + wait, number_of("127.77.0.1"), status, outcome, 1)


class TestQuantiles:
    """Nearest rank: what is reported was measured."""

    @pytest.mark.parametrize(
        ("share", "expected"), [(0.5, 2.0), (0.25, 1.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0), (0.01, 1.0)]
    )
    def test_nearest_rank(self, share: float, expected: float) -> None:
        """The smallest value that so many do not exceed, whatever the order."""
        assert quantile([3.0, 1.0, 4.0, 2.0], share) == expected

    def test_one_value_is_every_quantile(self) -> None:
        """Also the median."""
        assert median([7.0]) == quantile([7.0], 0.99) == 7.0

    @pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
    def test_what_has_none(self, values: list[float], share: float) -> None:
        """No values, or no share."""
        with pytest.raises(ValueError, match="no quantile"):
            quantile(values, share)

    def test_names_carry_quantile_and_unit(self) -> None:
        """A figure says what it is."""
        assert spread([0.2, 0.1], 0.5, 0.95, prefix="visible_") == {"visible_p50_s": 0.1, "visible_p95_s": 0.2}

    def test_of_nothing_there_are_none(self) -> None:
        """Rather than zeros."""
        assert spread([], 0.5) == {}

    @pytest.mark.parametrize(("value", "expected"), [(0.00123456, 0.001235), (12345.6, 12350.0), (0.0, 0.0)])
    def test_four_digits(self, value: float, expected: float) -> None:
        """More would be noise."""
        assert rounded(value) == expected

    def test_ratio(self) -> None:
        """How many times larger theirs is."""
        assert ratio(0.1, 0.7) == pytest.approx(7.0)
        assert ratio(0.0, 1.0) == math.inf


class TestRequests:
    """What is made of samples."""

    def test_counts_and_waits(self) -> None:
        """Each request counts; a failed one has no latency, but its wait may be the longest."""
        figures = of_requests([sample(0.001), sample(0.003), sample(5.0, Outcome.LATE, 0)])
        assert (figures["requests"], figures["failed"]) == (3, 1)
        assert (figures["p50_s"], figures["p99_s"], figures["longest_s"]) == (0.001, 0.003, 5.0)

    def test_the_wait_counts_from_when_it_was_due(self) -> None:
        """A generator that was held up does not make a proxy look fast."""
        late = Sample(due=1.0, sent=1.5, done=1.6, backend=0, status=200, outcome=Outcome.ANSWERED, kept=0)
        assert of_requests([late])["longest_s"] == 0.6
        assert send_lag([late]) == {"send_lag_p99_s": 0.5}

    def test_without_requests(self) -> None:
        """No figure but the counts."""
        assert of_requests([]) == {"requests": 0, "failed": 0}

    def test_failures_for_people(self) -> None:
        """The most frequent first, other statuses by number."""
        samples = [sample(outcome=Outcome.RESET)] + [sample(outcome=Outcome.STATUS, status=503)] * 2 + [sample()]
        assert failures(samples) == ("2 x status 503", "1 x connection reset")

    def test_a_record_is_read_back(self) -> None:
        """From bytes, many at once."""
        samples = [sample(), sample(outcome=Outcome.LATE)]
        data = b"".join(map(packed, samples))
        assert len(data) == 2 * RECORD_SIZE
        assert list(unpacked(data)) == samples

    def test_processor_time_of_a_change(self) -> None:
        """Without what an idle minute would have cost, and never below nothing."""
        assert cpu_ms_per_event(used_s=1.2, idle_share=0.01, span_s=60.0, events=120) == 5.0
        assert cpu_ms_per_event(used_s=0.1, idle_share=0.01, span_s=60.0, events=120) == 0.0


class TestAnswers:
    """What the load generator takes for an answer."""

    def test_a_whole_one(self) -> None:
        """Status 200, and who gave it."""
        answer = read_answer(ANSWER, ended=False)
        assert answer is not None
        assert (answer.outcome, answer.backend, answer.closes) == (Outcome.ANSWERED, number_of("127.77.0.1"), False)

    @pytest.mark.parametrize("length", range(len(ANSWER)))
    def test_a_part_of_one(self, length: int) -> None:
        """To be waited for; when the connection ends there, a failure."""
        assert read_answer(ANSWER[:length], ended=False) is None
        answer = read_answer(ANSWER[:length], ended=True)
        assert answer is not None
        assert answer.outcome == Outcome.CLOSED

    def test_another_status(self) -> None:
        """A failure, even though it is whole."""
        answer = read_answer(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", ended=False)
        assert answer is not None
        assert (answer.outcome, answer.status) == (Outcome.STATUS, 503)

    def test_the_server_says_that_it_closes(self) -> None:
        """Then the connection is not used again."""
        answer = read_answer(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", ended=False)
        assert answer is not None
        assert answer.closes

    def test_an_answer_that_ends_with_its_connection(self) -> None:
        """Whole when that ends, as it has no length."""
        data = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nsome"
        assert read_answer(data, ended=False) is None
        answer = read_answer(data, ended=True)
        assert answer is not None
        assert answer.outcome == Outcome.ANSWERED

    @pytest.mark.parametrize("data", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
    def test_what_is_none(self, data: bytes) -> None:
        """No HTTP, or nothing that says where it ends."""
        answer = read_answer(data, ended=False)
        assert answer is not None
        assert answer.outcome == Outcome.GARBLED


class TestReport:
    """Figures for people and machines."""

    results: dict[str, dict[str, Figures]] = {  # noqa: RUF012  never changed
        "about": {"machine": {"cores": 2}},
        "join_5": {
            "rosterd": {"p50_s": 0.1, "failed": 0},
            "handlers": {"p50_s": 1.1, "failed": 2},
            "nginx": {NOT_MEASURED: "not installed"},
        },
        "join_50": {"nginx": {NOT_MEASURED: "not installed"}},
    }

    def test_rows(self) -> None:
        """A figure a row, a contender a column, and how they compare."""
        assert list(rows_of(measured_in(self.results["join_5"]))) == [
            ["p50", "100 ms", "1,100 ms"],
            ["failed", "0", "2"],
            ["p50 / rosterd", "1 x", "11 x"],
        ]

    def test_who_was_not_measured_and_why(self) -> None:
        """Once for each reason."""
        assert reasons_in(self.results) == {"not installed": "nginx in join_5, join_50"}

    def test_json_is_what_it_was_made_of(self) -> None:
        """Scenario, contender, figure."""
        assert json.loads(as_json(self.results)) == self.results

    @pytest.mark.parametrize(
        ("name", "figure", "text"),
        [
            ("p50_s", 0.0012345, "1.234 ms"),
            ("pid_unchanged", True, "yes"),
            ("requests", 180_000, "180,000"),
            ("rss_mb", 61.25, "61.25 MB"),
            ("cpu_ms_per_event", 3.0, "3 ms"),
        ],
    )
    def test_values_for_people(self, name: str, figure: float, text: str) -> None:
        """In the unit in which they are easy to read."""
        assert shown(name, figure) == text

    def test_goals(self) -> None:
        """A bound is a number, or so many times the figure of another contender."""
        found = {(verdict.goal.figure, verdict.goal.of): verdict for verdict in verdicts(self.results)}
        assert set(found) == {("p50_s", ""), ("p50_s", "handlers"), ("failed", "")}
        assert all(verdict.is_met for verdict in found.values())
        assert found["p50_s", "handlers"].bound == pytest.approx(1.1 / 7)

    def test_goals_name_what_is_measured(self) -> None:
        """Each figure has its unit, or is a count."""
        assert all(
            goal.figure.endswith(("_s", "_mb", "_percent"))
            or goal.figure in {"failed", "reloads", "pid_changes", "cpu_ms_per_event"}
            for goal in GOALS
        )


class TestOptions:
    """What the environment may say."""

    def test_all_by_default(self) -> None:
        """And plots in the documentation, but not of a smoke run."""
        options = options_of({}, ["join", "crash"], ["rosterd"])
        assert options.scenarios == {"join", "crash"}
        assert options.contenders == {"rosterd"}
        assert (options.report, options.plots, options.quick) == (None, PLOTS, False)
        assert options_of({"BENCH_QUICK": "1"}, ["join"], ["rosterd"]).plots is None

    def test_a_choice(self) -> None:
        """Words with commas."""
        given = {"SCENARIO": "join, crash", "CONTENDER": "nginx", "BENCH_REPORT": "x.json", "BENCH_PLOTS": ""}
        options = options_of(given, ["join", "leave", "crash"], ["rosterd", "nginx"])
        assert options.scenarios == {"join", "crash"}
        assert options.contenders == {"nginx"}
        assert (options.report, options.plots) == (Path("x.json"), None)

    @pytest.mark.parametrize(
        ("given", "words"),
        [({"SCENARIO": "jion"}, "SCENARIO=jion: may be any of join"), ({"BENCH_QUICK": "yes"}, "may be 1")],
    )
    def test_a_mistake_is_named(self, given: dict[str, str], words: str) -> None:
        """With what would be right."""
        with pytest.raises(WrongUsage, match=words):
            options_of(given, ["join"], ["rosterd"])


def test_goals_are_missed_where_no_request_was_sent() -> None:
    """Nothing failed where nothing was sent, which is no success."""
    none = verdicts({"crash": {"rosterd": {"requests": 0, "failed": 0}}})
    assert none
    assert not any(verdict.is_met for verdict in none)
    some = verdicts({"crash": {"rosterd": {"requests": 9, "failed": 0}}})
    assert [verdict.is_met for verdict in some] == [True]


def test_goal_is_missed_where_a_count_began_anew() -> None:
    """A HAProxy that was started again has fewer reloads than before, which is no success."""
    found = verdicts({"churn": {"rosterd": {"requests": 9, "reloads": -3}}})
    assert [verdict.is_met for verdict in found] == [False]


def test_load_generator_that_fails_is_not_overlooked() -> None:
    """Its exit code is an error of the measurement, whatever samples there are."""
    with pytest.raises(RuntimeError, match="the load generator ended with exit code"), Traffic(("192.0.2.1", 80), 1.0):
        pass

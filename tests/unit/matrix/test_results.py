"""The counts, the table and the exit of the matrix: a suite of which nothing was run, or on another version, fails."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.matrix.options import WrongUsage, options_of
from tests.matrix.run import Programs, count_of_demo, count_of_junit
from tests.matrix.suites import NEW_SERF, SUITES, Row, Suite
from tests.matrix.table import Count, Result, as_json, problems_of, table_of

TREE = Path(__file__).parents[3]
PROGRAMS = Programs(Path("/programs/haproxy-3.4/bin/haproxy"), "3.4", Path("/programs/serf-0.10.1/bin/serf"))
ROW = Row("3.4", suites=(Suite("contract", ("tests/contract",)), Suite("demo")))
GOOD = Count(passed=9, seconds=1.0)


def junit(**counts: int) -> str:
    """A report of pytest with these counts."""
    attributes = " ".join(f'{key}="{value}"' for key, value in counts.items())
    return (
        f'<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite {attributes}/></testsuites>'
    )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"tests": 10, "failures": 0, "errors": 0, "skipped": 0}, Count(passed=10)),
        ({"tests": 10, "failures": 2, "errors": 1, "skipped": 3}, Count(passed=4, failed=3, skipped=3)),
        ({"tests": 0, "failures": 0, "errors": 0, "skipped": 0}, Count()),
        ({"tests": 1, "failures": 0, "errors": 1, "skipped": 0}, Count(failed=1)),
    ],
)
def test_counts_of_pytest_are_read(counts: dict[str, int], expected: Count) -> None:
    """Errors of fixtures and of collection count as failures."""
    assert count_of_junit(junit(**counts)) == expected


@pytest.mark.parametrize(
    "count", [Count(), Count(skipped=7), Count(passed=9, failed=1), Count(passed=9, problem="late")]
)
def test_suite_without_a_passed_test_has_failed(count: Count) -> None:
    """No test at all, only skipped ones, a failed one, or a problem around them."""
    assert not count.ok
    result = Result(ROW, "3.4.7-1", {"contract": GOOD, "demo": count})
    assert not result.ok
    assert as_json([result])["ok"] is False
    (problem,) = problems_of([result])
    assert problem.startswith("3.4, demo: ")


def test_row_that_lacks_a_suite_has_failed() -> None:
    """A matrix without rows has failed too."""
    assert not Result(ROW, "3.4.7-1", {"contract": GOOD}).ok
    assert as_json([])["ok"] is False
    assert Result(ROW, "3.4.7-1", {"contract": GOOD, "demo": GOOD}).ok


def report(**changes: object) -> dict[str, Any]:
    """A report of a demo that held, with these changes."""
    good = {
        "ok": True,
        "steps": [{"ok": True}, {"ok": True}],
        "haproxy": "3.4.7-1",
        "executables": ["/usr/bin/python3.11", str(PROGRAMS.haproxy), str(PROGRAMS.serf)],
    }
    return good | changes


def test_counts_of_a_demo_are_its_steps() -> None:
    """A demo that reached only some steps is not ok, although each of them held."""
    assert count_of_demo(report(), PROGRAMS) == Count(passed=2)
    held = count_of_demo(report(ok=False), PROGRAMS)
    assert (held.passed, held.ok, held.problem) == (2, False, "the demo did not hold")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"haproxy": "2.6.12-1+deb12u4"}, "the demo ran HAProxy 2.6.12-1+deb12u4"),
        ({"haproxy": ""}, "the demo ran HAProxy of an unknown version"),
        ({"executables": [str(PROGRAMS.haproxy), "/usr/bin/serf"]}, f"the demo did not run {PROGRAMS.serf}"),
        ({"executables": ["/usr/sbin/haproxy", str(PROGRAMS.serf)]}, f"the demo did not run {PROGRAMS.haproxy}"),
        (
            {"executables": [str(PROGRAMS.haproxy), str(PROGRAMS.serf), "/usr/sbin/haproxy"]},
            f"the demo ran other programs too: {PROGRAMS.haproxy}, {PROGRAMS.serf}, /usr/sbin/haproxy",
        ),
    ],
)
def test_demo_on_another_version_has_failed(changes: dict[str, Any], problem: str) -> None:
    """The wrong program fails the demo, however well its steps went."""
    count = count_of_demo(report(**changes), PROGRAMS)
    assert (count.ok, count.problem) == (False, problem)


def test_environment_has_the_programs_of_the_row_first() -> None:
    """What else could choose a program is taken out, and what is expected is said."""
    environ = PROGRAMS.environ({"PATH": "/usr/bin", "HAPROXY": "/other", "DEMO_STAY": "1", "HOME": "/root"})
    assert environ == {
        "PATH": os.pathsep.join(["/programs/haproxy-3.4/bin", "/programs/serf-0.10.1/bin", "/usr/bin"]),
        "HOME": "/root",
        "EXPECT_HAPROXY": "3.4",
        "EXPECT_SERF": str(PROGRAMS.serf),
    }


def test_table_has_each_row_and_suite() -> None:
    """A suite that a row does not have is a dash; a version that cannot be had is a failure."""
    console = Console(width=120, file=io.StringIO(), record=True)
    late = Count(problem="haproxy 3.2 cannot be had")
    console.print(
        table_of(
            [
                Result(ROW, "3.4.7-1", {"contract": Count(passed=8, failed=1), "demo": GOOD}),
                Result(Row("3.2", suites=ROW.suites), "", {"contract": late, "demo": late}),
                Result(Row("3.0", suites=ROW.suites[1:]), "3.0.11", {"demo": GOOD}),
            ]
        )
    )
    rows = [line.split() for line in console.export_text().splitlines() if line[1:2] == "3" or line[:1] == "3"]
    assert rows == [
        ["3.4", "3.4.7-1", "8", "passed,", "1", "FAILED", "9", "passed", "NO"],
        ["3.2", "-", "FAILED", "FAILED", "NO"],
        ["3.0", "3.0.11", "-", "9", "passed", "yes"],
    ]


ROWS = (Row("2.6"), Row("3.4"), NEW_SERF)


def test_all_is_run_where_nothing_is_chosen() -> None:
    """Empty variables choose nothing either."""
    assert options_of({}, ROWS).rows == ROWS
    assert options_of({"VERSIONS": "", "SUITES": ""}, ROWS).rows == ROWS


def test_rows_and_suites_are_chosen_by_name() -> None:
    """Names are separated by blanks or commas; the order is that of the matrix."""
    options = options_of({"VERSIONS": "3.0+serf-0.10.1,2.6", "SUITES": "demo", "MATRIX_REPORT": "f"}, ROWS)
    assert [(row.name, [suite.name for suite in row.suites]) for row in options.rows] == [
        ("2.6", ["demo"]),
        ("3.0+serf-0.10.1", ["demo"]),
    ]
    assert options.report == Path("f")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"VERSIONS": "2.6 9.9"}, r"VERSIONS=9\.9: may be any of 2\.6, 3\.4, 3\.0\+serf-0\.10\.1"),
        ({"SUITES": "nonsense"}, "SUITES=nonsense: may be any of contract, runtime, reload, template, demo"),
        ({"VERSIONS": "3.0+serf-0.10.1", "SUITES": "reload"}, r"SUITES=reload: none of them is run on 3\.0\+serf"),
    ],
)
def test_wrong_names_are_refused(environ: dict[str, str], message: str) -> None:
    """A matrix that runs nothing would prove nothing."""
    with pytest.raises(WrongUsage, match=message):
        options_of(environ, ROWS)


@pytest.mark.parametrize("path", sorted({path for row in ROWS for suite in row.suites for path in suite.paths}))
def test_every_path_of_a_suite_exists(path: str) -> None:
    """A file that was renamed does not leave the matrix in silence."""
    assert (TREE / path).exists()


def test_every_suite_is_documented() -> None:
    """The documentation has the name of each suite and what it is about."""
    page = (TREE / "docs" / "versions.md").read_text(encoding="utf-8")
    assert [f"| `{suite.name}` |" for suite in SUITES if f"| `{suite.name}` |" not in page] == []

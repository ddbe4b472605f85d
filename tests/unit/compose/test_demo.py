from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from compose.cluster import HOME
from compose.demo.containers import CONTAINER_STEPS
from compose.demo.context import Context
from compose.demo.display import Display
from compose.demo.local import LocalStage
from compose.demo.mode import (
    Choice,
    Engine,
    Mode,
    ModeRefusedError,
    choose_by_engine,
    choose_by_name,
    choose_otherwise,
)
from compose.demo.options import Options, OptionsRefusedError
from compose.demo.report import StepResult, reload_problem, report_of, table_of, with_requests
from compose.demo.step import StepFailedError
from compose.demo.steps import MARK, STEPS, last_request_of, with_header
from compose.load import Failure, Sample


@dataclass(frozen=True)
class LocalNode:
    """A node as the steps see it."""

    name: str
    address: str


def result(problem: str = "", seconds: float | None = 1.5) -> StepResult:
    """A step from second 1 to second 2."""
    return StepResult("three nodes join", seconds, problem, 1.0, 2.0, reloads=1)


def sample(sent: float, failure: Failure | None = None) -> Sample:
    """A request that took 20 ms."""
    return Sample(sent, sent + 0.02, kept=True, failure=failure, status=200)


@pytest.mark.parametrize(("name", "mode"), [("local", Mode.LOCAL), ("compose", Mode.COMPOSE)])
def test_a_mode_by_name(name: str, mode: Mode) -> None:
    """The demo runs where it is told to, and says so."""
    assert choose_by_name(name) == Choice(mode, f"DEMO={name} asks for it")


@pytest.mark.parametrize(
    ("engine", "choice"),
    [
        (Engine.ABSENT, Choice(Mode.LOCAL, "no container engine answers")),
        (Engine.RUNNING, Choice(Mode.COMPOSE, "a container engine answers", otherwise=Mode.LOCAL)),
    ],
)
def test_a_mode_by_what_is_there(engine: Engine, choice: Choice) -> None:
    """In containers where it can, and it says for which reason."""
    assert choose_by_engine(engine) == choice


def test_containers_that_cannot_be_had_after_all() -> None:
    """Where nobody asked for them by name local processes do, and it is said why."""
    choice = choose_otherwise(choose_by_engine(Engine.RUNNING), "no compose")
    assert choice.mode is Mode.LOCAL
    assert "containers cannot be had" in choice.reason


def test_containers_that_were_asked_for_are_not_replaced() -> None:
    """The text says what the matter is, and what works."""
    with pytest.raises(ModeRefusedError, match="no compose\nDEMO=local needs no containers"):
        choose_otherwise(choose_by_name("compose"), "no compose")


@pytest.mark.parametrize("name", ["docker", "LOCAL"])
def test_a_mode_that_cannot_be_had_is_refused(name: str) -> None:
    """The text names what was asked for, and what works."""
    with pytest.raises(ModeRefusedError, match=f"DEMO={name}: .*use DEMO=local or DEMO=compose"):
        choose_by_name(name)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Options()),
        ({"DEMO": " ", "DEMO_STAY": "", "DEMO_REPORT": ""}, Options()),
        ({"DEMO_STAY": "0"}, Options()),
        ({"DEMO": "local", "DEMO_STAY": "1", "DEMO_REPORT": "f"}, Options("local", stay=True, report=Path("f"))),
    ],
)
def test_options_from_the_environment(environ: dict[str, str], expected: Options) -> None:
    """An empty variable is as good as none, and `DEMO_STAY=0` means no."""
    assert Options.read(environ) == expected


def test_a_failed_request_fails_its_step() -> None:
    """A step that did what it should has still not held when it cost a request."""
    good = with_requests(result(), [sample(1.0), sample(1.9), sample(2.0, Failure.RESET)])
    bad = with_requests(result(), [sample(1.5), sample(1.6, Failure.RESET)])

    assert (good.ok, good.requests, good.failed) == (True, 2, 0)
    assert (bad.ok, bad.requests, bad.failed) == (False, 2, 1)
    assert bad.problem == "requests failed: 1 x connection reset"


def test_step_without_a_request_does_not_hold() -> None:
    """Where no request was sent, none was lost, and that proves nothing; a problem of the step itself comes first."""
    assert with_requests(result(), [sample(2.5)]).problem.startswith("no request was sent")
    assert with_requests(result("waited", None), []).problem == "waited"


@pytest.mark.parametrize(
    ("before", "after", "most", "problem"),
    [
        (0, 0, 0, ""),
        (2, 3, 1, ""),
        (2, 4, 1, "HAProxy was reloaded 2 times; 1 would have done"),
        (3, 0, 1, "HAProxy was started anew: its count of reloads fell from 3 to 0"),
        (None, 3, 1, "HAProxy's count of its reloads cannot be read from its master socket"),
        (3, None, 1, "HAProxy's count of its reloads cannot be read from its master socket"),
    ],
)
def test_count_of_reloads_that_cannot_be_compared_is_a_problem(
    before: int | None, after: int | None, most: int, problem: str
) -> None:
    """A count that fell, or that is not there, is not taken for few reloads."""
    assert reload_problem(before, after, most) == problem


@pytest.mark.parametrize("answered_at", [None, 3.0])
def test_node_that_answered_nothing_before_the_change_proves_nothing(
    stage: LocalStage, answered_at: float | None
) -> None:
    """The last request of a node that served nothing is not taken for the moment of the change."""
    context = Context(stage, lambda _: None)
    node = LocalNode("web1", "127.20.0.11")
    if answered_at is not None:
        context.load.samples.append(Sample(answered_at, answered_at, kept=True, failure=None, backend=node.address))
    with pytest.raises(StepFailedError, match="web1 answered no request in the second before"):
        last_request_of(context, node, begin=5.0)
    context.load.samples.append(Sample(4.9, 4.9, kept=True, failure=None, backend=node.address))
    assert last_request_of(context, node, begin=5.0) == 5.0


def test_load_outlasts_all_steps(stage: LocalStage) -> None:
    """A load that ends early would leave the last steps of a slow demo without requests."""
    plan = Context(stage, lambda _: None).load.plan
    assert plan.longest_s > stage.deadline_s
    assert plan.most >= plan.rate * plan.longest_s - 1


def test_the_report() -> None:
    """The JSON has the agreed keys; a step that was never reached makes it not ok."""
    done = [with_requests(result(), [sample(1.5)])]

    assert report_of("local", done, not_reached=[]) == {
        "mode": "local",
        "ok": True,
        "requests": 1,
        "failed": 0,
        "reloads": 1,
        "steps": [{"name": "three nodes join", "ok": True, "seconds": 1.5, "requests": 1, "failed": 0}],
    }
    assert report_of("local", done, not_reached=["one node is killed"])["ok"] is False
    assert report_of("local", [result("waited", None)], not_reached=[])["ok"] is False


def test_the_table_fits_a_plain_terminal() -> None:
    """80 columns, no colour needed, nothing cut off."""
    text = io.StringIO()
    long = [StepResult(step.name, 12.34, "", 0, 1, 10, 1234, 0, 0.267) for step in (*STEPS, *CONTAINER_STEPS)]
    Console(file=text, width=80).print(table_of([*long, result("waited", None)]))

    assert "\u2026" not in text.getvalue()
    assert all(step.name in text.getvalue() for step in (*STEPS, *CONTAINER_STEPS))
    assert "NO" in text.getvalue()


def test_every_step_has_a_name_of_its_own() -> None:
    """The report is read by name."""
    steps = (*STEPS, *CONTAINER_STEPS)
    assert len({step.name for step in steps}) == len(steps)


def test_the_edit_fits_the_template() -> None:
    """The shipped template has the line that the demo edits below."""
    template = (HOME / "haproxy" / "haproxy.cfg.j2").read_text()
    edited = with_header(template)

    assert f"frontend traffic\n    http-response set-header x-demo {MARK}\n" in edited
    assert len(edited.splitlines()) == len(template.splitlines()) + 1
    with pytest.raises(StepFailedError):
        with_header("global\n")


def test_a_report_that_cannot_be_written_is_told_before_the_demo(tmp_path: Path) -> None:
    """The message names the variable and the directory."""
    with pytest.raises(OptionsRefusedError, match=f"DEMO_REPORT={tmp_path}/no/report.json: there is no directory"):
        Options.read({"DEMO_REPORT": f"{tmp_path}/no/report.json"})
    assert Options.read({"DEMO_REPORT": f"{tmp_path}/report.json"}).report == tmp_path / "report.json"


# --- where to look ----------------------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> LocalStage:
    """A stage of local processes, on which nothing runs."""
    return asyncio.run(LocalStage.create(tmp_path_factory.mktemp("d") / "c", say=lambda _: None))


def test_the_demo_says_where_the_page_is(stage: LocalStage) -> None:
    """While it runs, and when the cluster stays up: nobody could guess the address."""
    text = io.StringIO()
    display = Display(Console(file=text, width=120))
    display.print_header(choose_by_name("local"), Context(stage, display.note))
    during = text.getvalue()
    display.print_hints(asyncio.run(stage.hints()))
    address, port = stage.site.admin

    assert f"http://{address}:{port}/" in during
    assert f"http://{address}:{port}/" in text.getvalue().removeprefix(during)

from __future__ import annotations

import io

import pytest
from rich.console import Console

from compose.demo.display import Display
from compose.demo.report import StepResult, table_of
from compose.demo.steps import STEPS
from compose.terminal import obey_locale, wants_ascii


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True),
        ({"LANG": "C"}, True),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, True),
        ({"LC_CTYPE": "POSIX"}, True),
        ({"LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "fr_FR.UTF-8"}, False),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, False),
    ],
)
def test_c_locale_wants_ascii(environ: dict[str, str], expected: bool) -> None:  # noqa: FBT001  a column of the table
    """The strongest variable that is set decides."""
    assert wants_ascii(environ) is expected


def test_demo_prints_ascii_in_the_c_locale() -> None:
    """Ticks and table lines become ASCII, and a character of a log line is escaped."""
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding="utf-8")
    obey_locale({"LC_ALL": "C"}, stream)
    console = Console(file=stream, width=80)
    step = StepResult(STEPS[0].name, 1.5, "", 1.0, 2.0, 0, requests=9)
    display = Display(console)
    display.step_finished(STEPS[0], step)
    display.say("M\u00fcnchen")
    console.print(table_of([step]))
    stream.flush()
    text = printed.getvalue().decode("ascii")
    assert "ok: traffic followed" in text
    assert "M\\xfcnchen" in text

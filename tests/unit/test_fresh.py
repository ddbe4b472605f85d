"""What `make fresh` reads: its variables, pip's configuration, and the output of the commands it runs."""

import pytest

from tests.fresh.options import DISTROS, Command, Options, OptionsRefusedError, User
from tests.fresh.pip_settings import carried
from tests.fresh.verdict import Counts, Run, counts_of, table_of

DEMO = """
 step                     followed  requests  failed  reloads  slowest  ok
 the cluster starts         1.91 s       151       0        0    12 ms  yes

 all                                    2041       0        1   120 ms  yes
"""


def test_without_variables_everything_runs() -> None:
    """Three releases, both commands, both users."""
    assert Options.read({"DISTROS": "", "SUITES": " "}) == Options(DISTROS, tuple(Command), tuple(User), 1)


def test_variables_choose() -> None:
    """Releases by number or by suite, in the order given, each once."""
    chosen = Options.read({"DISTROS": "testing, 13 trixie", "SUITES": "demo", "AS": "sudo", "JOBS": "2"})
    assert [distro.name for distro in chosen.distros] == ["testing", "13"]
    assert (chosen.commands, chosen.users, chosen.jobs) == ((Command.DEMO,), (User.SUDO,), 2)


@pytest.mark.parametrize(("key", "value"), [("DISTROS", "14"), ("SUITES", "lint"), ("AS", "me"), ("JOBS", "0")])
def test_unknown_choice_is_refused(key: str, value: str) -> None:
    """The text names the variable and its value."""
    with pytest.raises(OptionsRefusedError, match=f"{key}={value}"):
        Options.read({key: value})


def test_pip_configuration_is_carried() -> None:
    """Files that exist are named by their path inside, the environment wins, other settings stay outside."""
    lines = (
        ":env:.cert='/etc/cert.pem'",
        "global.cert='/etc/other.pem'",
        "global.extra-index-url='file:///opt/index/simple https://example.org/simple'",
        ":env:.find-links='/opt/wheels /gone'",
        "user.cache-dir='/root/cache'",
    )
    listed = "\n".join(lines)
    made = carried(listed, {"/etc/cert.pem", "/opt/index/simple", "/opt/wheels"}.__contains__)
    assert made.text.splitlines() == [
        "[global]",
        "cert = /srv/machine/0-cert.pem",
        "extra-index-url = file:///srv/machine/1-index/simple",
        "    https://example.org/simple",
        "find-links = /srv/machine/2-wheels",
    ]
    # An index links to files beside its pages.
    assert made.shown == {
        "/etc/cert.pem": "/srv/machine/0-cert.pem",
        "/opt/index": "/srv/machine/1-index",
        "/opt/wheels": "/srv/machine/2-wheels",
    }


@pytest.mark.parametrize(
    ("command", "output", "expected"),
    [
        (Command.DEMO, DEMO, Counts("2041 requests, 0 failed, 1 reloads")),
        (
            Command.DEMO,
            DEMO.replace("2041", "0"),
            Counts("0 requests, 0 failed, 1 reloads", "the demo sent no request"),
        ),
        (Command.DEMO, "demo: no", Counts("", "the demo printed no table")),
        (Command.TEST, "== 7 passed, 1 skipped in 61.02s (0:01:01) ==", Counts("7 passed, 0 failed, 1 skipped")),
        (Command.TEST, "== 1 failed, 6 passed in 3.21s ==", Counts("6 passed, 1 failed, 0 skipped", "tests failed")),
        (Command.TEST, "== 5 passed, 1 error in 3.21s ==", Counts("5 passed, 0 failed, 0 skipped", "tests failed")),
        (Command.TEST, "== no tests ran in 0.01s ==", Counts("", "pytest printed no summary")),
        (Command.TEST, "== 3 skipped in 0.01s ==", Counts("0 passed, 0 failed, 3 skipped", "no test was executed")),
    ],
)
def test_counts_are_read_from_output(command: Command, output: str, expected: Counts) -> None:
    """A command that did nothing is a problem, whatever its exit code is."""
    assert counts_of(command, output) == expected


def test_table_says_what_failed() -> None:
    """Exit code 0 with nothing done is a failure."""
    nothing = Run("13", Command.TEST, User.SUDO, 0, 61.4, Counts("", "pytest printed no summary"))
    good = Run("12", Command.DEMO, User.ROOT, 0, 70.0, Counts("2041 requests"), "HAProxy 2.6.12, Python 3.11.2")
    lines = table_of([nothing, good]).splitlines()
    assert "FAILED" in lines[1]
    assert lines[1].split()[:2] == ["13", "make"]
    assert " ok " in lines[2]
    assert (nothing.ok, good.ok) == (False, True)

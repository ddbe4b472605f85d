"""`rosterd top` in a real terminal, beside a running daemon, one that is away, and in a pipe."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.balancer import Balancer
from tests.terminal import ENTER_SCREEN, HIDE_CURSOR, LEAVE_SCREEN, SHOW_CURSOR, Terminal
from tests.unit.test_cli import answering, at_work

NO_DAEMON = "no rosterd answers at"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file of a daemon that would answer on a socket beside it."""
    path = tmp_path / "rosterd.toml"
    path.write_text(f'[admin]\nlisten = "{listen(path)}"\n', encoding="utf-8")
    return path


def listen(settings: Path) -> str:
    """Where that daemon answers."""
    return f"unix:{settings.parent}/admin.sock"


def command(settings: Path, *arguments: str) -> list[str]:
    """Return the command line of a live view."""
    return [sys.executable, "-m", "rosterd", "top", "--settings", str(settings), *arguments]


def top(
    settings: Path, *arguments: str, columns: int = 80, rows: int = 24, environ: Mapping[str, str] | None = None
) -> Terminal:
    """Run a live view in a terminal."""
    return Terminal(command(settings, "--interval", "0.1", *arguments), columns, rows, environ or {})


def piped(settings: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it without a terminal."""
    return subprocess.run(
        command(settings, "--interval", "0.1", *arguments), capture_output=True, text=True, timeout=60, check=False
    )


def is_left_as_found(terminal: Terminal) -> bool:
    """Whether the cursor is back, the screen from before, and keys are shown again."""
    output = terminal.output
    return (
        output.rfind(SHOW_CURSOR) > output.rfind(HIDE_CURSOR)
        and output.rfind(LEAVE_SCREEN) > output.rfind(ENTER_SCREEN)
        and terminal.echoes()
    )


def has(terminal: Terminal, text: str) -> bool:
    """Whether the screen shows this."""
    return any(text in line for line in terminal.screen())


def is_drawn(terminal: Terminal, frames: int, rows: int) -> bool:
    """Whether there are more frames, and the last has so many lines."""
    return terminal.frames > frames and len(terminal.screen()) == rows


class TestInATerminal:
    """What a person sees, and presses."""

    @pytest.mark.parametrize("key", ["q", "Q", "\x03"], ids=["q", "Q", "Ctrl-C"])
    def test_a_key_ends_it(self, settings: Path, key: str) -> None:
        """In order, with exit code 0, and nothing of it stays."""
        with answering(listen(settings), at_work), top(settings) as terminal:
            terminal.until(lambda: has(terminal, "held: failed"), "the servers")
            assert not terminal.echoes()
            terminal.press(key)
            assert terminal.exit_code() == 0
            terminal.until(lambda: is_left_as_found(terminal), "the terminal to be as it was")
            assert "Traceback" not in terminal.output

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_it_too(self, settings: Path, number: signal.Signals) -> None:
        """In the same order, as when the window is closed."""
        with answering(listen(settings), at_work), top(settings) as terminal:
            terminal.until(lambda: has(terminal, "held: failed"), "the servers")
            terminal.process.send_signal(number)
            assert terminal.exit_code() == 0
            terminal.until(lambda: is_left_as_found(terminal), "the terminal to be as it was")

    def test_other_keys_do_nothing(self, settings: Path) -> None:
        """Nor do they show; an arrow is no `q` either."""
        with answering(listen(settings), at_work), top(settings) as terminal:
            terminal.until(lambda: has(terminal, "held: failed"), "the servers")
            terminal.press("x \x1b[A\n")
            frames = terminal.frames
            terminal.until(lambda: terminal.frames > frames + 3, "it to go on")
            assert terminal.process.poll() is None
            terminal.press("q")
            assert terminal.exit_code() == 0

    def test_it_fits_whatever_size(self, settings: Path) -> None:
        """At once when the window is resized, from very small to large and back."""
        with answering(listen(settings), at_work), top(settings, "--interval", "60") as terminal:
            terminal.until(lambda: has(terminal, "ERR"), "all columns")
            for columns, rows in ((40, 10), (12, 3), (200, 60), (80, 24)):
                frames = terminal.frames
                terminal.resize(columns, rows)
                terminal.until(partial(is_drawn, terminal, frames, rows), f"a frame of {rows} lines")
                assert max(map(len, terminal.screen())) <= columns
            assert has(terminal, "ERR")
            terminal.press("q")
            assert terminal.exit_code() == 0

    def test_no_colour_for_who_wants_none(self, settings: Path) -> None:
        """NO_COLOR is honoured; words say it all."""
        colour = "\x1b[32m", "\x1b[1;31m", "\x1b[33m"
        for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            with answering(listen(settings), at_work), top(settings, environ=environ) as terminal:
                terminal.until(partial(has, terminal, "held: failed"), "the servers")
                assert any(code in terminal.output for code in colour) is coloured
                terminal.press("q")
                assert terminal.exit_code() == 0

    def test_a_daemon_that_is_away_is_told(self, settings: Path) -> None:
        """It goes on asking; what was said before stays, marked as old, and all is well when the daemon is back."""
        with top(settings) as terminal:
            terminal.until(lambda: has(terminal, NO_DAEMON), "that nobody answers")
            with answering(listen(settings), at_work):
                terminal.until(lambda: has(terminal, "held: failed"), "the servers")
                assert not has(terminal, NO_DAEMON)
            terminal.until(lambda: has(terminal, NO_DAEMON), "that nobody answers any more")
            assert has(terminal, "held: failed")
            terminal.press("q")
            assert terminal.exit_code() == 0

    def test_it_may_be_suspended(self, settings: Path) -> None:
        """With Ctrl-Z the shell gets the terminal as it was; later the view goes on."""
        with answering(listen(settings), at_work), top(settings) as terminal:
            terminal.until(lambda: has(terminal, "held: failed"), "the servers")
            terminal.press("\x1a")
            terminal.until(lambda: state_of(terminal.process.pid) == "T", "it to stand still")
            terminal.until(lambda: is_left_as_found(terminal), "the terminal to be as it was")
            terminal.process.send_signal(signal.SIGCONT)
            terminal.until(lambda: terminal.output.count(ENTER_SCREEN) == 2, "it to go on")
            terminal.until(lambda: has(terminal, "held: failed"), "the servers")
            assert not terminal.echoes()
            terminal.press("q")
            assert terminal.exit_code() == 0
            terminal.until(lambda: is_left_as_found(terminal), "the terminal to be as it was")

    def test_a_number_of_looks(self, settings: Path) -> None:
        """It ends by itself, and the last picture stays on the terminal."""
        with answering(listen(settings), at_work), top(settings, "-n", "2") as terminal:
            assert terminal.exit_code() == 0
            terminal.until(lambda: is_left_as_found(terminal), "the terminal to be as it was")
            terminal.until(lambda: "held: failed" in terminal.output.rpartition(LEAVE_SCREEN)[2], "the last picture")

    def test_a_terminal_that_can_do_nothing(self, settings: Path) -> None:
        """It prints one picture, as in a pipe, but no line is wider."""
        with (
            answering(listen(settings), at_work),
            top(settings, columns=60, environ={"TERM": "dumb"}) as terminal,
        ):
            assert terminal.exit_code() == 0
            terminal.until(lambda: "not seen held" in terminal.output, "the picture")
            assert "\x1b" not in terminal.output
            assert max(map(len, terminal.output.splitlines())) <= 60


class TestInAPipe:
    """What a program reads, or a file takes."""

    def test_one_picture(self, settings: Path) -> None:
        """Whole lines, no escapes."""
        with answering(listen(settings), at_work):
            done = piped(settings)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert done.stdout.count("rosterd") == 1
        assert "down held" in done.stdout or "not seen held" in done.stdout

    def test_a_number_of_pictures(self, settings: Path) -> None:
        """One after the other, a blank line between."""
        with answering(listen(settings), at_work):
            done = piped(settings, "-n", "3")
        assert done.returncode == 0
        assert done.stdout.count("\n\nrosterd") == 2

    def test_without_a_daemon(self, settings: Path) -> None:
        """As other commands: on standard error, with their exit code."""
        done = piped(settings)
        assert (done.returncode, done.stdout) == (7, "")
        assert done.stderr.startswith(f"rosterd: {NO_DAEMON} unix:")

    def test_a_daemon_that_ends_meanwhile(self, settings: Path) -> None:
        """Each picture is printed, the last one says so, and so does the exit code."""
        with answering(listen(settings), at_work):
            process = subprocess.Popen(
                command(settings, "--interval", "0.5", "-n", "4"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            first = process.stdout.readline()
        rest, stderr = process.communicate(timeout=60)
        assert "16:" in first or "UTC" in first
        assert "This is how it was at" in rest
        assert (process.returncode, stderr.startswith(f"rosterd: {NO_DAEMON}")) == (7, True)

    @pytest.mark.parametrize("arguments", [["--interval", "0"], ["-n", "0"], ["-n", "x"]])
    def test_wrong_usage(self, settings: Path, arguments: list[str]) -> None:
        """In a sentence, with the shell's own exit code for it."""
        done = piped(settings, *arguments)
        assert done.returncode == 2
        assert "Invalid value" in done.stderr


def state_of(pid: int) -> str:
    """Return the letter by which the kernel tells the state of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_beside_a_running_daemon(tmp_path: Path) -> None:
    """A join shows with its trace, traffic as it flows, and a crash as it is: seen at 80 columns."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        with Terminal(
            [
                sys.executable,
                "-m",
                "rosterd",
                "top",
                "--interval",
                "0.2",
                "--settings",
                str(balancer.daemon.settings_file),
            ],
            columns=80,
            rows=24,
            environ={},
        ) as terminal:
            terminal.until(lambda: has(terminal, "0 of 0 servers up"), "the empty service")
            web = balancer.add_web(name="web-top")
            terminal.until(lambda: has(terminal, "member.joined web-top"), "the join among the changes")
            terminal.until(lambda: has(terminal, "1 of 1 server up"), "the server")
            balancer.wait_served(web)
            waiting = threading.Thread(target=balancer.get, kwargs={"path": "/wait/3"})
            waiting.start()
            terminal.until(lambda: has(terminal, "1 of 1 server up, 1 session,"), "the request that is under way")
            waiting.join()
            web.server.kill()
            terminal.until(lambda: has(terminal, "nobody serves"), "that nobody serves")
            terminal.press("q")
            assert terminal.exit_code() == 0
            terminal.until(lambda: is_left_as_found(terminal), "the terminal to be as it was")

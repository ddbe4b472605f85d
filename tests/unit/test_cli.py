"""The command line: results on standard output, one clear message on standard error, documented exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from socketserver import UnixStreamServer

import aiohttp
import pytest
from typer.testing import CliRunner, Result

from rosterd import __version__
from rosterd.admin.client import ask, follow
from rosterd.admin.events import MOST_READERS, STREAM
from rosterd.admin.server import serving
from rosterd.answers import members_answer
from rosterd.cli import app
from rosterd.errors import DaemonUnreachable
from rosterd.model import Nothing, Reason, ReasonKind, Reload, Running
from rosterd.planner import Planned
from rosterd.policy import View, decide
from rosterd.report import Report
from rosterd.roster import EMPTY, advance, inherit
from rosterd.settings import PolicySettings, ServiceSettings
from tests.unit.admin.insight import insight
from tests.unit.members import EVERYBODY, record, table_of
from tests.unit.test_docs import commands_of
from tests.unit.test_report import EARLY

TREE = Path(__file__).parents[2]
TEMPLATE = TREE / "haproxy" / "haproxy.cfg.j2"
NODES = ServiceSettings(name="nodes")
PROGRAM = str(Path(sys.executable).with_name("rosterd"))


@dataclass(frozen=True)
class Node:
    """A balancer's files in a directory of their own; no daemon and no HAProxy run."""

    directory: Path

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.directory / "rosterd.toml"

    @property
    def template(self) -> Path:
        """The template."""
        return self.directory / "haproxy.cfg.j2"

    @property
    def members(self) -> Path:
        """A list of members: one web node."""
        return self.directory / "members.json"

    @property
    def listen(self) -> str:
        """Where a daemon would answer."""
        return f"unix:{self.directory}/admin.sock"

    def write_settings(self, more: str = "") -> None:
        """Write settings with these keys of the section `[proxy]` besides, and more sections."""
        self.settings.write_text(
            f'[admin]\nlisten = "{self.listen}"\n[proxy]\ntemplate_file = "{self.template}"\n'
            f'runtime_socket = "{self.directory}/haproxy.sock"\n{more}\n',
            encoding="utf-8",
        )

    def runs(self, command: str, *arguments: str, piped: str | None = None) -> Result:
        """Run a command with these settings."""
        return CliRunner().invoke(app, [command, "--settings", str(self.settings), *arguments], input=piped)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with the shipped template."""
    node = Node(tmp_path)
    node.write_settings()
    node.template.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    node.members.write_text(printed(replace(EARLY, table=table_of(record("web-1", "10.0.0.1")))), encoding="utf-8")
    return node


def printed(report: Report) -> str:
    """Return what `rosterd members --json` prints."""
    return json.dumps(members_answer(report))


def fails(result: Result, code: int, *words: str) -> None:
    """Check the exit code, and that standard error has lines of ours with these words, and nothing else."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.endswith("\n")
    assert all(line.startswith("rosterd: ") for line in result.stderr.splitlines())
    for word in words:
        assert word in result.stderr


class TestExitCodes:
    """What goes wrong, by what is at fault."""

    @pytest.mark.parametrize("command", ["check", "render", "plan", "members", "status"])
    def test_a_missing_settings_file(self, tmp_path: Path, command: str) -> None:
        """Every command that reads settings says which file it wanted."""
        path = tmp_path / "absent.toml"
        result = CliRunner().invoke(app, [command, "--settings", str(path)])
        fails(result, 3, f"rosterd: {path}: cannot be read: No such file or directory\n")

    def test_settings_that_are_no_toml(self, node: Node) -> None:
        """File, line and column."""
        node.settings.write_text("[proxy\n", encoding="utf-8")
        fails(node.runs("check"), 3, f"rosterd: {node.settings}: is not TOML: ", "at line 1")

    def test_an_unknown_key(self, node: Node) -> None:
        """And an impossible value: both are told."""
        node.write_settings("bin = 'x'\nretry = 'often'")
        fails(node.runs("check"), 3, "rosterd: proxy.bin: there is no such key\n", "rosterd: proxy.retry: ")

    def test_the_settings_file_from_the_environment(self, node: Node) -> None:
        """As with the option."""
        result = CliRunner().invoke(app, ["check"], env={"ROSTERD_SETTINGS": str(node.directory / "absent.toml")})
        fails(result, 3, "absent.toml: cannot be read")

    def test_a_missing_template(self, node: Node) -> None:
        """The message names it."""
        node.template.unlink()
        fails(
            node.runs("check"),
            4,
            f"rosterd: {node.template}: cannot be read: No such file or directory; "
            "it is named by proxy.template_file\n",
        )

    @pytest.mark.parametrize("command", ["check", "render"])
    def test_a_broken_template(self, node: Node, command: str) -> None:
        """File and line."""
        node.template.write_text("global\n    {{ nonsense }}\n", encoding="utf-8")
        fails(node.runs(command), 4, f"rosterd: {node.template}:2: 'nonsense' is undefined\n")

    def test_a_missing_haproxy(self, node: Node) -> None:
        """Its name as the settings have it."""
        node.write_settings("binary = 'no-such-haproxy'")
        fails(
            node.runs("check"),
            6,
            "rosterd: 'no-such-haproxy' (proxy.binary) cannot be run: No such file or directory; ",
            "is haproxy installed?\n",
        )

    def test_a_configuration_that_haproxy_refuses(self, node: Node) -> None:
        """In HAProxy's own words, with the keyword at fault."""
        broken = node.template.read_text(encoding="utf-8").replace("    retries ", "    retrys ")
        node.template.write_text(broken, encoding="utf-8")
        fails(node.runs("check"), 6, "unknown keyword 'retrys'", "'defaults' section")

    @pytest.mark.parametrize(("right", "wrong"), [(" id {{", " identity 1 id {{"), (" disabled", " disabled off-it")])
    def test_a_server_line_that_haproxy_refuses(self, node: Node, right: str, wrong: str) -> None:
        """Found before any server joins: the check has sample servers of each kind."""
        template = node.template.read_text(encoding="utf-8")
        assert template.count(right) == 1
        node.template.write_text(template.replace(right, wrong), encoding="utf-8")
        fails(node.runs("check"), 6, "server", wrong.replace(right, "").split(maxsplit=1)[0])

    def test_check_warns_of_a_template_that_has_haproxy_read_another_server_state(self, node: Node) -> None:
        """A reload would forget which servers were down. The shipped template has no such line, and no warning."""
        assert node.runs("check").stderr == ""
        own = node.template.read_text(encoding="utf-8").replace(
            "\nglobal\n", "\nglobal\n    server-state-file /dev/null\n"
        )
        node.template.write_text(own, encoding="utf-8")
        result = node.runs("check")
        assert result.exit_code == 0
        assert f"rosterd: warning: {node.template}: has a server-state-file or " in result.stderr

    @pytest.mark.parametrize("command", ["members", "status", "render", "plan"])
    def test_no_daemon(self, node: Node, command: str) -> None:
        """Where one was looked for, and what to look at."""
        fails(node.runs(command), 7, f"rosterd: no rosterd answers at {node.listen} (", "is it running")

    def test_no_haproxy_to_compare_with(self, node: Node) -> None:
        """A plan needs to know what runs."""
        result = node.runs("plan", "--members", str(node.members))
        fails(result, 6, f"rosterd: HAProxy's socket {node.directory}/haproxy.sock cannot be reached: No such file")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "is not JSON"),
            ("[]", "is not what `rosterd members --json` prints"),
            ('{"members": [{"name": "web-1"}]}', "member 1: tags should be an object"),
        ],
    )
    def test_members_that_are_none(self, node: Node, text: str, words: str) -> None:
        """The file is named, or standard input."""
        node.members.write_text(text, encoding="utf-8")
        fails(node.runs("render", "--members", str(node.members)), 8, f"rosterd: {node.members}: {words}")
        fails(node.runs("render", "--members", "-", piped=text), 8, f"rosterd: standard input: {words}")

    def test_a_members_file_that_cannot_be_read(self, node: Node) -> None:
        """Missing, or a directory."""
        fails(node.runs("render", "--members", "absent.json"), 8, "rosterd: absent.json: cannot be read: ")
        fails(node.runs("render", "--members", str(node.directory)), 8, "cannot be read: ")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nonsense"], "No such command 'nonsense'."),
            (["check", "--nonsense"], "No such option: --nonsense"),
            (["render", "--members"], "Option '--members' requires an argument."),
        ],
    )
    def test_wrong_usage(self, arguments: list[str], words: str) -> None:
        """In a whole sentence; the code is the shell's own for it."""
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"Error: {words}" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "code"), [(["run", "--settings", "absent.toml"], 3), (["check", "--settings", "absent.toml"], 3)]
    )
    def test_the_exit_code_of_the_process(self, tmp_path: Path, arguments: list[str], code: int) -> None:
        """`python -m rosterd` ends with it, and no traceback is seen."""
        command = [sys.executable, "-m", "rosterd", *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == code
        assert result.stderr == "rosterd: absent.toml: cannot be read: No such file or directory\n"
        assert result.stdout == ""


class TestCheck:
    """`rosterd check`."""

    def test_all_is_well(self, node: Node) -> None:
        """It says what was checked."""
        result = node.runs("check")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"settings, template {node.template} and the configuration made from them are valid\n"

    def test_it_writes_nothing(self, node: Node) -> None:
        """Not even beside the files that it reads."""
        before = sorted(node.directory.iterdir())
        node.runs("check")
        assert sorted(node.directory.iterdir()) == before


class TestRender:
    """`rosterd render --members`."""

    def test_from_a_file_or_from_standard_input(self, node: Node) -> None:
        """Both give the whole configuration and nothing else."""
        from_file = node.runs("render", "--members", str(node.members))
        piped = node.runs("render", "--members", "-", piped=node.members.read_text(encoding="utf-8"))
        assert from_file.exit_code == piped.exit_code == 0
        assert from_file.stdout == piped.stdout
        assert "\n    server web-1 10.0.0.1:3000 id " in from_file.stdout
        assert from_file.stdout.endswith("\n")

    def test_an_attack_is_left_out(self, node: Node) -> None:
        """A name that would be a line of HAProxy's is quarantined here as in the daemon."""
        text = json.loads(node.members.read_text(encoding="utf-8"))
        text["members"].append({**text["members"][0], "name": "x\n    server evil 10.9.9.9:80", "address": "10.0.0.2"})
        result = node.runs("render", "--members", "-", piped=json.dumps(text))
        assert result.exit_code == 0
        assert "web-1" in result.stdout
        assert "evil" not in result.stdout


class TestHelp:
    """`rosterd --help`, which a shell's completion asks for as well."""

    def test_it_loads_no_more_than_the_declarations(self) -> None:
        """What commands do is loaded when they do it."""
        loaded = modules_of("--help")
        ours = {name for name in loaded if name.partition(".")[0] == "rosterd"}
        assert ours == {"rosterd", "rosterd.cli", "rosterd.errors", "rosterd.places"}
        assert not loaded & {"aiohttp", "asyncio", "jinja2", "pydantic", "rich", "structlog"}

    def test_it_takes_less_than_a_fifth_of_a_second(self) -> None:
        """Of processor time, which others on the machine take less of than they do of a clock's."""
        assert min(processor_s(sys.executable, "-m", "rosterd", "--help") for _ in range(3)) < 0.2


class TestCompletion:
    """What a shell asks `rosterd` for when somebody presses Tab."""

    @pytest.mark.parametrize(
        ("environment", "word"),
        [
            ({"_ROSTERD_COMPLETE": "complete_bash", "COMP_WORDS": "rosterd ", "COMP_CWORD": "1"}, r"^(\w+)$"),
            ({"_ROSTERD_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "rosterd "}, r'"(\w+)":'),
            (
                {
                    "_ROSTERD_COMPLETE": "complete_fish",
                    "_TYPER_COMPLETE_FISH_ACTION": "get-args",
                    "_TYPER_COMPLETE_ARGS": "rosterd ",
                },
                r"^(\w+)\t",
            ),
        ],
        ids=["bash", "zsh", "fish"],
    )
    def test_each_shell_is_told_all_commands(self, environment: dict[str, str], word: str) -> None:
        """In its own way: a word a line, an array of words with their meaning, words and meanings in two columns."""
        answer = subprocess.run(
            [PROGRAM], env=os.environ | environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert frozenset(re.findall(word, answer.stdout, re.MULTILINE)) == commands_of(app)

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [("", commands_of(app)), ("re", {"ready", "render"}), ("guard ", {"release"}), ("plan --j", {"--json"})],
    )
    def test_in_a_real_bash(self, typed: str, offered: frozenset[str]) -> None:
        """The script that it gives for bash offers what begins as what was typed."""
        script = f"""
            eval "$(_ROSTERD_COMPLETE=source_bash {PROGRAM})"
            words="rosterd {typed}" && COMP_WORDS=($words)
            [ "$words" = "${{words% }}" ] || COMP_WORDS+=("")
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _rosterd_completion {PROGRAM}
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
        assert set(answer.stdout.split()) == offered


class TestRun:
    """`rosterd run`, as far as it comes without settings."""

    def test_it_leaves_out_what_its_libraries_do_without(self, tmp_path: Path) -> None:
        """All of the daemon is loaded when it says what is missing, and none of that."""
        loaded = modules_of("run", "--settings", str(tmp_path / "absent.toml"), code=3)
        assert {"rosterd.app", "aiohttp", "pydantic", "structlog"} <= loaded
        assert not {name for name in loaded if name.startswith("rich.")}
        assert "_ssl" not in loaded
        assert not loaded & {"rosterd.commands", "rosterd.console", "rosterd.preview"}


def modules_of(*arguments: str, code: int = 0) -> frozenset[str]:
    """Run a command, and return the names of all modules that were imported for it."""
    command = [sys.executable, "-X", "importtime", "-m", "rosterd", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    rows = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return frozenset(row.rpartition("|")[2].strip() for row in rows)


def processor_s(*command: str) -> float:
    """Run a command and return the processor time that it took."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class TestVersion:
    """`rosterd version`, and the option that every program has."""

    def test_for_people_and_for_programs(self) -> None:
        """One line, or JSON, where no daemon answers."""
        assert CliRunner().invoke(app, ["version"]).stdout == f"rosterd {__version__}\n"
        assert CliRunner().invoke(app, ["--version"]).stdout == f"rosterd {__version__}\n"
        assert json.loads(CliRunner().invoke(app, ["version", "--json"]).stdout) == {"version": __version__}


# --- beside a daemon --------------------------------------------------------------------------------------------


@contextmanager
def answering(listen: str, report: Callable[[], Report]) -> Iterator[None]:
    """Have the daemon's own admin interface answer with a report, in a loop of its own."""
    loop = asyncio.new_event_loop()
    stop, started = asyncio.Event(), threading.Event()

    async def serve() -> None:
        async with serving(listen, insight(report)):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10), "the admin interface does not start"
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def at_work() -> Report:
    """Return the report of a daemon that serves one of each: alive, failed, unseen, quarantined and inherited."""
    everybody = ("alive", "bad", "failed", "unseen")
    at = {name: f"10.0.0.{number}" for number, name in enumerate(everybody, 1)}
    table, _ = advance(inherit(["inherited"], 0), [record(name, at[name]) for name in everybody], 0, served=EVERYBODY)
    inherited = decide(
        table_of(record("inherited", "10.0.0.9")),
        (NODES,),
        View(served={}, answering={}, health_score=0),
        PolicySettings(),
        0,
    )
    first = decide(table, (NODES,), View(served=inherited.lines, answering={}, health_score=0), PolicySettings(), 0)
    now_said = [
        record("alive", at["alive"]),
        record("bad", at["bad"], port="x"),
        record("failed", at["failed"], "failed"),
    ]
    table, _ = advance(table, now_said, 1, served=EVERYBODY)
    decision = decide(table, (NODES,), View(served=first.lines, answering={}, health_score=0), PolicySettings(), 1)
    return replace(
        EARLY, table=table, decision=decision, planned=Planned(Nothing()), complete=True, agent_error="", proxy_error=""
    )


class _SomebodyElse(BaseHTTPRequestHandler):
    """A program that is no rosterd and speaks JSON as well."""

    def do_GET(self) -> None:
        """Answer anything, at once: who has read the head may be gone before a body that comes later."""
        self.wfile.write(b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"alive": true}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("command", ["status", "members"])
def test_somebody_else_at_the_admin_address(node: Node, command: str) -> None:
    """What it says is not taken for a daemon's word."""
    with UnixStreamServer(node.listen.removeprefix("unix:"), _SomebodyElse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            fails(node.runs(command), 7, f"rosterd: what answers at {node.listen} is not rosterd")
        finally:
            server.shutdown()
            thread.join()


def test_the_version_names_what_runs(node: Node) -> None:
    """The daemon and its HAProxy, where a daemon answers."""
    running = Running("3.4.7-1", 7, "digest", {}, {})
    with answering(node.listen, lambda: replace(at_work(), running=running)):
        ended = node.runs("version")
        assert json.loads(node.runs("version", "--json").stdout)["haproxy"] == "3.4.7-1"
    assert ended.stdout.splitlines()[-1] == "haproxy 3.4.7-1, running"


def test_an_error_of_the_daemons_own_is_told_as_such(node: Node) -> None:
    """With its status, and as far as there is one its reason: somebody else on the port would be another remedy."""

    def broken() -> Report:
        raise LookupError("a bug")

    with answering(node.listen, broken):
        fails(node.runs("status"), 7, f"rosterd: rosterd at {node.listen} answers 500: 500 Internal Server Error")


def test_a_request_that_the_daemon_refuses(node: Node) -> None:
    """A limit that this command takes and a daemon of another version may not."""
    with answering(node.listen, at_work), pytest.raises(DaemonUnreachable) as refused:
        asyncio.run(ask(node.listen, "/v1/events?limit=x"))
    assert str(refused.value) == (
        f"rosterd at {node.listen} answers 400: limit: should be a number from 1 to 1000, and is 'x'"
    )


def test_a_stream_that_the_daemon_has_no_room_for(node: Node) -> None:
    """Who follows is told why, and tries again."""

    async def one_too_many() -> None:
        async with AsyncExitStack() as stack:
            connector = aiohttp.UnixConnector(node.listen.removeprefix("unix:"), limit=0)
            session = await stack.enter_async_context(aiohttp.ClientSession("http://x", connector=connector))
            for _ in range(MOST_READERS):
                reader = session.get("/v1/events", headers={"Accept": STREAM})
                assert (await stack.enter_async_context(reader)).status == 200
            await anext(follow(node.listen, ""))

    with (
        answering(node.listen, at_work),
        pytest.raises(DaemonUnreachable, match=f"rosterd at {node.listen} answers 503: 100 readers follow already"),
    ):
        asyncio.run(one_too_many())


def released(node: Node) -> Result:
    """Run `rosterd guard release`."""
    return CliRunner().invoke(app, ["guard", "release", "--settings", str(node.settings)])


class TestBesideDaemon:
    """Commands that ask the running daemon."""

    def test_only_a_daemon_is_told_that_the_guard_is_wrong(self, node: Node) -> None:
        """Its number may be another program's here, which the signal would end."""
        report = at_work()
        assert report.decision is not None
        engaged = replace(report, decision=replace(report.decision, guard="most of nodes failed"))
        with subprocess.Popen(["sleep", "60"]) as bystander:
            try:
                with answering(node.listen, lambda: replace(engaged, pid=bystander.pid)):
                    fails(released(node), 7, f"process {bystander.pid} is no rosterd here")
                assert bystander.poll() is None
            finally:
                bystander.kill()

    def test_a_guard_that_is_not_engaged_has_nothing_to_release(self, node: Node) -> None:
        """Said on standard error, with exit code 1."""
        report = at_work()
        assert report.decision is not None
        quiet = replace(report, decision=replace(report.decision, guard=""))
        with answering(node.listen, lambda: quiet):
            fails(released(node), 1, "the guard is not engaged")

    def test_render_prints_what_the_daemon_serves(self, node: Node) -> None:
        """With all that it holds: failed, unseen, quarantined and inherited servers, each with its id."""
        report = at_work()
        with answering(node.listen, lambda: report):
            result = node.runs("render")
        assert result.exit_code == 0, result.stderr
        servers = [line.split() for line in result.stdout.splitlines() if line.startswith("    server ")]
        assert report.decision is not None
        assert [(words[1], words[2], int(words[4])) for words in servers] == [
            (server.name, f"{server.address}:{server.port}", server.id)
            for server in report.decision.backends[0].servers
        ]
        assert [words[1] for words in servers] == ["alive", "bad", "failed", "inherited", "unseen"]

    def test_members_for_people(self, node: Node) -> None:
        """A line each, whole in a pipe, and text from the network is never markup or a control."""
        table = table_of(record("web-1", "10.0.0.1", node="shop", weight="7", note="[red]\x1b[31m"), record("a\nb"))
        with answering(node.listen, lambda: replace(EARLY, table=table)):
            result = node.runs("members")
        assert result.exit_code == 0
        head, bad, good = (line.split() for line in result.stdout.splitlines())
        assert head == ["NODE", "NAME", "STATUS", "SINCE", "ADDRESS", "ROLE", "TAGS"]
        assert good == [
            "shop",
            "web-1",
            "alive",
            "2",
            "min",
            "10.0.0.1",
            "backend",
            r"note=[red]\u001b[31m",
            "weight=7",
        ]
        assert bad[:3] == [r"a\u000ab", r"a\u000ab", "quarantined:"]

    def test_members_for_programs(self, node: Node) -> None:
        """What `render --members` takes."""
        report = at_work()
        with answering(node.listen, lambda: report):
            result = node.runs("members", "--json")
        assert json.loads(result.stdout) == members_answer(report)
        piped = node.runs("render", "--members", "-", piped=result.stdout)
        assert "server alive 10.0.0.1:3000 " in piped.stdout

    def test_status_of_a_ready_daemon(self, node: Node) -> None:
        """Exit code 0; the servers as a table."""
        with answering(node.listen, at_work):
            result = node.runs("status")
        assert result.exit_code == 0
        assert "ready    yes\n" in result.stdout
        rows = [line.split() for line in result.stdout.splitlines() if line.startswith("nodes ")]
        assert [(row[1], " ".join(row[2:-6])) for row in rows] == [
            ("alive", "not seen"),
            ("bad", "not seen held: quarantined"),
            ("failed", "not seen held: failed"),
            ("inherited", "not seen held: unseen"),
            ("unseen", "not seen held: unseen"),
        ]

    def test_status_of_one_that_is_not(self, node: Node) -> None:
        """Exit code 1, and in words what is wrong."""
        gone = "no agent at 127.0.0.1:7373"
        report = replace(at_work(), agent_error=gone, stale_limit_s=10.0, action_error="the disk is full")
        with answering(node.listen, lambda: report):
            result, as_json = node.runs("status"), node.runs("status", "--json")
        assert (result.exit_code, as_json.exit_code) == (1, 1)
        assert json.loads(as_json.stdout)["ready"] is False
        assert "ready    no\n" in result.stdout
        assert "does not answer since 10 s: no agent at 127.0.0.1:7373" in result.stdout
        assert "last action failed: the disk is full\n" in result.stdout
        assert "quarantined: bad: tag port 'x' is not a number from 1 to 65535\n" in result.stdout

    def test_status_while_the_agent_is_silent_for_a_moment(self, node: Node) -> None:
        """Ready all the same, and said."""
        report = replace(at_work(), agent_error="no agent", stale_limit_s=10.1)
        with answering(node.listen, lambda: report):
            result = node.runs("status")
        assert result.exit_code == 0
        assert "ready    yes\n" in result.stdout
        assert "does not answer since 10 s: no agent" in result.stdout

    def test_status_before_anything_is_known(self, node: Node) -> None:
        """No table is better than a traceback."""
        with answering(
            node.listen, lambda: replace(EARLY, planned=Planned(Reload((Reason(ReasonKind.STRUCTURE, "x"),))))
        ):
            result = node.runs("status")
        assert result.exit_code == 1
        assert "plan     reload\n" in result.stdout

    def test_an_empty_table(self, node: Node) -> None:
        """A daemon without members is an answer."""
        with answering(node.listen, lambda: replace(EARLY, table=EMPTY)):
            result = node.runs("members", "--json")
        assert (result.exit_code, json.loads(result.stdout)) == (0, {"members": []})

"""Every command that the documentation shows is run as it stands there, in its order, on a cluster that is up.

In a copy of the project, so that `.run/demo` is nobody's; tests/documented.py says which pages, and what cannot be run.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from compose.cluster import LocalCluster
from compose.processes import kill_processes
from compose.run_directory import RunDirectory
from compose.settled import wait_settled
from tests.documented import FLOWS, TREE, Command, Start, to_run

pytestmark = pytest.mark.usefixtures("only_cluster")

LONGEST_S = 90.0
END_WITHIN_S = 15.0
LEFT_OUT = (".git", ".venv", ".run", ".hypothesis", "__pycache__", ".*_cache", "*.egg-info")
VENV_PARTS = ("bin", "lib", "include", "pyvenv.cfg")
LEVELS = ("demo", "test")
LAST_LINE_OF_SETUP = 'main "$@"\n'


@pytest.fixture
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project in which set-up has run; what its cluster leaves running is killed."""
    made = tmp_path_factory.mktemp("d") / "c"
    shutil.copytree(TREE, made, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    _share_venv(made)
    yield made
    with suppress(FileNotFoundError):
        kill_all(made / ".run" / "demo")


def _share_venv(clone: Path) -> None:
    """Give the copy this project's .venv, and the stamp that set-up would have given it there."""
    venv = clone / ".venv"
    venv.mkdir()
    for part in VENV_PARTS:
        (venv / part).symlink_to(TREE / ".venv" / part)
    setup = (clone / "compose" / "setup").read_text(encoding="utf-8")
    assert setup.endswith(LAST_LINE_OF_SETUP)
    script = setup.removesuffix(LAST_LINE_OF_SETUP) + "digest\n"
    stamp = subprocess.run(
        ["sh", "-c", script, str(clone / "compose" / "setup")], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    for level in LEVELS:
        (venv / f".ready-{level}").write_text(stamp, encoding="ascii")


def kill_all(run_directory: Path) -> None:
    """Kill every node of a cluster."""
    files = RunDirectory(run_directory)
    for node in files.nodes():
        session = files.session_of(node)
        if session is not None:
            kill_processes(session, node.directory)


# --- one shell --------------------------------------------------------------------------------------------------


@dataclass
class Shell:
    """A shell that is given one command after the other, and keeps its variables between them."""

    directory: Path
    environ: Mapping[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    MARK = b"--- the command has ended with "

    def __post_init__(self) -> None:
        self.process = self._start(["sh"])

    def run(self, command: str) -> tuple[int, str]:
        """Run a command to its end; its exit code, and all that it said."""
        assert self.process.stdin is not None
        ending = f"printf '\\n{self.MARK.decode()}%s\\n' $?"
        self.process.stdin.write(f"{{\n{command}\n}} </dev/null\n{ending}\n".encode())
        self.process.stdin.flush()
        said = read_until(self.process, lambda text: self.MARK in text and text.endswith(b"\n"), LONGEST_S)
        text, _, code = said.rpartition(self.MARK)
        return int(code), text.decode(errors="replace").strip()

    def run_until_it_speaks(self, command: str) -> str:
        """Run a command that goes on, interrupt it once it has said a line, and return what it said."""
        process = self._start(["sh", "-c", command])
        try:
            said = read_until(process, lambda text: b"\n" in text, LONGEST_S)
            assert process.poll() is None, f"`{command}` does not go on; it said:\n{said.decode(errors='replace')}"
            os.killpg(process.pid, signal.SIGINT)
            process.wait(END_WITHIN_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            close(process)
        return said.decode(errors="replace").strip()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        close(self.process)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def read_until(process: subprocess.Popen[bytes], enough: Callable[[bytes], bool], within_s: float) -> bytes:
    """Read what a process says until it is enough; a process that ends or is silent for too long is a failure."""
    assert process.stdout is not None
    said, give_up_at = b"", time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not enough(said):
            if not selector.select(max(0.0, give_up_at - time.monotonic())):
                pytest.fail(f"nothing more after {within_s:g} s; it said:\n{said.decode(errors='replace')}")
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                pytest.fail(f"it ended too early; it said:\n{said.decode(errors='replace')}")
            said += chunk
    return said


def close(process: subprocess.Popen[bytes]) -> None:
    """Take the exit status of a process that was told to end, and close its pipes."""
    process.wait(END_WITHIN_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


# --- the flows --------------------------------------------------------------------------------------------------


def environment(clone: Path) -> dict[str, str]:
    """What a person's shell has, and nothing that speaks of this test."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ} | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PWD": str(clone),
    }


def prepare(start: Start, clone: Path) -> tuple[dict[str, str], Mapping[str, str]]:
    """Bring about what a flow starts from; the environment of its shell, and what to replace in its commands."""
    environ = environment(clone)
    if start is Start.NOTHING:
        return environ, {}
    subprocess.run([".venv/bin/python", "-m", "compose", "up"], cwd=clone, env=environ, check=True, timeout=LONGEST_S)
    if start is Start.CLUSTER:
        return environ, {}
    cluster = LocalCluster.open(clone / ".run" / "demo")
    asyncio.run(wait_settled(cluster))
    balancer = cluster.node("balancer")
    environ |= {key: value for key, value in cluster.node_environment(balancer).items() if key.startswith("ROSTERD_")}
    environ["PATH"] = f"{clone / '.venv' / 'bin'}:{environ['PATH']}"
    return environ, {"/etc/rosterd/": f"{balancer.directory}/"}


@pytest.mark.parametrize("name", FLOWS)
def test_commands_of_the_documentation(name: str, clone: Path) -> None:
    """Each ends with 0, or with 1 where that is an answer; those that go on say something and end with Ctrl-C."""
    flow = FLOWS[name]
    environ, replaced = prepare(flow.start, clone)
    shell = Shell(clone, environ)
    try:
        for command in to_run(flow):
            text = command.text
            for word, instead in replaced.items():
                text = text.replace(word, instead)
            run(shell, command, text)
    finally:
        shell.close()


def run(shell: Shell, command: Command, text: str) -> None:
    """Run one command and look at how it ended."""
    if command.goes_on:
        assert shell.run_until_it_speaks(text), f"{command.page}: {text} said nothing"
        return
    code, said = shell.run(text)
    assert code in command.exit_codes, f"{command.page}: `{text}` ended with {code}:\n{said}"
    assert "Traceback" not in said, f"{command.page}: `{text}`:\n{said}"

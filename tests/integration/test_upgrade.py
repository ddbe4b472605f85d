"""docs/upgrade.md, command by command, with requests flowing: to a newer version, and back.

The places are a test's own, and `systemctl restart` is played: the daemon is ended, and the link says which one starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from rosterd import __version__
from tests.balancer import Balancer
from tests.documented import NO_IS_AN_ANSWER, Command, commands_of
from tests.markdown import Page
from tests.packages import TREE, copied_tree

PAGE: Final = Page(TREE / "docs" / "upgrade.md")
NEWER: Final = "99.0.0"
RESTART: Final = "systemctl restart rosterd"
COMMAND_S: Final = 300.0


@dataclass(frozen=True)
class Machine:
    """Where `/usr/local` is, the clone of the newer version, and a balancer whose daemon the link there names."""

    local: Path
    clone: Path
    balancer: Balancer

    @property
    def link(self) -> Path:
        """What a service manager starts."""
        return self.local / "bin" / "rosterd"

    def runs(self, command: str) -> str:
        """Run a command as the page has it, but for the places; return what it says."""
        text = command
        for place, instead in self._places().items():
            text = text.replace(place, instead)
        environ = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "PATH": f"{self.link.parent}:{os.environ['PATH']}",
            "ROSTERD_SETTINGS": str(self.balancer.daemon.settings_file),
        }
        done = subprocess.run(
            ["sh", "-c", text],
            cwd=self.clone,
            env=environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode in ((0, 1) if NO_IS_AN_ANSWER.search(command) else (0,)), done.stderr or done.stdout
        return done.stdout

    def restart(self) -> None:
        """Do what a service manager does."""
        self.balancer.daemon.end()
        self.balancer.daemon.start()
        self.balancer.wait_ready()

    def _places(self) -> Mapping[str, str]:
        return {"/usr/bin/python3": sys.executable, "/usr/local": str(self.local)}


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with this version installed as docs/operations.md says, and nothing running."""
    directory = tmp_path_factory.mktemp("m")
    clone = copied_tree(directory / "clone")
    (clone / "requirements").symlink_to(TREE / "requirements")
    made = Machine(directory / "local", clone, Balancer(tmp_path_factory.mktemp("b")))
    made.link.parent.mkdir(parents=True)
    for command in commands_of(Page(TREE / "docs" / "operations.md")):
        if (
            "/usr/local/lib/rosterd" in command.text
            and "share" not in command.text
            and "supervisord" not in command.text
        ):
            made.runs(command.text)
    version = clone / "daemon" / "rosterd" / "__init__.py"
    version.write_text(version.read_text(encoding="utf-8").replace(__version__, NEWER), encoding="utf-8")
    made.balancer.daemon.program = (str(made.link),)
    return made


def chapter(name: str) -> list[Command]:
    """Return the commands of one chapter of the page."""
    blocks = [block.text for block in PAGE.blocks if block.anchor == name]
    return [command for command in commands_of(PAGE) if any(command.text in text for text in blocks)]


def follow(machine: Machine, name: str, saw: Callable[[str, str], None]) -> None:
    """Run the commands of a chapter, and show each with what it said."""
    for command in chapter(name):
        if command.text == RESTART:
            machine.restart()
        else:
            saw(command.text, machine.runs(command.text))


def test_an_upgrade_and_the_way_back(machine: Machine) -> None:
    """No request fails, HAProxy is the same and is told nothing, nothing is written, and each version says its own."""
    said: dict[str, str] = {}
    with machine.balancer as balancer:
        balancer.start()
        webs = [balancer.add_web(), balancer.add_web()]
        balancer.wait_served(*webs)
        balancer.wait_content()
        before = balancer.running().pid, balancer.file_identity()
        mark = balancer.daemon.mark()
        with balancer.traffic():
            follow(machine, "upgrade", said.__setitem__)
            assert said.pop("rosterd --version") == f"rosterd {NEWER}\n"
            assert balancer.daemon.status()["version"] == NEWER
            assert said["/usr/local/lib/rosterd-next/bin/rosterd plan"] == "nothing\n"
            follow(machine, "rollback", said.__setitem__)
            assert said["rosterd --version"] == f"rosterd {__version__}\n"
            assert balancer.daemon.status()["version"] == __version__
        assert (balancer.running().pid, balancer.file_identity()) == before
        for event in ("proxy.reloaded", "servers.changed", "config.followed"):
            assert not balancer.daemon.events(event, mark)

"""`make fresh`: `make demo DEMO=local` and `make test` in fresh root file systems, as root and as a user with sudo.

Exit codes: 0 every command succeeded and did something, 1 one did not, 2 it cannot run here.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from compose.engine import EngineError
from tests.fresh.machine import TREE, Machine, pip_settings
from tests.fresh.options import Command, Distro, Options, OptionsRefusedError, User
from tests.fresh.pip_settings import PipSettings
from tests.fresh.roots import RootFailedError, Roots
from tests.fresh.verdict import Run, counts_of, table_of

FOLDER = TREE / ".fresh"
LAST_LINES = 40
_printing = Lock()


@dataclass(frozen=True, slots=True)
class Fresh:
    """Runs the chosen commands, below one folder."""

    folder: Path
    options: Options
    pip: PipSettings

    def all_runs(self) -> list[Run]:
        """Run everything; the runs in the order in which they were asked for.

        Raises:
            RootFailedError: a root file system cannot be made.
        """
        with ThreadPoolExecutor(self.options.jobs) as pool:
            archives = dict(zip(self.options.distros, pool.map(self._archive, self.options.distros), strict=True))
            pairs = [(distro, user) for distro in self.options.distros for user in self.options.users]
            waiting = [pool.submit(self._runs_of, distro, user, archives[distro]) for distro, user in pairs]
            return [run for future in waiting for run in future.result()]

    def _archive(self, distro: Distro) -> Path:
        say(f"Debian {distro.name}: making the root file system")
        return Roots(self.folder / "roots").make(distro)

    def _runs_of(self, distro: Distro, user: User, archive: Path) -> list[Run]:
        """Run the commands one after the other in one root file system, as a reader of the README does."""
        name = f"{distro.suite}-{user.value}"
        root = self.folder / "machines" / f"{name}-{os.getpid()}"
        machine = Machine(root, user, self.pip, self.folder / "pip" / user.value)
        Roots(self.folder / "roots").unpack(archive, root)
        try:
            machine.prepare()
            return [self._run(machine, distro, command) for command in self.options.commands]
        finally:
            machine.remove()

    def _run(self, machine: Machine, distro: Distro, command: Command) -> Run:
        log = self.folder / "logs" / f"{distro.suite}-{machine.user.value}-{command.value}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        what = f"Debian {distro.name}, as {machine.user.value}: {command.line}"
        say(what)
        code, seconds = machine.execute(command, log)
        output = log.read_text(encoding="utf-8", errors="replace")
        counts = counts_of(command, output)
        versions = machine.versions() if code == 0 else ""
        done = Run(distro.name, command, machine.user, code, seconds, counts, versions)
        if not done.ok:
            last = "\n".join(output.splitlines()[-LAST_LINES:])
            say(f"{what}: exit code {code}; {counts.problem}\n{last}\nall of its output: {log}")
        return done


def say(text: str) -> None:
    """Print a line at once."""
    with _printing:
        sys.stdout.write(f"fresh: {text}\n")
        sys.stdout.flush()


def main() -> int:
    """Run what the environment asks for, and print the table."""
    if os.geteuid() != 0:
        sys.stderr.write("fresh: making root file systems and namespaces needs root; run it as root\n")
        return 2
    try:
        options = Options.read(os.environ)
        runs = Fresh(FOLDER, options, pip_settings()).all_runs()
    except (OptionsRefusedError, RootFailedError, EngineError) as error:
        sys.stderr.write(f"fresh: {error}\n")
        return 2
    sys.stdout.write("\n" + table_of(runs))
    return 0 if runs and all(run.ok for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())

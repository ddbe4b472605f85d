# noqa: INP001  a script, in no package
"""Writes the lock files beside this one, from the ranges in setup.cfg and pyproject.toml.

One file for each place that something is deployed to, and one for each tool's need:

- `balancer.lock`: the daemon and the supervisor of its node.
- `webapp.lock`: the demo web app and the supervisor of its node.
- `dev.lock`: all of these, and what the tests and checks need.
- `bench.lock`: what `make bench` needs besides.
- `matrix.lock`: what `make matrix` needs besides; it goes into folders of its own, never into .venv.
- `build.lock`: what builds the project itself.

Each pin carries the hashes of all its files on the index, for every Python that the project supports. A
package has one version in all files: `dev.lock` is solved first and binds the others. No file names an
index or a folder. Pins that still fit stay as they are, unless `--upgrade` asks for the newest.

Usage: `python requirements/lock.py [--upgrade]`; needs `uv`.
"""

import configparser
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
TREE: Final = HERE.parent
OLDEST_PYTHON: Final = "3.11"
FROM_INDEX_ALONE: Final = ("--no-config", "--no-header", "--no-emit-index-url", "--no-emit-find-links")


def requirements() -> dict[str, tuple[str, ...]]:
    """Say what each lock file is solved from.

    Returns:
        Requirement lines by the file's name, in the order in which the files are to be solved.
    """
    setup = configparser.ConfigParser()
    setup.read(TREE / "setup.cfg", encoding="utf-8")
    daemon = _lines(setup["options"]["install_requires"])
    extra = {name: _lines(text) for name, text in setup["options.extras_require"].items()}
    build = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    return {
        "dev.lock": daemon + extra["node"] + extra["webapp"] + extra["dev"],
        "balancer.lock": daemon + extra["node"],
        "webapp.lock": extra["webapp"] + extra["node"],
        "bench.lock": extra["bench"],
        "matrix.lock": extra["matrix"],
        "build.lock": tuple(build),
    }


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def solve(uv: str, name: str, lines: tuple[str, ...], options: tuple[str, ...]) -> None:
    """Write one lock file.

    Raises:
        subprocess.CalledProcessError: uv found no solution, and has said why.
    """
    bound = () if name == "dev.lock" else ("--constraints", str(HERE / "dev.lock"))
    subprocess.run(  # noqa: S603  the arguments are this file's own
        [
            *(uv, "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON),
            *("--generate-hashes", "--no-annotate", *FROM_INDEX_ALONE, *bound, *options),
            *("--output-file", str(HERE / name), "-"),
        ],
        input="\n".join(lines),
        env=_without_own_sources(),
        text=True,
        check=True,
    )


def _without_own_sources() -> dict[str, str]:
    """Leave out what points a machine at sources of its own: a lock made anywhere must be the same."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}


def main(options: tuple[str, ...]) -> int:
    """Write all lock files.

    Returns:
        The exit code: 0 when all were written, 1 when one has no solution, 2 on wrong usage or without uv.
    """
    beside_python = Path(sys.executable).parent / "uv"
    uv = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if uv is None:
        print("lock: uv is not installed; try: .venv/bin/python -m pip install uv", file=sys.stderr)  # noqa: T201  a command's message
        return 2
    if options not in ((), ("--upgrade",)):
        print("usage: python requirements/lock.py [--upgrade]", file=sys.stderr)  # noqa: T201  a command's message
        return 2
    for name, lines in requirements().items():
        try:
            solve(uv, name, lines, options)
        except subprocess.CalledProcessError:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))

"""What programs say of their own version, and which version the tests are meant to run on.

`make matrix` says so: `EXPECT_HAPROXY=3.4` for each HAProxy that the tests start, `EXPECT_SERF=/path/of/serf` for each
agent (the program prints no version of use). Another one is an error then, where it starts.
"""

import os
import subprocess
from pathlib import Path

_WITHIN_S = 10.0
EXPECTED_HAPROXY = os.environ.get("EXPECT_HAPROXY", "")
EXPECTED_SERF = os.environ.get("EXPECT_SERF", "")


class UnexpectedVersion(RuntimeError):
    """A program that a test started is not of the version that the tests are meant to run on."""


def require_haproxy(info: str, expected: str = EXPECTED_HAPROXY) -> None:
    """Make sure of the branch of a HAProxy, by its answer to `show info`.

    Raises:
        UnexpectedVersion: another one runs.
    """
    version = next((line.partition(": ")[2] for line in info.splitlines() if line.startswith("Version: ")), "")
    if expected and not version.startswith(f"{expected}."):
        raise UnexpectedVersion(f"HAProxy {version} runs, and EXPECT_HAPROXY={expected}; is PATH right, and HAPROXY?")


def require_serf(pid: int, expected: str = EXPECTED_SERF) -> None:
    """Make sure of the program file of a Serf agent.

    Raises:
        UnexpectedVersion: another one runs.
    """
    running = Path(f"/proc/{pid}/exe").readlink()
    if expected and running != Path(expected).resolve():
        raise UnexpectedVersion(f"{running} runs, and EXPECT_SERF={expected}; is PATH right?")


def first_line(*command: str) -> str:
    """Return the first line that a command prints; empty where it prints none."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
    return done.stdout.partition("\n")[0]

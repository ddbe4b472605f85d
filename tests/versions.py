"""What programs say of their own version, for reports that are compared later."""

import subprocess

_WITHIN_S = 10.0


def first_line(*command: str) -> str:
    """Return the first line that a command prints; empty where it prints none."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
    return done.stdout.partition("\n")[0]

"""`python -m tests.fuzz TARGET CORPUS [libFuzzer's options]`: fuzz one target, guided by coverage, with atheris.

An input that fails is written to the working directory; run it again with `python -m tests.fuzz TARGET FILE`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["rosterd"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer's options say stop."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


main()

"""`rosterd` and `python -m rosterd`: the only place that ends the process."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["run"]:
        _take_early_signals()
    from rosterd.cli import app  # noqa: PLC0415  takes a third of a second, in which signals come

    sys.exit(app())


def _take_early_signals() -> None:
    """Until the daemon takes signals itself: a stop ends the process, without a traceback.

    SIGHUP has nothing to say yet: what is to be read again has not been read.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


if __name__ == "__main__":
    main()

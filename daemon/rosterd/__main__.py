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

    SIGHUP and SIGUSR1 have nothing to say yet: nothing has been read, and no guard is engaged.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()

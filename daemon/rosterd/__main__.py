"""`rosterd` and `python -m rosterd`: the only place that ends the process."""

from __future__ import annotations

import signal
import sys

LEFT_OUT = ("_hashlib", "rich", "ssl")
"""Modules that the daemon's libraries use where there are any, and do without where there are none.

The daemon does without, since it would hold them for as long as it runs. structlog draws tracebacks with rich, and a
daemon's are plain. asyncio and aiohttp prepare for TLS, with the certificates of the whole world, and the daemon speaks
none; Python's own digests do for ours.
"""


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["run"]:
        _take_early_signals()
        leave_out()
    from rosterd.cli import app  # noqa: PLC0415  takes a moment, in which signals come

    sys.exit(app())


def leave_out() -> None:
    """Have each of these modules count as not installed, which is what None says to Python's import."""
    for name in LEFT_OUT:
        sys.modules[name] = None  # type: ignore[assignment]  # a type for modules that are there


def _take_early_signals() -> None:
    """Until the daemon takes signals itself: a stop ends the process, without a traceback.

    SIGHUP and SIGUSR1 have nothing to say yet: nothing has been read, and no guard is engaged.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()

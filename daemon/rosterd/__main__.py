"""`rosterd` and `python -m rosterd`: the only place that ends the process."""

from __future__ import annotations

import sys

from rosterd.cli import app


def main() -> None:
    """Run the command line."""
    sys.exit(app())


if __name__ == "__main__":
    main()

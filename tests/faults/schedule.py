"""Random moments for faults, the same in each run; FAULT_SEED chooses others. A failure shows the seed."""

from __future__ import annotations

import os
import random
import sys


def moments() -> random.Random:
    """Return a source of moments, and say its seed."""
    seed = int(os.environ.get("FAULT_SEED", "7"))
    sys.stdout.write(f"FAULT_SEED={seed}\n")
    return random.Random(seed)  # noqa: S311  moments, and no secret

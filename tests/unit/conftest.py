"""Rules for the unit tests: how much hypothesis tries, that CI tries the same each time, and a clean environment.

A failure of hypothesis prints a line `@reproduce_failure(...)` that repeats it anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# No deadline: what takes long on a busy machine is not wrong.
settings.register_profile("unit", max_examples=100, deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("unit"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "unit")


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    """Take away what a person's shell says to rosterd: each test sets what it needs."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("ROSTERD_")]:
            patch.delenv(variable)
        yield

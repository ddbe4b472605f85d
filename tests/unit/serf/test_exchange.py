"""How often tables are compared."""

from __future__ import annotations

import pytest

from rosterd.serf.exchange import pause_s


@pytest.mark.parametrize(
    ("members", "intervals"), [(0, 1), (1, 1), (32, 1), (33, 2), (64, 2), (65, 3), (1_000, 6), (10_000, 10)]
)
def test_the_larger_the_cluster_the_seldomer(members: int, intervals: int) -> None:
    """One interval more for each doubling above 32 members."""
    assert pause_s(10.0, members) == 10.0 * intervals

"""The contenders, in the order in which they run and are shown."""

from tests.bench.contenders.contender import Contender
from tests.bench.contenders.rosterd import Rosterd, RosterdReload
from tests.bench.contenders.static import Static

CONTENDERS: tuple[type[Contender], ...] = (Rosterd, RosterdReload, Static)

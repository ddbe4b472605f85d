"""The contenders, in the order in which they run and are shown."""

from tests.bench.contenders.contender import Contender
from tests.bench.contenders.dns import Dns
from tests.bench.contenders.envoy import Envoy
from tests.bench.contenders.handlers import Handlers
from tests.bench.contenders.nginx import Nginx
from tests.bench.contenders.rosterd import Rosterd, RosterdReload
from tests.bench.contenders.static import Static

CONTENDERS: tuple[type[Contender], ...] = (Rosterd, RosterdReload, Handlers, Dns, Nginx, Envoy, Static)

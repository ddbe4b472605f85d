"""nginx, reloaded for each change.

As a competent operator has it: kept connections to the servers, a failed request goes to the next server
(`proxy_next_upstream`), a server that failed three times is left out for two seconds. The free nginx checks no server
by itself and takes no server without a reload.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from typing_extensions import override

from tests.bench.accounting import children_of
from tests.bench.children import WEB_PORT
from tests.bench.contenders.contender import end, found, replace
from tests.bench.contenders.driven import Driven
from tests.bench.waiting import until
from tests.loopback import is_free

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.cluster import Node

_PORT = 8080
_RELOAD_S = 10.0

_CONFIGURATION = """\
# edit {edit}
daemon off;
worker_processes auto;
worker_shutdown_timeout 30s;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{
    worker_connections 8192;
}}
http {{
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{upstream}
    server {{
        listen {address}:{port} backlog=1024;
        location / {{
            {action}
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_connect_timeout 1s;
            proxy_next_upstream error timeout http_502 http_503 http_504;
            proxy_next_upstream_tries 4;
        }}
    }}
}}
"""


class Nginx(Driven):
    """nginx with `-s reload`."""

    name = "nginx"

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        super().__init__(directory, joins)
        self._config = directory / "nginx.conf"
        self._master: subprocess.Popen[bytes] | None = None
        self._reloads = 0
        self._edit = 0

    @classmethod
    @override
    def missing(cls) -> str:
        return "" if found("nginx") else "nginx is not installed (compose/setup bench installs it)"

    @classmethod
    @override
    def ports(cls) -> tuple[int, ...]:
        return (_PORT,)

    @property
    @override
    def target(self) -> tuple[str, int]:
        return self.address, _PORT

    @override
    def start(self, nodes: Sequence[Node]) -> None:
        self._write()
        self._master = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL)
        until(lambda: not is_free(self.address, _PORT), "nginx to listen")
        self.begin_following()

    @override
    def serve(self) -> None:
        self._write()
        # Reads and checks the configuration itself before it signals the master.
        subprocess.run([*self._command(), "-s", "reload"], capture_output=True, timeout=_RELOAD_S, check=True)
        self._reloads += 1

    @override
    def stop(self) -> None:
        self.end_following()
        end(self._master)

    @override
    def edit(self, number: int) -> None:
        with self.one_at_a_time:
            self._edit = number
            self.serve()

    @override
    def proxy_pid(self) -> int:
        if self._master is None:
            raise RuntimeError("nginx was not started")
        # Old workers finish what they have beside the new ones, which are the later ones.
        return max(children_of(self._master.pid), default=0)

    @override
    def reloads(self) -> int:
        return self._reloads

    def _command(self) -> list[str]:
        return [found("nginx"), "-c", str(self._config), "-p", str(self.directory), "-e", f"{self.directory}/error.log"]

    def _write(self) -> None:
        lines = "".join(
            f"        server {row.address}:{WEB_PORT} max_fails=3 fail_timeout=2s;\n" for row in self.servers
        )
        # An upstream without servers is an error.
        upstream = f"    upstream nodes {{\n{lines}        keepalive 128;\n    }}" if lines else ""
        text = _CONFIGURATION.format(
            edit=self._edit,
            directory=self.directory,
            address=self.address,
            port=_PORT,
            upstream=upstream,
            action="proxy_pass http://nodes;" if lines else "return 503;",
        )
        replace(self._config, text)

"""The configuration that rosterd ships, for rosterd itself and as the common ground of the contenders with HAProxy.

They differ in how servers come and go, and must not differ in time-outs, retries or checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.balancer import ADMIN_PORT, HAPROXY_HOME, STATS_PORT, TEMPLATE
from tests.bench.children import WEB_PORT
from tests.haproxy_process import BINARY, HAProxyProcess
from tests.loopback import RPC_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_RENDER_S = 20.0


def settings_text(haproxy: HAProxyProcess, template: Path, rpc: tuple[str, int], admin: tuple[str, int]) -> str:
    """Return the settings file: haproxy/rosterd.toml with paths and addresses of this place, nothing else changed."""
    return "\n".join(
        [
            "[serf]",
            f'rpc_address = "{rpc[0]}:{rpc[1]}"',
            "[proxy]",
            f'binary = "{BINARY}"',
            f'config_file = "{haproxy.config}"',
            f'template_file = "{template}"',
            f'state_dir = "{template.parent}"',
            f'master_socket = "{haproxy.master_socket}"',
            f'runtime_socket = "{haproxy.runtime_socket}"',
            f'http_bind = "{haproxy.address}:{haproxy.port}"',
            f'stats_bind = "{haproxy.address}:{STATS_PORT}"',
            'runtime_bind = ""',
            'syslog_socket = ""',
            f'errors_503_file = "{HAPROXY_HOME}/errors/503.http"',
            "[policy]",
            'networks = ["127.0.0.0/8"]',
            "[admin]",
            f'listen = "{admin[0]}:{admin[1]}"',
            "[[services]]",
            'name = "nodes"',
            'match = { role = "backend" }',
            f"port = {WEB_PORT}",
            "weight = 100",
            'balance = "roundrobin"',
            "",
        ]
    )


def rendered(haproxy: HAProxyProcess, directory: Path, servers: Iterable[tuple[str, str]]) -> str:
    """Return the configuration that rosterd makes of these servers, each with name and address."""
    settings = directory / "shipped.toml"
    settings.write_text(
        settings_text(haproxy, TEMPLATE, (haproxy.address, RPC_PORT), (haproxy.address, ADMIN_PORT)), encoding="utf-8"
    )
    members = [
        {"name": name, "address": address, "status": "alive", "tags": {"role": "backend", "port": str(WEB_PORT)}}
        for name, address in servers
    ]
    done = subprocess.run(
        [sys.executable, "-m", "rosterd", "render", "--settings", str(settings), "--members", "-"],
        input=json.dumps({"members": members}),
        capture_output=True,
        text=True,
        timeout=_RENDER_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"rosterd render: {done.stderr}")
    return done.stdout


def worker_pid(haproxy: HAProxyProcess) -> int:
    """Return the pid of the worker that serves now."""
    lines = haproxy.ask("show info").splitlines()
    return int(next(line for line in lines if line.startswith("Pid:")).split()[1])


def master_reloads(haproxy: HAProxyProcess) -> int:
    """Return how often the master has reloaded: the third column of its own line."""
    for line in haproxy.ask("show proc", haproxy.master_socket).splitlines():
        columns = line.split()
        if len(columns) > 2 and columns[1] == "master":
            return int(columns[2])
    raise RuntimeError("the master does not list itself")

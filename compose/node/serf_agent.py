"""Becomes this node's Serf agent: builds its configuration from the environment and executes `serf`.

The variables are those of agent_settings.py. Rules:

- Every start is a new incarnation with a name of its own: NODE and a random suffix. Serf would refuse a name that it
  still holds for alive, and hide for long one that it holds for failed.
- The node's own address is left out of the join list: Serf would join itself and never try again.
- Tags live in a file, so that an operator's `serf tags` (say `state=drain`) outlives a crash of the agent. What the
  environment says of `node`, `role` and `port` always wins; its further tags are only where a node begins.
- A node with a service can be drained: its agent answers the query of state_handler.py. Others have no handler, and so
  none that could hold their agent up.
- Secrets are in files of mode 0600, never on a command line.
- A supervisor that stands still does not block the agent: a relay is between the two (log_relay.py).
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from compose.node import log_relay, state_handler
from compose.node.agent_settings import AgentSettings, AgentSettingsError, read_settings
from compose.node.endpoints import join_endpoint, split_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Resolve: TypeAlias = Callable[[str], Sequence[str]]

MOST_TAG_BYTES = 512
LONGEST_SERVICE_WAIT_S = 10.0
SERVICE_POLL_S = 0.02
EXIT_SETTINGS = 2

# --- 1: the configuration ---------------------------------------------------------------------------------------


def agent_config(settings: AgentSettings, suffix: str, join: Sequence[str]) -> dict[str, object]:
    """Serf's configuration for one incarnation; `join` has addresses of others only."""
    config: dict[str, object] = {
        "node_name": f"{settings.node}-{suffix}",
        "bind": join_endpoint(settings.address or "0.0.0.0", settings.gossip_port),  # noqa: S104  the documented default
        "rpc_addr": settings.rpc_address,
        "tags_file": str(settings.run / "serf-tags.json"),
        # `local` loses gossip in small clusters and `wan` sees a crash late, on one machine too.
        "profile": "lan",
        "leave_on_terminate": True,
        "retry_join": list(join),
        "retry_interval": "1s",
        # A node that left never returns under its name, so it need not be remembered for a day; one that failed may
        # be on the far side of a broken network, so Serf looks for it longer.
        "tombstone_timeout": "10m",
        "reconnect_timeout": "1h",
        "disable_coordinates": True,
    }
    if settings.port is not None:
        # It inherits the agent's environment, and finds the RPC and its key by the same variables as this program.
        program = shlex.join([sys.executable, "-I", "-S", state_handler.__file__])
        config["event_handlers"] = [f"query:{state_handler.QUERY}={program}"]
    if settings.rpc_auth:
        config["rpc_auth"] = settings.rpc_auth
    if settings.encrypt_key:
        config["encrypt_key"] = settings.encrypt_key
    return config


def agent_tags(settings: AgentSettings, remembered: Mapping[str, str]) -> dict[str, str]:
    """The tags to begin with: what an operator set goes before the environment's further tags.

    Raises:
        AgentSettingsError: they are more than Serf can gossip.
    """
    tags = {**dict(settings.tags), **remembered, "node": settings.node, "role": settings.role}
    if settings.port is not None:
        tags["port"] = str(settings.port)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in tags.items())
    if size > MOST_TAG_BYTES:
        raise AgentSettingsError([f"SERF_TAGS: all tags together have {size} bytes, more than {MOST_TAG_BYTES}"])
    return tags


def others(entries: Iterable[str], own_addresses: frozenset[str], gossip_port: int, resolve: Resolve) -> list[str]:
    """The addresses to join: names resolved, each once, this node left out.

    A name that does not resolve yet is kept as it is, for Serf to try again.
    """
    found: dict[str, None] = {}
    for entry in entries:
        host, port = split_endpoint(entry, gossip_port)
        addresses = resolve(host)
        if not addresses:
            found[entry] = None
        for address in addresses:
            if (address, port) not in {(own, gossip_port) for own in own_addresses}:
                found[join_endpoint(address, port)] = None
    return list(found)


# --- 2: this machine --------------------------------------------------------------------------------------------


def resolve_host(host: str) -> list[str]:
    """Every address of a host now, none when it does not resolve."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def own_addresses(bound: str | None) -> frozenset[str]:
    """The address that the agent binds, or every address of this host when it binds them all."""
    if bound is not None:
        return frozenset({bound})
    return frozenset(["127.0.0.1", "::1", *resolve_host(socket.gethostname())])


def remembered_tags(path: Path) -> dict[str, str]:
    """The tags of this node's last agent; none when there was none, or when it died while it wrote them."""
    try:
        tags = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in tags.items()} if isinstance(tags, dict) else {}


def write_private(path: Path, content: object) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    candidate = path.with_name(path.name + ".new")
    candidate.unlink(missing_ok=True)
    descriptor = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    candidate.replace(path)


def wait_for_service(address: str, port: int) -> bool:
    """Wait until something listens there, 10 s at most: a node announces itself when it can answer.

    A service that stays away is no reason to stay out of the cluster: HAProxy's checks keep traffic from it.
    """
    deadline = time.monotonic() + LONGEST_SERVICE_WAIT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(SERVICE_POLL_S)
            continue
        return True
    return False


def main() -> None:
    """Write the configuration and become `serf`."""
    serf = shutil.which("serf")
    try:
        if serf is None:
            raise AgentSettingsError(["PATH: there is no program `serf`; install the package serf"])  # noqa: TRY301  one place prints
        settings = read_settings(os.environ)
        tags = agent_tags(settings, remembered_tags(settings.run / "serf-tags.json"))
    except AgentSettingsError as error:
        sys.stderr.write("".join(f"serf agent: {problem}\n" for problem in error.problems))
        sys.exit(EXIT_SETTINGS)
    join = others(settings.join, own_addresses(settings.address), settings.gossip_port, resolve_host)
    write_private(settings.run / "serf-tags.json", tags)
    write_private(settings.run / "serf.json", agent_config(settings, secrets.token_hex(3), join))
    if settings.port is not None:
        wait_for_service(settings.address or "127.0.0.1", settings.port)
    log_relay.start()
    os.execv(serf, [serf, "agent", f"-config-file={settings.run / 'serf.json'}"])  # noqa: S606  becomes the agent


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # stopped while it waited: nothing was announced, nothing to leave
        sys.exit(0)

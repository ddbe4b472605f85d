"""The run directory of a cluster: all that is known of it, so that another process can go on with it.

| path | content |
|---|---|
| `cluster.json` | network and ports |
| `secrets/` | the keys of gossip and RPC, and the web app's |
| `seeds` | the join list, read by each agent when it starts |
| `NODE/node.json` | the node's kind and address, and the session of its supervisord |
| `NODE/logs/` | a file for each program |
| `.demo` | there where a demo made the cluster: the next one may stop it |
| `lock` | held while something changes |

Each file is written whole or not at all, and for its owner only.
"""

from __future__ import annotations

import base64
import fcntl
import json
import secrets
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from compose.disk import explained
from compose.model import ClusterError, Kind, Node
from compose.network import Ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SECRETS = ("encrypt_key", "rpc_auth", "webapp")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Reads and writes the files of one cluster; knows nothing of processes."""

    path: Path

    @property
    def seeds(self) -> Path:
        """The join list."""
        return self.path / "seeds"

    def secret(self, name: str) -> Path:
        """The file of a secret: `encrypt_key`, `rpc_auth` or `webapp`."""
        return self.path / "secrets" / name

    # --- the cluster --------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is a cluster."""
        return (self.path / "cluster.json").exists()

    def create(self, network: IPv4Network, ports: Ports) -> None:
        """Write the files of a cluster without nodes, its secrets new."""
        (self.path / "secrets").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _SECRETS:
            _write(self.secret(name), base64.b64encode(secrets.token_bytes(32)).decode())
        _write(self.path / "cluster.json", json.dumps({"network": str(network), "ports": asdict(ports)}))

    def read(self) -> tuple[IPv4Network, Ports]:
        """The network and the ports of the cluster.

        Raises:
            ClusterError: there is none.
        """
        try:
            known = json.loads((self.path / "cluster.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ClusterError(f"{self.path}: no cluster; start one (up)") from None
        return IPv4Network(known["network"]), Ports(**known["ports"])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes the run directory."""
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # --- its nodes ----------------------------------------------------------------------------------------------

    def nodes(self) -> tuple[Node, ...]:
        """Every node that was ever added, in the order of their addresses."""
        nodes = [_read_node(record) for record in self.path.glob("*/node.json")]
        return tuple(sorted(nodes, key=lambda node: int(node.address.rpartition(".")[2])))

    def write_node(self, node: Node, session: int | None) -> None:
        """Record a node and the session of its supervisord, None before its first start."""
        record = {"kind": node.kind.value, "address": node.address, "session": session}
        _write(node.directory / "node.json", json.dumps(record))

    def session_of(self, node: Node) -> int | None:
        """The session of the node's supervisord, which may have ended; None when it was never started."""
        session = json.loads((node.directory / "node.json").read_text(encoding="utf-8"))["session"]
        return None if session is None else int(session)

    def write_seeds(self, nodes: Iterable[Node], gossip_port: int) -> None:
        """Replace the join list."""
        _write(self.seeds, "".join(f"{node.address}:{gossip_port}\n" for node in nodes))


def _read_node(path: Path) -> Node:
    record = json.loads(path.read_text(encoding="utf-8"))
    return Node(path.parent.name, Kind(record["kind"]), record["address"], path.parent)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for its owner only: there are secrets among these files."""
    candidate = path.with_name(path.name + ".new")
    try:
        candidate.unlink(missing_ok=True)
        candidate.touch(mode=0o600)
        candidate.write_text(text, encoding="utf-8")
        candidate.replace(path)
    except OSError as error:
        # A full disk shows when the text is written, and that error has no path.
        raise ClusterError(explained(error, path) or f"{path}: {error.strerror}") from error

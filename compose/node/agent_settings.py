"""What the environment says to a node's Serf agent.

| variable | meaning | default |
|---|---|---|
| `NODE` | the name that people know the node by; tag `node` | required |
| `NODE_RUN` | the node's run directory: configuration and tags go there | required |
| `NODE_ADDRESS` | address to bind | every address; Serf advertises the first private one |
| `SERF_ROLE` | tag `role`: which service the node serves | required |
| `SERVICE_PORT` | tag `port`; the agent starts when it is listened on, or after 10 s; makes it drainable | no tag |
| `SERF_TAGS` | further tags, `key=value,key=value` | none |
| `SERF_JOIN` | nodes to join, `host` or `host:port`, with commas | none |
| `SERF_JOIN_FILE` | a file with the same, one a line; may be absent; read at every start | none |
| `SERF_GOSSIP_PORT` | gossip port | 7946 |
| `SERF_RPC_ADDRESS` | where the RPC listens, `host:port` | 127.0.0.1:7373 |
| `SERF_RPC_AUTH_FILE` | a file that holds the RPC key | no key |
| `SERF_ENCRYPT_KEY_FILE` | a file that holds the gossip key: base64 of 16, 24 or 32 bytes | no encryption |

Every mistake is named, not just the first. Secrets are in files, whose names alone are in the environment.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from compose.node.endpoints import HIGHEST_PORT, is_address, port_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GOSSIP_PORT = 7946
ENCRYPT_KEY_SIZES = (16, 24, 32)

# Serf tells a name conflict by these; anything else could not be typed into its command line either.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TAG_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class AgentSettingsError(Exception):
    """One or more variables are wrong; `problems` has a sentence for each, led by its name."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What the environment says, checked. Secrets never show in a repr."""

    node: str
    run: Path
    address: str | None
    role: str
    port: int | None
    tags: tuple[tuple[str, str], ...]
    join: tuple[str, ...]
    gossip_port: int
    rpc_address: str
    rpc_auth: str | None = field(repr=False)
    encrypt_key: str | None = field(repr=False)


def read_settings(environ: Mapping[str, str]) -> AgentSettings:
    """Read the variables of the module's table.

    Raises:
        AgentSettingsError: with every mistake, not just the first.
    """
    reader = _Reader(environ)
    settings = AgentSettings(
        node=reader.name("NODE"),
        run=reader.directory("NODE_RUN"),
        address=reader.address("NODE_ADDRESS"),
        role=reader.name("SERF_ROLE"),
        port=reader.port("SERVICE_PORT"),
        tags=reader.tags("SERF_TAGS"),
        join=(*reader.words("SERF_JOIN"), *reader.lines("SERF_JOIN_FILE")),
        gossip_port=reader.port("SERF_GOSSIP_PORT") or GOSSIP_PORT,
        rpc_address=reader.host_port("SERF_RPC_ADDRESS", "127.0.0.1:7373"),
        rpc_auth=reader.secret("SERF_RPC_AUTH_FILE"),
        encrypt_key=reader.encrypt_key("SERF_ENCRYPT_KEY_FILE"),
    )
    if reader.problems:
        raise AgentSettingsError(reader.problems)
    return settings


class _Reader:
    """Takes variables apart, one method for each kind; a mistake is noted and reading goes on."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def name(self, key: str) -> str:
        text = self._environ.get(key, "")
        if not _NAME.fullmatch(text):
            self._note(key, f"{text!r} is not a name of letters, digits, '.', '_' and '-'" if text else "missing")
        return text

    def directory(self, key: str) -> Path:
        text = self._environ.get(key, "")
        if not text:
            self._note(key, "missing")
        elif not Path(text).is_dir():
            self._note(key, f"{text} is not a directory")
        return Path(text)

    def address(self, key: str) -> str | None:
        text = self._environ.get(key)
        if not text:
            return None
        if not is_address(text):
            self._note(key, f"{text!r} is not an IP address")
        return text

    def port(self, key: str) -> int | None:
        text = self._environ.get(key)
        if not text:
            return None
        port = port_of(text)
        if port is None:
            self._note(key, f"{text!r} is not a port from 1 to {HIGHEST_PORT}")
        return port

    def host_port(self, key: str, default: str) -> str:
        text = self._environ.get(key) or default
        host, colon, port = text.rpartition(":")
        if not (colon and host and port_of(port)):
            self._note(key, f"{text!r} is not host:port")
        return text

    def words(self, key: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in self._environ.get(key, "").split(",") if word.strip())

    def lines(self, key: str) -> tuple[str, ...]:
        path = self._environ.get(key)
        if not path or not Path(path).exists():
            return ()
        return tuple(line.strip() for line in self._content(key, path).splitlines() if line.strip())

    def tags(self, key: str) -> tuple[tuple[str, str], ...]:
        tags: list[tuple[str, str]] = []
        for word in self.words(key):
            name, equals, value = word.partition("=")
            if not equals or not _TAG_KEY.fullmatch(name):
                self._note(key, f"{word!r} is not key=value")
                continue
            tags.append((name, value))
        return tuple(tags)

    def secret(self, key: str) -> str | None:
        path = self._environ.get(key)
        if not path:
            return None
        secret = self._content(key, path).strip()
        if not secret:
            self._note(key, f"{path} is empty or cannot be read")
        return secret

    def encrypt_key(self, key: str) -> str | None:
        secret = self.secret(key)
        if not secret:
            return secret
        try:
            size = len(base64.b64decode(secret, validate=True))
        except binascii.Error:
            size = 0
        if size not in ENCRYPT_KEY_SIZES:
            self._note(key, f"{self._environ[key]} is not base64 of 16, 24 or 32 bytes")
        return secret

    def _content(self, key: str, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._note(key, f"cannot read {path}: {error}")
            return ""

    def _note(self, key: str, problem: str) -> None:
        self.problems.append(f"{key}: {problem}")

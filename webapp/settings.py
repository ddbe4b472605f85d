"""What the web app is told, read once from the environment: frozen, and every mistake reported together.

| variable | meaning | default |
|---|---|---|
| `NODE` | the name that people know the node by; shown as `tag` | required |
| `NODE_ADDRESS` | address to listen on | every address |
| `SERVICE_PORT` | port to listen on | 3000 |
| `WEBAPP_DELAY_FROM` | networks from which `POST /delay` is taken, with commas; `own` is this machine's | own |
| `WEBAPP_SECRET` or `WEBAPP_SECRET_FILE` | signs the session cookie; the same on every node | required |

The secret is shared so that any node can go on with a session that another one began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from webapp.networks import Network

SHORTEST_SECRET = 16
HIGHEST_PORT = 65_535
OWN = "own"


class WebappSettingsError(Exception):
    """One or more variables are wrong; `problems` has a sentence for each, led by its name."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class WebappSettings:
    """Valid by construction through `read_settings`. `secret` never shows in a repr."""

    node: str
    address: str
    port: int
    secret: str = field(repr=False)
    delay_from: tuple[Network, ...] = ()


def read_settings(environ: Mapping[str, str], own_networks: Iterable[Network] = ()) -> WebappSettings:
    """Read the variables of the module's table; `own_networks` are those of this machine.

    Raises:
        WebappSettingsError: with every mistake, not just the first.
    """
    problems: list[str] = []
    settings = WebappSettings(
        node=_node(environ, problems),
        address=_address(environ, problems),
        port=_port(environ, problems),
        secret=_secret(environ, problems),
        delay_from=_delay_from(environ, tuple(own_networks), problems),
    )
    if problems:
        raise WebappSettingsError(tuple(problems))
    return settings


def _node(environ: Mapping[str, str], problems: list[str]) -> str:
    node = environ.get("NODE", "")
    if not node:
        problems.append("NODE: missing; give the name that people know this node by")
    return node


def _address(environ: Mapping[str, str], problems: list[str]) -> str:
    text = environ.get("NODE_ADDRESS") or "0.0.0.0"  # noqa: S104  a web server in a container serves every address
    try:
        ip_address(text)
    except ValueError:
        problems.append(f"NODE_ADDRESS: {text!r} is not an IP address")
    return text


def _port(environ: Mapping[str, str], problems: list[str]) -> int:
    text = environ.get("SERVICE_PORT") or "3000"
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= HIGHEST_PORT:
        return int(text)
    problems.append(f"SERVICE_PORT: {text!r} is not a port from 1 to {HIGHEST_PORT}")
    return 0


def _delay_from(environ: Mapping[str, str], own: tuple[Network, ...], problems: list[str]) -> tuple[Network, ...]:
    networks: list[Network] = []
    for word in (environ.get("WEBAPP_DELAY_FROM") or OWN).split(","):
        text = word.strip()
        if text == OWN:
            networks += own
            continue
        try:
            networks.append(ip_network(text))
        except ValueError:
            problems.append(f"WEBAPP_DELAY_FROM: {text!r} is neither a network such as 192.0.2.0/24 nor {OWN!r}")
    return tuple(networks)


def _secret(environ: Mapping[str, str], problems: list[str]) -> str:
    key = "WEBAPP_SECRET"
    secret = environ.get(key, "")
    path = environ.get("WEBAPP_SECRET_FILE", "")
    if secret and path:
        problems.append("WEBAPP_SECRET: given twice, also as WEBAPP_SECRET_FILE; keep one")
        return ""
    if path:
        key = "WEBAPP_SECRET_FILE"
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{key}: cannot read {path}: {error}")
            return ""
    if len(secret) < SHORTEST_SECRET:
        problems.append(f"{key}: needs at least {SHORTEST_SECRET} characters, the same on every node")
    return secret

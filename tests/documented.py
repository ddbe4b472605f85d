"""The commands that the documentation shows: each is run by a test, or stands here with the reason why not.

A command is a line of a code block with the language `sh` (or several, each ended by a backslash). Rules:

- `FLOWS` says which pages are run, one after the other in one shell, on a cluster of their own, each command in its
  order. `tests/integration/test_documented_commands.py` does it.
- What a flow cannot run is in `NOT_RUN` with the reason. A command that is in neither fails `tests/unit/test_docs.py`,
  and so does an entry here that no page shows any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from tests.markdown import Page

TREE: Final = Path(__file__).resolve().parents[1]
SHELL: Final = "sh"
LANGUAGES: Final = frozenset({SHELL, "text", "toml", "ini", "json", "diff", "mermaid"})
"""What a code block may be; only those of the shell are commands."""


class Start(Enum):
    """What is there before the first command of a flow."""

    NOTHING = "a clone in which `make setup` has run"
    CLUSTER = "the same, with the demo's cluster up"
    INSTALLED = "the same, in which `rosterd` speaks to that cluster's balancer, and /etc/rosterd is its folder"


@dataclass(frozen=True, slots=True)
class Flow:
    """Pages whose commands are run one after the other."""

    start: Start
    pages: tuple[str, ...]


_PORTED: Final = ("database", "redis", "apiserver", "edge")
_EXAMPLES: Final = ("web", "hosts", "canary", "blue-green", "sticky", "tls", "tcp", "cookies", "lab", *_PORTED)

FLOWS: Final[Mapping[str, Flow]] = {
    "readme": Flow(Start.CLUSTER, ("README.md",)),
    "start": Flow(Start.NOTHING, ("docs/start.md",)),
    "lab": Flow(Start.NOTHING, ("docs/lab.md",)),
    "template": Flow(Start.INSTALLED, ("docs/template.md",)),
    "examples": Flow(
        Start.NOTHING, ("examples/README.md", *(f"examples/{example}/README.md" for example in _EXAMPLES))
    ),
}

NOT_RUN: Final[Mapping[str, tuple[str, ...]]] = {
    "takes minutes, and is a test of its own: CI runs it, or tests/integration/test_demo.py a part of it": (
        "make demo DEMO=local",
        "make test",
    ),
    "fetches a package of another release; `make matrix` does, in CI too": (
        "make haproxy VERSION=3.4",
        "make serf VERSION=0.10.1",
        'PATH="$PWD/.programs/haproxy-3.4/bin:$PATH" make demo DEMO=local',
        'PATH="$PWD/.programs/haproxy-3.4/bin:$PATH" make test T=tests/contract',
    ),
    "takes most of an hour; tests/integration/test_bench.py runs each of its parts once": ("make bench",),
    "takes half an hour; tests/faults/test_soak.py runs a short one": ("make soak MINUTES=30",),
    "needs a container engine; tests/e2e does the same with one": (
        "docker compose -f compose/compose.yaml build",
        "docker compose -f compose/compose.yaml up -d --scale webapp=3",
        "docker compose -f compose/compose.yaml up -d --scale webapp=8",
        "docker compose -f compose/compose.yaml -f compose/runtime-port.yaml up -d",
        "docker compose -f compose/compose.yaml exec ha rosterd status",
        "docker compose -f compose/compose.yaml exec ha rosterd drain NODE",
        "docker compose -f compose/compose.yaml --profile ha2 up -d",
        """curl -H 'Content-Type: application/json' -d '{"delay": 250}' http://localhost/delay""",
        "docker compose -f compose/compose.yaml down --volumes",
    ),
    "changes the machine: packages, services, users, files outside the project": (
        "apt-get install --no-install-recommends haproxy serf python3-venv",
        "systemctl disable --now haproxy serf",
        "adduser --system --group --no-create-home rosterd",
        "/usr/bin/python3 -m venv /usr/local/lib/rosterd",
        "/usr/local/lib/rosterd/bin/pip install --require-hashes -r requirements/balancer.lock",
        "/usr/local/lib/rosterd/bin/pip install --no-deps .",
        "ln -s /usr/local/lib/rosterd/bin/rosterd /usr/local/bin/rosterd",
        "install -d -o rosterd -g rosterd -m 750 /var/lib/rosterd",
        "install -d -o root -g root -m 755 /etc/rosterd/errors /var/log/rosterd",
        "cd /usr/local/lib/rosterd/share/rosterd",
        "install -m 644 haproxy.cfg.j2 rosterd.toml /etc/rosterd/",
        "install -m 644 errors/503.http /etc/rosterd/errors/",
        "install -D -m 644 ../man/man1/rosterd.1 /usr/local/share/man/man1/rosterd.1",
        "install -m 644 supervisord.conf /etc/rosterd/",
        "install -D -m 644 tmpfiles.conf /etc/tmpfiles.d/rosterd.conf",
        "install -m 755 compose/node/state_handler.py /usr/local/bin/rosterd-state",
        "install -d -o root -g rosterd -m 2770 /run/rosterd",
        "/usr/local/lib/rosterd/bin/supervisord -c /etc/rosterd/supervisord.conf",
        "install -m 644 rosterd.service serf.service /etc/systemd/system/",
        "install -D -m 640 -o root -g _serf serf.json /etc/serf/serf.json",
        "install -D -m 644 haproxy.service.conf /etc/systemd/system/haproxy.service.d/rosterd.conf",
        "systemctl daemon-reload",
        "systemctl enable --now serf haproxy rosterd",
        "systemctl disable --now haproxy serf rosterd",
        "rm -r /etc/systemd/system/rosterd.service /etc/systemd/system/serf.service",
        "rm -r /etc/systemd/system/haproxy.service.d",
        "rm -r /usr/local/lib/rosterd /usr/local/bin/rosterd /usr/local/share/man/man1/rosterd.1",
        "rm -r /etc/rosterd /var/lib/rosterd /var/log/rosterd",
        "deluser --system rosterd",
        "cp examples/tcp/rosterd.toml /etc/rosterd/",
    ),
    "tests/integration/test_upgrade.py runs them, with other places and a daemon that no service manager has started": (
        "/usr/bin/python3 -m venv /usr/local/lib/rosterd-next",
        "/usr/local/lib/rosterd-next/bin/pip install --require-hashes -r requirements/balancer.lock",
        "/usr/local/lib/rosterd-next/bin/pip install --no-deps .",
        "/usr/local/lib/rosterd-next/bin/rosterd check",
        "/usr/local/lib/rosterd-next/bin/rosterd plan",
        "diff -r -x __pycache__ /usr/local/lib/rosterd/share/rosterd /usr/local/lib/rosterd-next/share/rosterd",
        "ln -sfn /usr/local/lib/rosterd-next/bin/rosterd /usr/local/bin/rosterd",
        "ln -sfn /usr/local/lib/rosterd/bin/rosterd /usr/local/bin/rosterd",
        "systemctl restart rosterd",
        "rosterd --version",
        "rosterd status",
    ),
    "needs a Redis; tests/integration/test_examples.py has a server that speaks like one": (
        "serf agent -tag role=redis -join BALANCER",
        "redis-cli -h BALANCER ping",
    ),
    "needs such servers; tests/integration/test_ported_templates.py has servers that speak like them": (
        *(f"cp examples/{name}/rosterd.toml examples/{name}/haproxy.cfg.j2 /etc/rosterd/" for name in _PORTED),
        "serf agent -tag role=database -join BALANCER",
        "psql -h BALANCER",
        "redis-cli -h BALANCER info replication",
        "serf agent -tag role=control-plane -join BALANCER",
        "curl --insecure https://BALANCER:6443/healthz",
        "serf agent -tag role=api -join BALANCER",
        "curl --http2 https://www.example.org",
    ),
}

UNTIL_INTERRUPTED: Final = ("make logs", ".venv/bin/python -m compose rosterd events --follow")
"""How commands begin that go on until Ctrl-C: they have to say something, and to end then."""

NO_IS_AN_ANSWER: Final = re.compile(r"\brosterd (status|plan)\b")
"""Commands whose exit code 1 is an answer: not ready just now, or something to change."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a page shows."""

    page: str
    text: str

    @property
    def goes_on(self) -> bool:
        """Whether it ends with Ctrl-C alone."""
        return self.text.startswith(UNTIL_INTERRUPTED)

    @property
    def exit_codes(self) -> frozenset[int]:
        """How it may end."""
        return frozenset({0, 1}) if NO_IS_AN_ANSWER.search(self.text) else frozenset({0})


def commands_of(page: Page, tree: Path = TREE) -> Iterator[Command]:
    """Every command that a page shows, in its order."""
    name = str(page.path.relative_to(tree))
    for block in page.blocks:
        if block.language == SHELL:
            whole = block.text.replace("\\\n", "")
            yield from (Command(name, line.strip()) for line in whole.splitlines() if line.strip())


def to_run(flow: Flow) -> tuple[Command, ...]:
    """The commands of a flow, without those that cannot be run."""
    left_out = {text for texts in NOT_RUN.values() for text in texts}
    found = (command for page in flow.pages for command in commands_of(Page(TREE / page)))
    return tuple(command for command in found if command.text not in left_out)

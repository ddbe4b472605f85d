"""What is known of the text that HAProxy runs.

Pure. HAProxy shows a digest of its text, and of its servers neither options nor order. What it was made from is known
from what was done to it, and after a restart of the daemon from the texts on disk. Rules:

- A text counts only while its digest is the one that HAProxy shows.
- A server whose options are not known has those of the others, where all of a service have the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from rosterd.blueprint import Blueprint, template_servers_in
from rosterd.config_text import read_contents
from rosterd.model import Action, AddServer, Contents, Desired, Options, RemoveServer, Running, ServerKey
from rosterd.policy import TemplateServers


@dataclass(frozen=True, slots=True)
class RunningText:
    """The text that the worker `pid` was made from, as far as it is known.

    `contents` is None while it is not. `options` are those that each server was made with, by the text or by a command.
    """

    pid: int = 0
    contents: Contents | None = None
    text: str = ""
    options: Mapping[ServerKey, Options] = field(default_factory=dict)

    def after(self, actions: Iterable[Action], desired: Desired) -> RunningText:
        """The same after these actions, by which servers came as the desired text has them."""
        wanted = desired.contents.options if desired.contents else {}
        options = dict(self.options)
        for action in actions:
            key = action.service, action.name
            if isinstance(action, AddServer) and key in wanted:
                options[key] = wanted[key]
            elif isinstance(action, AddServer | RemoveServer):
                options.pop(key, None)
        return replace(self, options=options)


def text_of(desired: Desired, pid: int) -> RunningText:
    """What a worker runs that was made from the desired text."""
    return RunningText(pid, desired.contents, desired.text, desired.contents.options if desired.contents else {})


@dataclass(frozen=True, slots=True)
class _AllBut:
    """Every name but these."""

    names: Container[str]

    def __contains__(self, name: object) -> bool:
        return name not in self.names


def text_on_disk(texts: Iterable[str | None], running: Running, template_servers: TemplateServers) -> RunningText:
    """What HAProxy runs by the first of these texts that carries the digest which HAProxy shows.

    Each server of a service is a member's, unless it is one of the template's own.
    """
    members = {service: _AllBut(names) for service, names in template_servers.items()}
    for text in texts:
        if text is None or not running.structure:
            continue
        contents = read_contents(text, members)
        if contents.structure == running.structure:
            return RunningText(running.pid, contents, text, contents.options)
    return RunningText(running.pid)


def template_servers_of(desired: Desired, running: Running, *blueprints: Blueprint) -> TemplateServers:
    """All servers that are the template's own, by these blueprints or in the desired text."""
    nothing: dict[str, dict[str, int | None]] = {service: {} for service in running.backends}
    found = nothing | template_servers_in(*blueprints)
    for (service, name), number in (desired.contents.template_servers if desired.contents else {}).items():
        found.setdefault(service, {})[name] = number
    return found

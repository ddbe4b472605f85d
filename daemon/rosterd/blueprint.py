"""Which settings and template are in force: the last good ones, until newer ones have proven themselves.

Pure. An edit makes a draft. Rules:

- A draft becomes good when HAProxy is seen to run it (before there was any HAProxy: when `haproxy -c` accepts it), and
  is rejected when `haproxy -c` refuses it or a reload with it does not have its effect; the good one stays in force
  all the while, also over later changes of membership.
- A draft whose reload failed is shelved and tried again later; a rejected one is not tried again until it is edited.
- A daemon that has nothing but a draft goes on with it: there is nothing better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from rosterd.config_text import frame_digest, read_contents
from rosterd.errors import TemplateError
from rosterd.model import Address, Backend, Desired
from rosterd.policy import Own, TemplateServers
from rosterd.render import SAMPLES, Template, render, structure_digest
from rosterd.settings import Endpoint, Settings
from rosterd.template_rules import broken_rules

JOINT = "-"
"""Between the two digests of a structure: the blueprint's, and that of the text's frame."""


def is_of_blueprint(structure: str, other: str) -> bool:
    """True if both texts are of one template with the same settings, so that only servers make them differ."""
    return structure.partition(JOINT)[0] == other.partition(JOINT)[0]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Settings and template together: all of the configuration that is not a member.

    `structure` is a digest of the texts that they make without servers and with samples. `template_servers` are the
    servers in the services' sections that no member is behind.
    """

    settings: Settings
    template: Template
    structure: str = field(compare=False)
    binds: frozenset[Endpoint] = field(compare=False)
    template_servers: TemplateServers = field(compare=False)
    broken_rules: tuple[str, ...] = field(compare=False)
    """What in the template cannot work, a sentence each; see `template_rules`."""

    @classmethod
    def of(cls, settings: Settings, template: Template) -> Blueprint:
        """Combine them; TemplateError when the template cannot be rendered with these settings."""
        structure = structure_digest(template, settings.proxy, settings.services)
        found = _template_servers(settings, template)
        broken = broken_rules(template, structure, settings.proxy, settings.services)
        return cls(settings, template, structure, frozenset(settings.binds()), found, broken)

    def check_rules(self) -> None:
        """TemplateError with a sentence for each rule that the template breaks."""
        if self.broken_rules:
            raise TemplateError("\n".join(self.broken_rules))

    def desired(self, backends: tuple[Backend, ...]) -> Desired:
        """The text with these servers, read back; TemplateError when the template fails with them.

        The text carries two digests as its structure: the blueprint's, and that of its own frame. A template may write
        lines that depend on which servers there are, and samples do not show these.
        """
        text = render(self.template, self.structure, self.settings.proxy, self.settings.services, backends)
        contents = read_contents(text, _names(backends))
        structure = f"{self.structure}{JOINT}{frame_digest(contents)}"
        # Rendered once: the blueprint's digest holds the place of the whole structure.
        text = text.replace(self.structure, structure)
        return Desired(structure, backends, text, replace(contents, structure=structure))

    def listens_at(self, addresses: frozenset[Address]) -> Own:
        """Where the balancer itself listens, and so no member serves; it has these addresses."""
        return Own(addresses, self.binds)


def template_servers_in(*blueprints: Blueprint) -> dict[str, dict[str, int | None]]:
    """The servers that are the template's own by at least one of these blueprints."""
    found: dict[str, dict[str, int | None]] = {}
    for blueprint in blueprints:
        for service, servers in blueprint.template_servers.items():
            found.setdefault(service, {}).update(servers)
    return found


def _template_servers(settings: Settings, template: Template) -> TemplateServers:
    """The servers that stand in the text without a member, or beside samples: none of these is a member's."""
    found: dict[str, dict[str, int | None]] = {service.name: {} for service in settings.services}
    for servers in (), SAMPLES:
        backends = [Backend(service.name, servers) for service in settings.services]
        text = render(template, "", settings.proxy, settings.services, backends)
        for (service, name), number in read_contents(text, _names(backends)).template_servers.items():
            found[service].setdefault(name, number)
    return found


def _names(backends: Iterable[Backend]) -> Mapping[str, frozenset[str]]:
    return {backend.service: frozenset(server.name for server in backend.servers) for backend in backends}


class Drafts:
    """The blueprint in force, and at most one newer draft."""

    def __init__(self, draft: Blueprint, good: Blueprint | None) -> None:
        """Start with a draft, and with what was good before the daemon was restarted, if that is known."""
        self.good = good if good != draft else None
        self.draft: Blueprint | None = draft
        self.rejected: Blueprint | None = None
        self._edit_error = ""
        self._draft_error = ""
        self._earlier_error = ""
        self._shelved_until: float | None = None

    @property
    def error(self) -> str:
        """Why the newest edit is not in force; empty when it is.

        While an edit that follows a broken one is on trial, the error is still that of the broken one.
        """
        return self._edit_error or self._draft_error or self._earlier_error

    @property
    def newest(self) -> Blueprint:
        """What an edit is compared with: the draft, or what is in force without one."""
        return self.draft or self.good_or_only

    @property
    def good_or_only(self) -> Blueprint:
        """The good one, or the draft while nothing has been proven yet."""
        only = self.good or self.draft
        if only is None:
            raise AssertionError("a daemon always has a blueprint")
        return only

    @property
    def retry_at(self) -> float | None:
        """When a shelved draft is tried again."""
        return self._shelved_until

    def in_force(self, now: float) -> Blueprint:
        """What to render with."""
        if self.draft is None or self._is_shelved(now):
            return self.good_or_only
        return self.draft

    def propose(self, blueprint: Blueprint) -> None:
        """Take an edit as the new draft; going back to the good one ends the draft."""
        self.rejected = None  # a later edit that goes back to it is an edit, and is told again why it is refused
        is_good = blueprint == self.good
        self._earlier_error = "" if is_good else self.error
        self._edit_error = self._draft_error = ""
        self._shelved_until = None
        self.draft = None if is_good else blueprint

    def prove(self, blueprint: Blueprint) -> None:
        """HAProxy runs it."""
        self.good = blueprint
        if self.draft == blueprint:
            self.draft = None
            self._draft_error = self._earlier_error = ""
            self._shelved_until = None

    def refuse(self, error: str) -> None:
        """An edit that does not even make a draft."""
        self.rejected = None  # what was rejected before it is not the newest edit any more
        self._edit_error = error
        self._earlier_error = ""

    def confirm(self, blueprint: Blueprint) -> None:
        """The files say what was read before: a mistake made meanwhile was taken back."""
        self._edit_error = ""
        if blueprint != self.rejected:
            self.rejected = None  # that edit was taken back; should it be made again, it is told again
        if self.draft is None and blueprint == self.good:
            self._draft_error = self._earlier_error = ""

    def retry(self) -> None:
        """Forget what failed before: what it needs may be there now."""
        self.rejected = None
        self._shelved_until = None

    def reject(self, blueprint: Blueprint, error: str) -> None:
        """HAProxy refuses it; without a good one it stays, since there is nothing better."""
        self.rejected = blueprint
        self._draft_error = error
        self._earlier_error = ""
        if self.is_on_trial(blueprint):
            self.draft = None
            self._shelved_until = None

    def is_on_trial(self, blueprint: Blueprint) -> bool:
        """Whether it is a draft that the good one can stand in for."""
        return self.good is not None and self.draft == blueprint

    def shelve(self, blueprint: Blueprint, until: float, error: str) -> None:
        """A reload with it failed: go on with the good one until then."""
        if self.is_on_trial(blueprint):
            self._shelved_until = until
            self._draft_error = error
            self._earlier_error = ""

    def _is_shelved(self, now: float) -> bool:
        return self.good is not None and self._shelved_until is not None and now < self._shelved_until

"""What a template has to write so that rosterd can work with it, and the lines that do not.

Pure. The template is rendered without servers and with samples of every kind, and the texts are read back. Rules:

- Each service has a `backend` or `listen` of its name, and there one server line for each of its members and no other.
- A server line has the member's name, address and port, `id` and `weight`; weight 0 for a drain, `disabled` for
  maintenance. These are what is compared with HAProxy: a line that differs is a reason to reload, for ever.
- HAProxy's section `global` has the runtime socket with `level admin`.
- What cannot be judged from the text (lines between `.if` and `.endif`, words with `$`) is taken for right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from rosterd.config_lines import config_lines
from rosterd.model import AdminState, Backend, Server
from rosterd.rejection import template_line
from rosterd.render import Template, render
from rosterd.settings import ProxySettings, ServiceSettings

MAX_RULES_SHOWN = 10

_KINDS: tuple[tuple[str, IPv4Address | IPv6Address, int, AdminState], ...] = (
    ("ready", IPv4Address("192.0.2.11"), 37, AdminState.READY),
    ("ipv6", IPv6Address("2001:db8::11"), 211, AdminState.READY),
    ("drained-by-hand", IPv4Address("192.0.2.12"), 53, AdminState.DRAIN),
    ("drained-by-tag", IPv4Address("192.0.2.13"), 0, AdminState.DRAIN),
    ("off-by-hand", IPv4Address("192.0.2.14"), 59, AdminState.MAINT),
    ("off-by-tag", IPv4Address("192.0.2.15"), 0, AdminState.MAINT),
)
"""Samples of everything that a server line may have to say. No two have the same weight but 0."""


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A line that does not say what it has to, or, without a line, one that is missing.

    Of several with the same `rule` that one line of the template has made, the first is enough.
    """

    rule: str
    what: str
    remedy: str
    line: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    words: tuple[str, ...]
    is_conditional: bool

    @property
    def name(self) -> str:
        return self.words[1]

    @property
    def endpoint(self) -> tuple[IPv4Address | IPv6Address, int] | None:
        host, _, port = self.words[2].rpartition("@")[2].rpartition(":")
        try:
            return ip_address(host.removeprefix("[").removesuffix("]")), int(port)
        except ValueError:
            return None

    def values(self, option: str) -> list[str]:
        return [value for word, value in zip(self.words[3:], self.words[4:], strict=False) if word == option]


@dataclass(slots=True)
class _Text:
    """The lines of a text that the rules are about."""

    sections: set[str] = field(default_factory=set)
    servers: dict[str, list[_Line]] = field(default_factory=dict)
    sockets: list[_Line] = field(default_factory=list)


def broken_rules(
    template: Template, structure: str, proxy: ProxySettings, services: tuple[ServiceSettings, ...]
) -> tuple[str, ...]:
    """A sentence for each rule that the template breaks; TemplateError when it cannot be rendered."""
    samples = {service.name: tuple(_samples(number)) for number, service in enumerate(services)}
    empty = _read(render(template, structure, proxy, services, ()))
    full = _read(render(template, structure, proxy, services, [Backend(*item) for item in samples.items()]))
    found = [*_of_socket(full, proxy), *_of_services(full, empty, samples)]
    sentences: dict[tuple[str, str], str] = {}
    for each in found:
        place = _place(each.text, template) if each.line else template.label
        sentences.setdefault((each.rule, place), _sentence(each, place))
    return tuple(sentences.values())[:MAX_RULES_SHOWN]


def _samples(service: int) -> Iterator[Server]:
    for number, (kind, address, weight, state) in enumerate(_KINDS, 1):
        yield Server(f"sample-{service}-{kind}", 1000 * (service + 1) + number, address, 20000 + number, weight, state)


# --- the rules --------------------------------------------------------------------------------------------------


def _of_socket(text: _Text, proxy: ProxySettings) -> Iterator[BrokenRule]:
    remedy = "write `stats socket {{ proxy.runtime_socket }} mode 660 level admin expose-fd listeners`"
    ours = [line for line in text.sockets if line.words[2].removeprefix("unix@") == str(proxy.runtime_socket)]
    if not ours and not any("$" in line.text or line.is_conditional for line in text.sockets):
        yield BrokenRule("socket", "section global has no runtime socket, by which rosterd speaks to HAProxy", remedy)
    for line in ours:
        if "admin" not in line.values("level"):
            yield BrokenRule("level", "the runtime socket lacks `level admin`", remedy, line.number, line.text)


def _of_services(text: _Text, empty: _Text, samples: Mapping[str, tuple[Server, ...]]) -> Iterator[BrokenRule]:
    for service, servers in samples.items():
        if service not in text.sections:
            remedy = "write `backend {{ service.name }}`, or `listen` for mode tcp"
            yield BrokenRule(f"section {service}", f"service {service} has no section", remedy)
            continue
        lines = text.servers.get(service, [])
        yield from _of_names(servers, lines, {line.name for line in empty.servers.get(service, ())})
        for server in servers:
            for line in lines:
                if line.name == server.name:
                    yield from _of_line(line, server)


def _of_names(servers: Iterable[Server], lines: list[_Line], own: Collection[str]) -> Iterator[BrokenRule]:
    """Servers without a line of their name, or with several; `own` are the names that stand there without servers."""
    names = {server.name for server in servers}
    missing = [server for server in servers if all(line.name != server.name for line in lines)]
    strange = [line for line in lines if line.name not in names and line.name not in own and "$" not in line.name]
    for line in strange if missing else ():
        yield BrokenRule(
            "name",
            "a server line that depends on servers has the name of none",
            "write one line for each of `service.servers`, named `{{ server.name }}`",
            line.number,
            line.text,
        )
    if missing and not strange and not any("$" in line.name for line in lines):
        what = f"a server has no line (state {missing[0].state.value}, address {missing[0].address})"
        yield BrokenRule("missing", what, "write one for each of `service.servers`, whatever its state and address")
    for server in servers:
        found = [line for line in lines if line.name == server.name and not line.is_conditional]
        for line in found[1:]:
            remedy = "write one for each server"
            yield BrokenRule("twice", "a server has a second line", remedy, line.number, line.text)


def _of_line(line: _Line, server: Server) -> Iterator[BrokenRule]:
    if line.endpoint != server.endpoint and "$" not in line.words[2]:
        what = f"a server line has another address or port than {server.address} port {server.port}"
        remedy = "write `{{ server.address }}:{{ server.port }}`, with IPv6 in brackets"
        yield BrokenRule("endpoint", what, remedy, line.number, line.text)
    yield from _of_option(line, server, "id", server.id, "{{ server.id }}")
    weight = 0 if server.state is AdminState.DRAIN else server.weight
    yield from _of_option(line, server, "weight", weight, '{{ 0 if server.state.value == "drain" else server.weight }}')
    is_off = "disabled" in line.words[3:]
    if is_off is not (server.state is AdminState.MAINT):
        what = f"a server in state {server.state.value} is {'' if is_off else 'not '}`disabled`"
        remedy = 'write `disabled` where `server.state.value == "maint"`, and only there'
        yield BrokenRule("disabled", what, remedy, line.number, line.text)


def _of_option(line: _Line, server: Server, option: str, wanted: int, expression: str) -> Iterator[BrokenRule]:
    values = line.values(option)
    remedy = f"write `{option} {expression}`"
    if not values:
        yield BrokenRule(option, f"a server line has no `{option}`", remedy, line.number, line.text)
    elif str(wanted) not in values and "$" not in "".join(values):
        what = f"a server line has {option} {values[-1]} instead of {wanted} (state {server.state.value})"
        yield BrokenRule(option, what, remedy, line.number, line.text)


def _sentence(rule: BrokenRule, place: str) -> str:
    if not rule.line:
        return f"{place}: {rule.what}: {rule.remedy}"
    quoted = " ".join(rule.text.split())
    return f"{place}: {rule.what}: {rule.remedy} (line {rule.line} of the text with sample servers: {quoted})"


def _place(line: str, template: Template) -> str:
    """The file, and the line there that made this line of the text, if one and no other can have."""
    files = ((template.label, template.source), *((part.label, part.source) for part in template.parts))
    found = [(label, number) for label, source in files if (number := template_line(line, source)) is not None]
    return f"{found[0][0]}:{found[0][1]}" if len(found) == 1 else template.label


# --- reading ----------------------------------------------------------------------------------------------------


def _read(text: str) -> _Text:
    found = _Text()
    for line in config_lines(text):
        section, words = line.section, tuple(line.words)
        server_or_socket = _Line(line.number, line.text, words, line.is_conditional) if len(words) > 2 else None
        if line.begins_section:
            if section.has_servers:
                found.sections.add(section.name)
        elif server_or_socket is None:
            continue
        elif words[0] == "server" and section.has_servers:
            found.servers.setdefault(section.name, []).append(server_or_socket)
        elif words[:2] == ("stats", "socket") and section.keyword == "global":
            found.sockets.append(server_or_socket)
    return found

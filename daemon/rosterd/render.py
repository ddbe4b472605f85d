"""Desired state to configuration text.

Pure: a template compiled once, and `render`, a function of what should be served. Rules:

- `StrictUndefined`: a name that the template misspells is an error with its line, not an empty word.
- The same input gives the same text to the byte: no time, no random number, no dictionary order.
- The text carries `structure`, a digest of all of it that is not a server. HAProxy shows it in `show info`, which is
  how a daemon that has just started knows from what its HAProxy was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError
from jinja2 import Template as CompiledTemplate
from jinja2 import TemplateError as JinjaError

from rosterd.errors import TemplateError
from rosterd.model import AdminState, Backend, Server
from rosterd.proxy.server_state import with_server_state
from rosterd.settings import CheckSettings, ProxySettings, ServiceSettings

SAMPLES = (
    Server("sample-v4", 1, IPv4Address("192.0.2.1"), 1, 100, AdminState.READY),
    Server("sample-v6", 2, IPv6Address("2001:db8::1"), 2, 100, AdminState.DRAIN),
    Server("sample-off", 3, IPv4Address("192.0.2.2"), 3, 0, AdminState.MAINT),
)
"""One server of each kind that a template may write differently."""


_OBJECT = re.compile(r"'(?:\w+\.)*(\w+) object'")
_IN_TEMPLATE = {"ProxySettings": "proxy", "ServiceView": "service", "CheckSettings": "check", "Server": "server"}
"""What a template's author knows our classes by."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template that compiles. `label` is what an error message calls it: its path, which makes no difference."""

    label: str = field(compare=False)
    source: str
    compiled: CompiledTemplate = field(compare=False)


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service as the template sees it: its settings, and the servers that were decided."""

    name: str
    mode: str
    bind: str | None
    balance: str
    hosts: tuple[str, ...]
    server_maxconn: int | None
    check: CheckSettings
    servers: tuple[Server, ...]


def compile_template(source: str, label: str) -> Template:
    """Compile a template; TemplateError names the file and the line of a mistake."""
    environment = Environment(  # noqa: S701  the text is no HTML; what goes in was parsed by a positive list
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    try:
        code = environment.compile(source, filename=label)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{label}:{error.lineno}: {error.message}") from error
    except (SyntaxError, RecursionError) as error:  # nested deeper than Python can follow
        raise TemplateError(f"{label}: cannot be compiled: {error}") from error
    return Template(label, source, CompiledTemplate.from_code(environment, code, environment.globals))


def structure_digest(template: Template, proxy: ProxySettings, services: Iterable[ServiceSettings]) -> str:
    """A digest of all of the text that is not a server: 16 hexadecimal digits.

    It is made from the text itself, rendered without servers and with sample servers: what leaves the text as it is
    leaves the digest as it is. So a template may ask whether there are servers, but not how many. TemplateError when
    the template does not pass the digest on to HAProxy, which would have it reloaded for ever.
    """
    services = tuple(services)
    digest = blake2b(digest_size=8)
    for servers in (), SAMPLES:
        backends = [Backend(service.name, servers) for service in services]
        digest.update(render(template, "", proxy, services, backends).encode())
    structure = digest.hexdigest()
    if not _passes_on(structure, render(template, structure, proxy, services, ())):
        raise TemplateError(
            f"{template.label}: lacks the line `description rosterd:{{{{ structure }}}}` in its section global, "
            "by which rosterd knows what HAProxy runs"
        )
    return structure


def render(
    template: Template,
    structure: str,
    proxy: ProxySettings,
    services: Iterable[ServiceSettings],
    backends: Iterable[Backend],
) -> str:
    """The configuration's text; TemplateError names the file and the line of a mistake."""
    servers = {backend.service: backend.servers for backend in backends}
    try:
        text = template.compiled.render(
            structure=structure,
            proxy=proxy,
            services=[_view(service, servers) for service in services],
        )
        text = with_server_state(text, str(proxy.server_state_file))
        text.encode()  # or writing it would fail later, where nobody thinks of the template
    except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        # What an expression or macro in a template can raise; the line is in the traceback, under the template's name.
        line = _line_of(template.label, error.__traceback__)
        raise TemplateError(f"{template.label}:{line}: {_OBJECT.sub(_named, str(error))}") from error
    return text


def _named(match: re.Match[str]) -> str:
    return _IN_TEMPLATE.get(match[1], match[1])


def _passes_on(structure: str, text: str) -> bool:
    words = ["description", f"rosterd:{structure}"]
    return any(line.partition("#")[0].split() == words for line in text.splitlines())


def _view(service: ServiceSettings, servers: Mapping[str, tuple[Server, ...]]) -> ServiceView:
    return ServiceView(
        name=service.name,
        mode=service.mode,
        bind=service.bind,
        balance=service.balance,
        hosts=service.hosts,
        server_maxconn=service.server_maxconn,
        check=service.check,
        servers=servers.get(service.name, ()),
    )


def _line_of(label: str, traceback: TracebackType | None) -> int | str:
    line: int | str = "?"
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == label:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line

"""Desired state to configuration text.

Pure: a template compiled once, and `render`, a function of what should be served. Rules:

- `StrictUndefined`: a name that the template misspells is an error with its line, not an empty word.
- The same input gives the same text to the byte: no time, no random number, no dictionary order.
- The text carries `structure`, a digest of all of it that is not a server. HAProxy shows it in `show info`, which is
  how a daemon that has just started knows from what its HAProxy was made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from types import CodeType, TracebackType

from jinja2 import Environment, FunctionLoader, StrictUndefined, TemplateSyntaxError
from jinja2 import Template as CompiledTemplate
from jinja2 import TemplateError as JinjaError

from rosterd.errors import TemplateError
from rosterd.includes import references
from rosterd.model import AdminState, Backend, Server
from rosterd.proxy.server_state import with_server_state
from rosterd.routes import routes
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
class Part:
    """A file that a template includes, by its name there. `label` is its path, which makes no difference."""

    name: str
    source: str
    label: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Template:
    """A template that compiles. `label` is what an error message calls it: its path, which makes no difference.

    `parts` are the files that it includes, with theirs: a template is the same only if all of them are.
    """

    label: str = field(compare=False)
    source: str
    compiled: CompiledTemplate = field(compare=False)
    parts: tuple[Part, ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """The paths of all its files."""
        return frozenset((self.label, *(part.label for part in self.parts)))


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


def compile_template(
    source: str, label: str, parts: Iterable[Part] = (), absent: Mapping[str, str] | None = None
) -> Template:
    """Compile a template and its parts; TemplateError names the file and the line of a mistake.

    `absent` says of files that are included why they cannot be read.
    """
    ordered = tuple(sorted(parts, key=lambda part: part.name))
    sources = {part.name: part for part in ordered}

    def load(name: str) -> tuple[str, str, None] | None:
        part = sources.get(name)
        return None if part is None else (part.source, part.label, None)

    environment = _environment(load)
    code = _compile(environment, source, label)
    for part in ordered:  # now, so that a mistake in one is found although nothing is rendered yet
        _compile(environment, part.source, part.label)
    for part in (Part("", source, label), *ordered):
        _check_references(environment, part, sources.keys(), absent or {})
    return Template(label, source, CompiledTemplate.from_code(environment, code, environment.globals), ordered)


def included_names(source: str, label: str) -> tuple[str, ...]:
    """The names of the files that this text includes; none where it has a mistake, which `compile_template` names."""
    try:
        return tuple(reference.name for reference in references(_environment(lambda _: None), source, label))
    except (TemplateSyntaxError, TemplateError, SyntaxError, RecursionError):
        return ()


def _check_references(environment: Environment, part: Part, known: Collection[str], absent: Mapping[str, str]) -> None:
    for reference in references(environment, part.source, part.label):
        if reference.name not in known and not reference.is_optional:
            why = absent.get(reference.name, "is not there")
            raise TemplateError(
                f"{part.label}:{reference.line}: {reference.name} {why}; "
                "it has to be in the folder of proxy.template_file"
            )


def _environment(load: Callable[[str], tuple[str, str, None] | None]) -> Environment:
    """The Jinja environment of a template; `load` gives text and path of an included file by its name."""
    return Environment(  # noqa: S701  the text is no HTML; what goes in was parsed by a positive list
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=FunctionLoader(load),
    )


def _compile(environment: Environment, source: str, label: str) -> CodeType:
    try:
        return environment.compile(source, filename=label)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{label}:{error.lineno}: {error.message}") from error
    except (SyntaxError, RecursionError) as error:  # nested deeper than Python can follow
        raise TemplateError(f"{label}: cannot be compiled: {error}") from error


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
    services = tuple(services)
    servers = {backend.service: backend.servers for backend in backends}
    try:
        text = template.compiled.render(
            structure=structure,
            # The daemon listens there. A template of an older version would have HAProxy listen as well.
            proxy=proxy.model_copy(update={"runtime_bind": None}),
            services=[_view(service, servers) for service in services],
            routes=routes(services),
        )
        text = with_server_state(text, str(proxy.server_state_file))
        text.encode()  # or writing it would fail later, where nobody thinks of the template
    except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        # What an expression or macro in a template can raise; the line is in the traceback, under the template's name.
        place = _place_of(template, error.__traceback__)
        raise TemplateError(f"{place}: {_OBJECT.sub(_named, str(error))}") from error
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


def _place_of(template: Template, traceback: TracebackType | None) -> str:
    """File and line of the innermost step that one of the template's files took."""
    label, line, labels = template.label, "?", template.labels
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename in labels:
            label, line = traceback.tb_frame.f_code.co_filename, str(traceback.tb_lineno)
        traceback = traceback.tb_next
    return f"{label}:{line}"

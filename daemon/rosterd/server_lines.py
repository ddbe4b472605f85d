"""The server lines of a configuration text: what of each can be said at run time.

Pure. `add server` takes nothing from `default-server`, so a server that is added at run time must be given every option
that its line in the file has. Here the rendered text is read back for that, and only for that. Rules:

- Only words that mean the same on HAProxy's socket as in its file: a line with quotes, escapes or anything else that
  the socket might read differently has an obstacle instead of options, and the server comes by a reload.
- The differences between versions of HAProxy are in `proxy/versions.py`.
- The alphabet of a word and the limit on words are those of the command, in `proxy/actions.py`.

Sources: HAProxy's configuration manual, "Server and default-server options", and management guide, "add server".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rosterd.config_lines import ConfigLine, config_lines, template_numbers
from rosterd.config_text import without_own
from rosterd.proxy.actions import MAX_OPTIONS, is_word
from rosterd.proxy.versions import DEFAULTS_SINCE, DYNAMIC_COOKIE_SINCE, is_refused_by_add_server, version_of

_OF_NAMES = frozenset({"init-addr", "resolvers", "resolve-prefer", "resolve-net", "resolve-opts"})
"""Options with a value that say how a host name is resolved. A member's server has a literal address, for which they
mean nothing, and no version takes them at run time."""

_DEFAULTS = {"pool-max-conn": "-1", "pool-purge-delay": "5s"}
"""Options for which a command has another default than the file: without these, HAProxy 2.6 keeps no idle connection to
a server that was added at run time, and each request opens one."""

_DEFAULTS_OF_OBSERVE = {"error-limit": "10", "on-error": "fail-check"}
"""What `observe` means in a file. On HAProxy 2.6 one error takes down a server that was added at run time."""

_CONDITIONAL = frozenset({"server", "default-server", "balance", "hash-type", "cookie"})
"""Lines that decide how a server is added. Under `.if` only HAProxy knows whether one is in force."""

_ELSEWHERE = frozenset({"check-ssl", "no-check-ssl", "no-ssl", "port", "addr"})
"""Where one of these stands, the checks of a server that speaks TLS do not speak it for that reason alone."""

_CHECKS = frozenset({"check", "agent-check"})
_NO_CHECKS = {"no-check": "check", "no-agent-check": "agent-check"}

_DYNAMIC_BALANCE = frozenset({"roundrobin", "leastconn", "first", "random"})
_STATIC_BALANCE = frozenset({"static-rr"})


@dataclass(frozen=True, slots=True)
class Addition:
    """How a server is added at run time: with these options; or why it cannot be, in `obstacle`."""

    options: tuple[str, ...]
    obstacle: str


@dataclass(slots=True)
class _Section:
    """A backend, a proxy of another kind, or the defaults that it starts from."""

    defaults: list[str] = field(default_factory=list)
    balance: str = ""
    hash_type: str = ""
    dynamic_cookie: bool = False
    obstacle: str = ""
    servers: dict[str, tuple[tuple[str, ...], ConfigLine]] = field(default_factory=dict)
    """Each server's line, and the defaults that stand above it: those below are for others."""
    checks: frozenset[str] = frozenset()
    """What of `check` and `agent-check` the `default-server` lines switch on, also those that `defaults` leaves out."""
    checked: dict[str, str] = field(default_factory=dict)
    """The endpoint of each server that has a check of its own."""

    def derived(self) -> _Section:
        return _Section(
            list(self.defaults),
            self.balance,
            self.hash_type,
            self.dynamic_cookie,
            self.obstacle,
            checks=self.checks,
        )


class ServerLines:
    """The server lines of one text, for one version of HAProxy."""

    def __init__(self, text: str, version: str) -> None:
        """Read the text; `version` as HAProxy tells it (`2.6.12-1+deb12u4`)."""
        self._backends = _read(text)
        self._version = version_of(version)

    def addition(self, service: str, server: str) -> Addition:
        """How this server is added to the backend of this service."""
        backend = self._backends.get(service)
        found = backend.servers.get(server) if backend else None
        if backend is None or found is None:
            return Addition((), "the text has no such server line")
        defaults, line = found
        if obstacle := backend.obstacle or _balance_obstacle(backend) or self._cookie_obstacle(backend):
            return Addition((), obstacle)
        if not line.is_plain:
            return Addition((), "its line has quotes or escapes")
        # server NAME ENDPOINT option ...
        words = list(self._for_command([*defaults, *line.words[3:]]))
        options = (*words, *_implied(words))
        return Addition(options, self._option_obstacle(options))

    def _cookie_obstacle(self, backend: _Section) -> str:
        if backend.dynamic_cookie and self._version < DYNAMIC_COOKIE_SINCE:
            return "this HAProxy gives no dynamic cookie to a server that is added at run time"
        return ""

    def _for_command(self, words: Sequence[str]) -> Iterator[str]:
        """Yield the words of a line that the command says, without those that it would say for nothing."""
        rest = iter(without_own(words))
        for word in rest:
            if word in _OF_NAMES:
                next(rest, None)
            elif word not in DEFAULTS_SINCE or self._version < DEFAULTS_SINCE[word]:
                yield word

    def _option_obstacle(self, options: Sequence[str]) -> str:
        if len(options) > MAX_OPTIONS:
            return f"its line has {len(options)} options, and HAProxy takes {MAX_OPTIONS} at run time"
        for word in options:
            if is_refused_by_add_server(word, self._version):
                return f"this HAProxy does not take '{word}' at run time"
            if not is_word(word):
                return f"{word!r} cannot be said at run time"
        return ""


def _implied(words: Sequence[str]) -> Iterator[str]:
    """What the file means without saying it, and a command does not mean."""
    for option, value in _DEFAULTS.items():
        if option not in words:
            yield from (option, value)
    for option, value in _DEFAULTS_OF_OBSERVE.items() if "observe" in words else ():
        if option not in words:
            yield from (option, value)
    # HAProxy 2.6 checks a server that was added at run time without TLS, although it speaks nothing else.
    if "ssl" in words and "check" in words and _ELSEWHERE.isdisjoint(words):
        yield "check-ssl"


def _read(text: str) -> Mapping[str, _Section]:
    named: dict[str, _Section] = {}
    backends: dict[str, _Section] = {}
    last = current = _Section()
    for line in config_lines(text):
        keyword, name, base, _ = line.section
        if line.is_conditional and line.words[0] in _CONDITIONAL:
            current.obstacle = f"a line of it with '{line.words[0]}' stands under .if"
        if not line.begins_section:
            _take(current, line)
            continue
        if keyword == "defaults":
            current = last = named[name] = named[base].derived() if base in named else _Section()
        else:
            current = named.get(base, last).derived()
        if line.section.has_servers:
            backends[name] = current
    return backends


def checked_endpoints(text: str) -> Mapping[tuple[str, str], str]:
    """The endpoints of all servers that have a check of their own, by proxy and server, those of templates included."""
    return {
        (proxy, server): endpoint
        for proxy, section in _read(text).items()
        for server, endpoint in section.checked.items()
    }


def _take_check(section: _Section, words: Sequence[str]) -> None:
    match words:
        case ["default-server", *options]:
            section.checks = _checks(section.checks, options)
        case ["server", name, endpoint, *options] if _checks(section.checks, options):
            section.checked[name] = endpoint
        case ["server-template", prefix, numbers, endpoint, *options] if _checks(section.checks, options):
            section.checked.update((f"{prefix}{number}", endpoint) for number in template_numbers(numbers))


def _checks(before: frozenset[str], words: Sequence[str]) -> frozenset[str]:
    """Which of `check` and `agent-check` are on, after these words."""
    now = before
    for word in words:
        if word in _CHECKS:
            now |= {word}
        elif word in _NO_CHECKS:
            now -= {_NO_CHECKS[word]}
    return now


def _take(section: _Section, line: ConfigLine) -> None:
    words = line.words
    _take_check(section, words)
    match words[0]:
        case "server" if len(words) > 2:
            section.servers[words[1]] = (tuple(section.defaults), line)
        case "default-server" if line.is_plain:
            section.defaults += words[1:]
        case "default-server":
            section.obstacle = "its default-server line has quotes or escapes"
        case "balance":
            section.balance = words[1] if len(words) > 1 else ""
        case "cookie":
            section.dynamic_cookie = "dynamic" in words[2:]
        case "hash-type":
            section.hash_type = words[1] if len(words) > 1 else ""


def _balance_obstacle(backend: _Section) -> str:
    algorithm = backend.balance.partition("(")[0]
    if not algorithm or algorithm in _DYNAMIC_BALANCE:
        return ""
    if algorithm in _STATIC_BALANCE:
        return f"'balance {algorithm}' takes no servers at run time"
    if backend.hash_type != "consistent":
        return f"'balance {algorithm}' takes servers at run time only with 'hash-type consistent'"
    return ""

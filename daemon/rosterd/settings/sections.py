"""The settings themselves: one frozen class a section, each key with its default and meaning.

docs/settings.md is made from these classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from rosterd.places import ETC, RUN, SERVER_STATE_SUFFIX, STATE
from rosterd.settings.values import (
    Chroot,
    Endpoint,
    FilePath,
    HostName,
    HostPort,
    Listen,
    LoopbackBind,
    PathWord,
    PositiveSeconds,
    Seconds,
    SeedName,
    SocketPath,
    Word,
    bind_endpoints,
    split_host_port,
)

ENV_PREFIX = "ROSTERD_"

MOST_CHECK_TEXT = 250
"""Characters of a check's text."""


Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SerfSettings(_Section):
    """How to reach the local Serf agent, and whom the cluster should contain."""

    rpc_address: HostPort = Field("127.0.0.1:7373", description="Where the local agent's RPC listens, host:port")
    auth_key_file: Path | None = Field(None, description="A file that holds the key, instead of auth_key")
    auth_key: SecretStr | None = Field(None, validate_default=True, description="The agent's rpc_auth key")
    seeds: tuple[SeedName, ...] = Field(
        (), description="host or host:port of nodes to join whenever the table lacks them; resolved each time"
    )
    seed_interval_s: PositiveSeconds = Field(5.0, description="How often missing seeds are looked for")
    exchange_interval_s: PositiveSeconds = Field(
        10.0,
        description="How often the agent compares its whole table with another member's, for what gossip lost; "
        "more seldom above 32 members",
    )
    stats_interval_s: PositiveSeconds = Field(
        0.05, description="How often the agent's counters are read; constant cost"
    )
    members_interval_s: PositiveSeconds = Field(
        2.0, description="How often the member list is read although nothing seems to have changed"
    )
    request_timeout_s: PositiveSeconds = Field(3.0, description="Deadline of one RPC request")
    backoff_first_s: PositiveSeconds = Field(0.2, description="First wait before connecting again")
    backoff_longest_s: PositiveSeconds = Field(10.0, description="Longest wait before connecting again")

    @property
    def host_port(self) -> tuple[str, int]:
        """The RPC address in two parts."""
        return split_host_port(self.rpc_address)

    @field_validator("auth_key")
    @classmethod
    def _take_key_from_file(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        file = info.data.get("auth_key_file")
        if file is None:
            return key
        if key is not None:
            raise ValueError("auth_key and auth_key_file exclude each other")
        return _read_secret(file)

    @field_validator("auth_key")
    @classmethod
    def _refuse_empty_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not key.get_secret_value():
            raise ValueError("is empty; without it, no key is used")
        return key


class ProxySettings(_Section):
    """HAProxy: its program, its files and sockets, and the values that the template takes."""

    @field_validator(
        "runtime_bind", "syslog_socket", "errors_503_file", "maxconn", "user", "group", "chroot", mode="before"
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    binary: str = Field("haproxy", min_length=1, description="The haproxy program, by name or path")
    config_file: FilePath = Field(STATE / "haproxy.cfg", description="The file that rosterd writes")
    template_file: FilePath = Field(ETC / "haproxy.cfg.j2", description="The template")
    state_dir: Path = Field(STATE, description="Where the last good configuration and template are kept")
    master_socket: FilePath = Field(RUN / "master.sock", description="HAProxy's master socket (-S)")
    runtime_socket: SocketPath = Field(RUN / "haproxy.sock", description="HAProxy's runtime socket")
    user: Word | None = Field(None, description="The user that HAProxy becomes when it is started by root")
    group: Word | None = Field(None, description="The group that HAProxy becomes; it also owns the runtime socket")
    chroot: Chroot | None = Field(
        None,
        description="The empty directory that HAProxy's worker is confined to when root starts it, or auto (from "
        "HAProxy 3.4 on); syslog_socket is then looked up inside it, and the access log is lost where it is not there",
    )
    http_bind: Word = Field(":80", description="Where traffic comes in: [address]:port, several with commas")
    stats_bind: Word = Field(":1936", description="Where the statistics page is, at /")
    runtime_bind: LoopbackBind | None = Field(
        None,
        description="HAProxy's runtime API over TCP, such as 127.0.0.1:9999, on loopback only; empty is off. Each user "
        "and program of this machine that connects there commands HAProxy, without a password. rosterd listens there, "
        "passes lines on to runtime_socket, and closes a connection that starts like HTTP, as a web page's does",
    )
    syslog_socket: SocketPath | None = Field(
        Path("/dev/log"), description="Where the access log goes; empty is nowhere"
    )
    errors_503_file: PathWord | None = Field(
        None, description="The page of a service that has no server (HTTP message)"
    )
    maxconn: int | None = Field(None, ge=1, description="HAProxy's limit of connections; empty leaves it to HAProxy")
    retry: Literal["safe", "all", "none"] = Field(
        "safe",
        description="Which requests a second server gets after the first one failed with them: safe methods, any "
        "method (a POST may run twice), none. A connection that fails is always tried elsewhere",
    )
    retries: int = Field(
        10,
        ge=0,
        le=100,
        description="How many further servers may be tried with a request. Fewer spare servers a request that kills "
        "each one it reaches; more find the one that is left when many die at once",
    )
    connect_timeout_s: PositiveSeconds = Field(1.0, description="To a server")
    client_timeout_s: PositiveSeconds = Field(60.0, description="A client's silence")
    server_timeout_s: PositiveSeconds = Field(60.0, description="A server's silence")
    keep_alive_timeout_s: PositiveSeconds = Field(10.0, description="An idle client connection")
    hard_stop_after_s: PositiveSeconds = Field(30.0, description="The end of an old worker")
    stderr_file: FilePath | None = Field(
        None,
        description="Where HAProxy's supervisor keeps HAProxy's standard error: the reason of a failed reload is there "
        "when HAProxy does not answer it (2.6, or one that ended). Started with -q, HAProxy writes nothing there",
    )
    apply: Literal["runtime", "reload"] = Field(
        "runtime",
        description="How changes of servers reach HAProxy: over its runtime socket, or by reloads alone",
    )
    drain_timeout_s: Seconds = Field(
        30.0, description="How long a server that leaves may finish its requests; what runs then is cut"
    )
    check_spread_s: PositiveSeconds = Field(
        0.002,
        description="Over how long the first checks of new servers are spread; more spares HAProxy a burst when it "
        "starts with thousands of servers, and a new server waits for its traffic so long",
    )
    answer_timeout_s: PositiveSeconds = Field(2.0, description="Deadline of one question on a HAProxy socket")
    check_timeout_s: PositiveSeconds = Field(20.0, description="Deadline of `haproxy -c`")
    reload_timeout_s: PositiveSeconds = Field(20.0, description="Deadline of a reload and its proof")
    observe_interval_s: PositiveSeconds = Field(1.0, description="How often it is read what HAProxy really runs")

    @property
    def server_state_file(self) -> Path:
        """The file from which HAProxy takes the health of its servers at a reload, beside the configuration file."""
        target = self.config_file.resolve()  # where a link leads: that is where the daemon may write
        return target.with_name(f"{target.name}{SERVER_STATE_SUFFIX}")


class ReloadSettings(_Section):
    """How patient to be before a reload."""

    quiet_s: Seconds = Field(0.1, description="Reload when nothing more has changed for so long")
    longest_s: Seconds = Field(1.0, description="Reload at the latest so long after the first change")
    least_interval_s: Seconds = Field(0.5, description="Least time between two reloads")
    on_text: Literal["reload", "warn"] = Field(
        "reload",
        description="What becomes of text that depends on which servers there are (an ACL with their addresses, "
        "`backup` on all but the first) when servers change it: HAProxy is reloaded; or it is only logged, and in "
        "force with the next reload",
    )
    most_old_workers: int = Field(
        10, ge=1, description="No reload while so many old workers still finish their connections"
    )
    file_quiet_s: Seconds = Field(
        2.0, description="The file follows changes made at run time when nothing more has changed for so long"
    )
    file_longest_s: Seconds = Field(20.0, description="The file follows at the latest so long after the first of them")
    backoff_first_s: PositiveSeconds = Field(1.0, description="First wait before a failed reload is tried again")
    backoff_longest_s: PositiveSeconds = Field(60.0, description="Longest wait before it is tried again")


class PolicySettings(_Section):
    """Who may serve, and what becomes of members that are not alive."""

    @field_validator("networks")
    @classmethod
    def _refuse_mapped(cls, networks: tuple[IPv4Network | IPv6Network, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
        for network in networks:
            if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
                raise ValueError(f"{network} is IPv4 written as IPv6, and matches nobody: write it as IPv4")
        return networks

    networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Where members that may serve are, such as 10.0.0.0/8; empty is everywhere but on loopback"
    )
    own_ports: tuple[Port, ...] = Field(
        (),
        description="Ports at which members may serve on addresses of the balancer's own machine, such as that of a "
        "web server beside it; its other ports are barred, and loopback is a matter of networks",
    )
    hold_s: Seconds = Field(60.0, description="How long a failed member's server stays whatever its check says")
    longest_hold_s: Seconds = Field(600.0, description="How long it stays if its check passes")
    guard_health_score: int = Field(
        3,
        ge=1,
        le=8,
        description="The agent's health score from which no failed member is removed; 8 is never",
    )
    guard_share: float = Field(
        0.5, gt=0, le=1, description="The share of a service's servers above which failures mean isolation"
    )
    flap_limit: int = Field(
        5,
        ge=0,
        le=1000,
        description="So many departures in a short time, and who comes back waits; 0 is never",
    )
    flap_half_life_s: PositiveSeconds = Field(30.0, description="In which half of a member's departures are forgotten")
    quarantine_hold_s: Seconds = Field(
        600.0, description="How long a server keeps its last good line when its member does not parse any more"
    )
    stale_limit_s: Seconds = Field(
        30.0,
        description="How long the agent may be silent before this balancer says that it is not ready; all serve on",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.longest_hold_s < self.hold_s:
            raise ValueError("longest_hold_s is less than hold_s")
        return self


class AdminSettings(_Section):
    """The read-only HTTP interface."""

    listen: Listen = Field("127.0.0.1:9780", description="host:port, or unix:PATH for a socket")


class LogSettings(_Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level written")
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto is JSON unless standard error is a terminal"
    )


class CheckSettings(_Section):
    """The health check of a service's servers: a request; or for TCP a connection, and what is said on it."""

    method: Literal["HEAD", "GET", "OPTIONS"] = Field("HEAD", description="The request; with mode http")
    path: str = Field("/", pattern=r"^/[A-Za-z0-9._~!$&()*+,;=:@/?-]*$", description="Its path; with mode http")
    send: str = Field(
        "",
        max_length=MOST_CHECK_TEXT,
        description="What is sent once a connection stands, such as PING\\r\\n; with mode tcp",
    )
    expect: str = Field(
        "", max_length=MOST_CHECK_TEXT, description="What must be in the answer; with mode tcp. Empty asks for none"
    )
    interval_s: PositiveSeconds = Field(2.0, description="Between two checks of a server that is up")
    fast_interval_s: PositiveSeconds = Field(0.1, description="While a server is on its way up or down")
    down_interval_s: PositiveSeconds = Field(0.25, description="While it is down")
    timeout_s: PositiveSeconds = Field(
        1.0, description="How long a server that took the connection may take for its answer"
    )
    rise: int = Field(2, ge=1, le=100, description="So many good checks in a row bring a server up")
    fall: int = Field(3, ge=1, le=100, description="So many bad ones take it down")


_FOREIGN_TO_CHECK = {"http": ("send", "expect"), "tcp": ("method", "path")}
"""Which keys of a check have no meaning in a mode."""


class ServiceSettings(_Section):
    """One service: whom it serves, and how. Its name is that of the HAProxy backend."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="The name of the backend")
    mode: Literal["http", "tcp"] = Field(
        "http", description="What it speaks: HTTP, behind the port that HTTP services share; or anything else over TCP"
    )
    bind: Word | None = Field(
        None,
        validate_default=True,
        description="Where the clients of a TCP service come in: [address]:port, several with commas; required there",
    )
    match: Mapping[str, str] = Field({"role": "backend"}, description="Tags that a member must have to serve here")
    hosts: tuple[HostName, ...] = Field(
        (),
        description="Host names that lead to an HTTP service; the first of those has the rest. `*.example.org` is "
        "every name that ends so; a name that is written out goes before wildcards, a longer wildcard before a "
        "shorter one",
    )
    balance: Literal["roundrobin", "leastconn", "first", "random"] = Field(
        "roundrobin", description="The algorithm; only those that take servers at run time"
    )
    server_maxconn: int | None = Field(None, ge=1, description="Connections at once to one server; the rest queue")
    check: CheckSettings = CheckSettings()
    port: int = Field(3000, ge=1, le=65535, description="Where servers listen unless their tag says otherwise")
    weight: int = Field(100, ge=0, le=256, description="Their weight unless their tag says otherwise")
    least_servers: int = Field(
        1,
        ge=0,
        le=10_000,
        description="No server is removed because its hold is over while fewer than so many others answer; with 0, nor "
        "does who has left go on while nobody else answers",
    )

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Whether a member with these tags serves here."""
        return all(tags.get(tag) == value for tag, value in self.match.items())

    @field_validator("match")
    @classmethod
    def _ask_for_a_tag(cls, match: Mapping[str, str]) -> Mapping[str, str]:
        if not match:
            raise ValueError("at least one tag, or every member would serve, this balancer included")
        return match

    @field_validator("name")
    @classmethod
    def _refuse_frontends(cls, name: str) -> str:
        if name in {"traffic", "stats"}:
            raise ValueError(f"{name} is the name of a frontend")
        return name

    # Each key is judged by itself, so that all mistakes are told, each with its key. No mode: that is the mistake.

    @field_validator("bind")
    @classmethod
    def _fit_bind(cls, bind: str | None, info: ValidationInfo) -> str | None:
        mode = info.data.get("mode")
        if mode == "tcp" and bind is None:
            raise ValueError("a TCP service needs one, such as :5432")
        if mode == "http" and bind is not None:
            raise ValueError("is for mode tcp; HTTP services share proxy.http_bind, and hosts tells them apart")
        return bind

    @field_validator("hosts")
    @classmethod
    def _fit_hosts(cls, hosts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if hosts and info.data.get("mode") == "tcp":
            raise ValueError("are for mode http: nothing else says which host is meant")
        return hosts

    @field_validator("check")
    @classmethod
    def _fit_check(cls, check: CheckSettings, info: ValidationInfo) -> CheckSettings:
        mode = str(info.data.get("mode"))
        if unfit := [key for key in _FOREIGN_TO_CHECK.get(mode, ()) if key in check.model_fields_set]:
            raise ValueError(f"a check with mode {mode} has no {' and no '.join(unfit)}")
        return check


class Settings(BaseSettings):
    """Everything."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    serf: SerfSettings = SerfSettings()
    proxy: ProxySettings = ProxySettings()
    reload: ReloadSettings = ReloadSettings()
    policy: PolicySettings = PolicySettings()
    admin: AdminSettings = AdminSettings()
    log: LogSettings = LogSettings()
    services: tuple[ServiceSettings, ...] = (ServiceSettings(name="nodes"),)

    def binds(self) -> tuple[Endpoint, ...]:
        """Where the balancer itself listens; 0.0.0.0 and :: stand for every address of its own."""
        return tuple(endpoint for _, text in self._binds() for endpoint in bind_endpoints(text))

    def _binds(self) -> Iterator[tuple[str, str]]:
        """Where HAProxy and the daemon listen: each key with its value."""
        yield "proxy.http_bind", self.proxy.http_bind
        yield "proxy.stats_bind", self.proxy.stats_bind
        yield "proxy.runtime_bind", self.proxy.runtime_bind or ""
        yield "admin.listen", self.admin.listen
        for number, service in enumerate(self.services):
            yield f"services[{number}].bind", service.bind or ""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment override the file, whose content comes as keyword arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = (*(f"services: {problem}" for problem in self._problems_between_services()), *self._shared_ports())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems_between_services(self) -> Iterator[str]:
        if not self.services:
            yield "there is none"
        if twice := _repeated(service.name for service in self.services):
            yield f"the name {', '.join(twice)} is given twice"
        if shared := _repeated(host.lower() for service in self.services for host in service.hosts):
            yield f"the host {', '.join(shared)} is given twice"
        over_http = [service for service in self.services if service.mode == "http"]
        if unreachable := [service.name for service in over_http[1:] if not service.hosts]:
            yield f"{', '.join(unreachable)} has no hosts, and only the first HTTP service may have none"

    def _shared_ports(self) -> Iterator[str]:
        """Ports that two keys name: HAProxy would bind both, and clients would reach one of the two by chance."""
        owners: dict[Endpoint, str] = {}
        for key, text in self._binds():
            others: dict[str, int] = {}
            for at in bind_endpoints(text):
                others.setdefault(owners.setdefault(at, key), at[1])
            yield from (f"{key}: port {port} is {other}'s" for other, port in others.items() if other != key)


def _repeated(words: Iterable[str]) -> list[str]:
    return sorted(word for word, times in Counter(words).items() if times > 1)


def _read_secret(path: Path) -> SecretStr:
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"auth_key_file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"auth_key_file {path} is not UTF-8") from None  # the cause would quote a byte of the key
    if not secret:
        raise ValueError(f"auth_key_file {path} is empty")
    return SecretStr(secret)

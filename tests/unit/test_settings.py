"""Settings: a file and the environment, every mistake at once, secrets that stay secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import SettingsError
from rosterd.settings import (
    NEEDS_RESTART,
    Settings,
    changed_keys,
    ignored_variables,
    keep_what_needs_restart,
    load,
    needs_restart,
    split_host_port,
)

SECRET = "correct horse battery staple"  # noqa: S105  a test's own

Write = Callable[[str], Path]
Set = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a settings file."""

    def write(text: str) -> Path:
        path = tmp_path / "rosterd.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def set_variable(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Set a variable of the environment."""
    return monkeypatch.setenv


def problems_of(path: Path | None) -> list[str]:
    """Return what is wrong with the settings."""
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


class TestSources:
    """Where values come from."""

    def test_defaults_alone_are_fine(self) -> None:
        """They are the lab's: one service, its nodes on port 3000."""
        settings = load(None)
        assert [service.name for service in settings.services] == ["nodes"]
        assert settings.services[0].match == {"role": "backend"}
        assert settings.services[0].port == 3000
        assert settings.serf.host_port == ("127.0.0.1", 7373)
        assert settings.proxy.runtime_bind is None

    def test_a_file(self, write: Write) -> None:
        """Keys that it does not name keep their defaults."""
        settings = load(write("[proxy]\nbinary = '/opt/haproxy'\n"))
        assert settings.proxy.binary == "/opt/haproxy"
        assert settings.proxy.http_bind == ":80"

    def test_the_environment_goes_before_the_file(self, write: Write, set_variable: Set) -> None:
        """Key by key: the other keys of the section stay the file's."""
        set_variable("ROSTERD_PROXY__BINARY", "from-environment")
        settings = load(write("[proxy]\nbinary = 'from-file'\nhttp_bind = ':8080'\n"))
        assert (settings.proxy.binary, settings.proxy.http_bind) == ("from-environment", ":8080")

    def test_numbers_and_nothing_from_the_environment(self, set_variable: Set) -> None:
        """Text becomes what the key needs; empty text is nothing where a key may be nothing."""
        set_variable("ROSTERD_POLICY__HOLD_S", "7.5")
        set_variable("ROSTERD_PROXY__RUNTIME_BIND", "")
        set_variable("ROSTERD_PROXY__MAXCONN", "")
        set_variable("ROSTERD_PROXY__SYSLOG_SOCKET", "")
        settings = load(None)
        assert settings.policy.hold_s == 7.5
        assert (settings.proxy.runtime_bind, settings.proxy.maxconn, settings.proxy.syslog_socket) == (None, None, None)

    def test_services_as_json(self, set_variable: Set) -> None:
        """Lists and tables are given whole."""
        services = [
            {"name": "web", "match": {"role": "web"}},
            {"name": "api", "hosts": ["api.example"], "check": {"path": "/up"}},
        ]
        set_variable("ROSTERD_SERVICES", json.dumps(services))
        set_variable("ROSTERD_SERF__SEEDS", '["10.0.0.1", "seed.example:7946"]')
        settings = load(None)
        assert [service.name for service in settings.services] == ["web", "api"]
        assert settings.services[1].check.path == "/up"
        assert settings.serf.seeds == ("10.0.0.1", "seed.example:7946")

    def test_other_variables_are_not_ours(self, set_variable: Set) -> None:
        """Nor is the one that names the settings file."""
        set_variable("ROSTERD_SETTINGS", "/etc/rosterd/rosterd.toml")
        set_variable("PROXY__BINARY", "x")
        set_variable("BINARY", "x")
        assert load(None) == Settings()

    def test_they_are_frozen(self) -> None:
        """Nobody changes what is in force."""
        with pytest.raises(ValueError, match="frozen"):
            load(None).policy.hold_s = 1  # type: ignore[misc]


class TestUnreadable:
    """A file that is none."""

    def test_a_missing_file(self, tmp_path: Path) -> None:
        """The message names it."""
        assert problems_of(tmp_path / "absent.toml") == [
            f"{tmp_path}/absent.toml: cannot be read: No such file or directory"
        ]

    def test_a_directory(self, tmp_path: Path) -> None:
        """As any file that cannot be read."""
        assert problems_of(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]

    def test_no_toml(self, write: Write) -> None:
        """The parser's own words tell the line."""
        path = write("[proxy]\nbinary = \n")
        assert problems_of(path) == [f"{path}: is not TOML: Invalid value (at line 2, column 10)"]

    def test_no_text(self, tmp_path: Path) -> None:
        """The byte that is at fault is counted."""
        path = tmp_path / "rosterd.toml"
        path.write_bytes(b"# caf\xe9\n")
        assert problems_of(path) == [f"{path}: is not UTF-8 (byte 5)"]


class TestMistakes:
    """Each mistake has a sentence that begins with its key."""

    def test_all_at_once(self, write: Write, set_variable: Set) -> None:
        """From all sections, from the file and from the environment, nested ones too."""
        set_variable("ROSTERD_ADMIN__LISTEN", "nowhere")
        set_variable("ROSTERD_NONSENSE__KEY", "1")
        path = write(
            """
            typo = 1
            [serf]
            rpc_address = "localhost"
            seeds = ["10.0.0.1", "a b"]
            request_timeout_s = 0
            secret = "x"
            [proxy]
            retry = "sometimes"
            runtime_bind = "0.0.0.0:9999"
            [policy]
            hold_s = 100
            longest_hold_s = 10
            [[services]]
            name = "web"
            [[services]]
            name = "a b"
            port = 65536
            match = {}
            """
        )
        assert [problem.partition(": ")[0] for problem in problems_of(path)] == [
            "ROSTERD_NONSENSE__KEY",
            "serf.rpc_address",
            "serf.seeds[1]",
            "serf.request_timeout_s",
            "serf.secret",
            "proxy.runtime_bind",
            "proxy.retry",
            "policy",
            "admin.listen",
            "services[1].name",
            "services[1].match",
            "services[1].port",
            "typo",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("typo = 1", "typo: there is no such key"),
            ("[proxy]\nbin = 'x'", "proxy.bin: there is no such key"),
            ("[serf]\nrpc_address = 'x'", "serf.rpc_address: 'x' is not host:port"),
            ("[serf]\nrpc_address = 'x:0'", "serf.rpc_address: 'x:0': the port is not from 1 to 65535"),
            ("[serf]\nseeds = ['[::1']", "serf.seeds[0]: '[::1' is not a host, host:port or [IPv6]:port"),
            ("[serf]\nauth_key = ''", "serf.auth_key: is empty; without it, no key is used"),
            ("[admin]\nlisten = 'unix:'", "admin.listen: the path is missing behind unix:"),
            (
                "[policy]\nhold_s = 9\nlongest_hold_s = 8",
                "policy: longest_hold_s is less than hold_s",
            ),
            (
                "[proxy]\nruntime_bind = '10.0.0.1:9999'",
                "proxy.runtime_bind: '10.0.0.1:9999' is not on loopback, and whoever reaches it commands HAProxy",
            ),
            ("[proxy]\nconfig_file = ''", "proxy.config_file: names no file"),
            (
                "[proxy]\nruntime_socket = 'haproxy.sock'",
                "proxy.runtime_socket: is not absolute, and HAProxy would take it for a host name",
            ),
            ("services = []", "services: there is none"),
            ("[[services]]\nname = 'stats'", "services[0].name: stats is the name of a frontend"),
            ("[[services]]\nname = 'traffic'", "services[0].name: traffic is the name of a frontend"),
            (
                "[[services]]\nname = 'a'\nmatch = {}",
                "services[0].match: at least one tag, or every member would serve, this balancer included",
            ),
            (
                "[[services]]\nname = 'a'\n[[services]]\nname = 'a'\nhosts = ['b']",
                "services: the name a is given twice",
            ),
            (
                "[[services]]\nname = 'a'\n[[services]]\nname = 'b'",
                "services: b has no hosts, and only the first HTTP service may have none",
            ),
            (
                "services = [{name = 'a', hosts = ['x']}, {name = 'a', hosts = ['X']}, {name = 'c'}]",
                (
                    "services: the name a is given twice; services: the host x is given twice; "
                    "services: c has no hosts, and only the first HTTP service may have none"
                ),
            ),
        ],
    )
    def test_each_in_words(self, write: Write, text: str, problem: str) -> None:
        """One mistake, one sentence."""
        assert problems_of(write(text)) == [problem]

    @pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "0.0005", "86401", "'soon'"])
    def test_impossible_durations(self, write: Write, value: str) -> None:
        """Nothing below HAProxy's millisecond, nothing without end."""
        (problem,) = problems_of(write(f"[proxy]\nconnect_timeout_s = {value}"))
        assert problem.startswith("proxy.connect_timeout_s: ")

    def test_no_wait_at_all_is_possible_where_it_makes_sense(self, write: Write) -> None:
        """A reload at once, and no hold."""
        settings = load(write("[reload]\nquiet_s = 0\n[policy]\nhold_s = 0\nlongest_hold_s = 0"))
        assert (settings.reload.quiet_s, settings.policy.hold_s) == (0, 0)

    @pytest.mark.parametrize(
        "key",
        [
            "http_bind",
            "stats_bind",
            "runtime_bind",
            "user",
            "group",
            "runtime_socket",
            "syslog_socket",
            "errors_503_file",
        ],
    )
    @pytest.mark.parametrize(
        "text", ["/a b", "/a\\nserver evil 10.9.9.9:80", '/a\\"', "/a'", "/a#b", "/a\\\\b", "/a\\u0000"]
    )
    def test_what_stands_in_the_configuration_is_one_word(self, write: Write, key: str, text: str) -> None:
        """No blank, quote, remark or line break reaches it, by mistake or otherwise."""
        (problem,) = problems_of(write(f'[proxy]\n{key} = "{text}"'))
        assert problem.startswith(f"proxy.{key}: holds a blank, a quote")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("name", '"a b"'),
            ("name", '"a\\n"'),
            ("name", '"-a"'),
            ("name", '""'),
            ("hosts", '["a b"]'),
            ("hosts", '["a.example\\n"]'),
            ("hosts", '["a }"]'),
            ("balance", '"source"'),
            ("port", "0"),
            ("weight", "257"),
            ("server_maxconn", "0"),
            ("check", '{ method = "POST" }'),
            ("check", '{ path = "health" }'),
            ("check", '{ path = "/a b" }'),
            ("check", '{ path = "/a\\n" }'),
            ("check", '{ path = "/%" }'),
            ("check", "{ rise = 0 }"),
        ],
    )
    def test_impossible_services(self, write: Write, key: str, value: str) -> None:
        """Each value stands in the configuration, or decides about it."""
        name = "" if key == "name" else "name = 'a'\n"
        (problem,) = problems_of(write(f"[[services]]\n{name}{key} = {value}"))
        assert problem.startswith(f"services[0].{key}")

    @pytest.mark.parametrize(
        ("keys", "problems"),
        [
            ("mode = 'tcp'", ["bind: a TCP service needs one, such as :5432"]),
            (
                "bind = ':81'",
                ["bind: is for mode tcp; HTTP services share proxy.http_bind, and hosts tells them apart"],
            ),
            (
                "mode = 'tcp'\nbind = ':81'\nhosts = ['a']",
                ["hosts: are for mode http: nothing else says which host is meant"],
            ),
            ("mode = 'tcp'\nbind = ':81'\ncheck = { path = '/' }", ["check: a check with mode tcp has no path"]),
            ("check = { send = 'x', expect = 'y' }", ["check: a check with mode http has no send and no expect"]),
            ("mode = 'udp'", ["mode: Input should be 'http' or 'tcp'"]),
            ("mode = 'tcp'\nbind = 'a b'", ["bind: holds a blank, a quote, '#', a backslash or a control character"]),
            (
                "mode = 'tcp'\nhosts = ['a']\ncheck = { method = 'GET', path = '/' }",
                [
                    "bind: a TCP service needs one, such as :5432",
                    "hosts: are for mode http: nothing else says which host is meant",
                    "check: a check with mode tcp has no method and no path",
                ],
            ),
        ],
    )
    def test_what_a_mode_does_not_have(self, write: Write, keys: str, problems: list[str]) -> None:
        """Each key that does not fit is named, all of them at once, also beside mistakes in other services."""
        path = write(f"[[services]]\nname = 'a'\n{keys}\n[[services]]\nname = 'b'\nport = 0")
        assert problems_of(path) == [
            *(f"services[0].{problem}" for problem in problems),
            "services[1].port: Input should be greater than or equal to 1",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[[services]]\nname = 'a'\nmode = 'tcp'\nbind = '*:80'", "services[0].bind: port 80 is proxy.http_bind's"),
            ("[proxy]\nstats_bind = ':80-90'", "proxy.stats_bind: port 80 is proxy.http_bind's"),
            ("[proxy]\nruntime_bind = '127.0.0.1:9780'", "admin.listen: port 9780 is proxy.runtime_bind's"),
            (
                (
                    "services = [{name = 'a', mode = 'tcp', bind = ':7,10.0.0.1:8-9'}, "
                    "{name = 'b', mode = 'tcp', bind = '10.0.0.1:9,:7'}, {name = 'c', mode = 'tcp', bind = ':80,:7'}]"
                ),
                (
                    "services[1].bind: port 9 is services[0].bind's; "
                    "services[2].bind: port 80 is proxy.http_bind's; services[2].bind: port 7 is services[0].bind's"
                ),
            ),
        ],
    )
    def test_a_port_that_two_keys_name(self, write: Write, text: str, problem: str) -> None:
        """HAProxy would bind it twice, and chance would choose who gets a connection. One port of several is told."""
        assert problems_of(write(text)) == [problem]

    def test_ports_that_differ_in_their_address(self, write: Write) -> None:
        """The more exact one goes before the other, and every address of IPv6 is not one of IPv4."""
        text = "services = [{name = 'a', mode = 'tcp', bind = '10.0.0.1:80,[::]:80,name:80'}]"
        assert load(write(text)).services[0].bind == "10.0.0.1:80,[::]:80,name:80"

    def test_only_http_services_need_host_names(self, write: Write) -> None:
        """However many TCP services stand before and between them."""
        services = [
            "{name = 'a', mode = 'tcp', bind = ':1'}",
            "{name = 'b'}",
            "{name = 'c', mode = 'tcp', bind = ':2'}",
            "{name = 'd', hosts = ['d']}",
        ]
        assert len(load(write(f"services = [{', '.join(services)}]")).services) == 4

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("ROSTERD_SERVICE_HOST", "10.96.0.7"),
            ("ROSTERD_SERVICE_PORT", "80"),
            ("ROSTERD_SERVICE_PORT_HTTP", "80"),
            ("ROSTERD_PORT", "tcp://10.96.0.7:80"),
            ("ROSTERD_PORT_80_TCP", "tcp://10.96.0.7:80"),
            ("ROSTERD_PORT_53_UDP", "udp://[fd00::7]:53"),
            ("ROSTERD_PORT_80_TCP_PROTO", "tcp"),
            ("ROSTERD_PORT_80_TCP_PORT", "80"),
            ("ROSTERD_PORT_80_TCP_ADDR", "fd00::7"),
            ("ROSTERD_ADMIN_SERVICE_HOST", "10.96.0.7"),
            ("ROSTERD_ADMIN_PORT_9780_TCP", "tcp://10.96.0.7:9780"),
            ("ROSTERD_NAME", "/web/rosterd"),
        ],
    )
    def test_variable_of_a_container_platform_is_ignored(self, set_variable: Set, variable: str, value: str) -> None:
        """The variable belongs to a service that is called rosterd, and is named as ignored."""
        assert ignored_variables() == ()
        set_variable(variable, value)
        assert load(None) == Settings()
        assert ignored_variables() == (variable,)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("ROSTERD_PORT", "8080"),
            ("ROSTERD_PORT", "http://10.96.0.7:80"),
            ("ROSTERD_SERVICE_HOST", "example.org"),
            ("ROSTERD_NAME", "rosterd"),
            ("ROSTERD_PORTS_80_TCP", "tcp://10.96.0.7:80"),
        ],
    )
    def test_variable_that_a_person_wrote_is_an_error(self, set_variable: Set, variable: str, value: str) -> None:
        """Its name is a platform's, its value is not, or the other way round."""
        set_variable(variable, value)
        (problem,) = problems_of(None)
        assert problem.startswith(f"{variable}: there is no section ")
        assert problem.endswith("a key is given as ROSTERD_SECTION__KEY, with two underscores")
        assert ignored_variables() == ()

    @pytest.mark.parametrize(
        ("host", "words"),
        [
            ("*", "'*' is every host: leave hosts out, and make the service the first one"),
            ("*example.org", "'*example.org': a wildcard is a first label alone, such as *.example.org"),
            ("www.*.org", "'www.*.org': a wildcard is a first label alone, such as *.example.org"),
            ("*.*.org", "'*.*.org': a wildcard is a first label alone, such as *.example.org"),
            ("*.", "'*.' is not a host name as clients send it"),
            ("a.example:80", "'a.example:80' is not a host name as clients send it, without a port"),
        ],
    )
    def test_host_that_is_neither_name_nor_wildcard(self, write: Write, host: str, words: str) -> None:
        """The error says how to write it."""
        (problem,) = problems_of(write(f"[[services]]\nname = 'a'\nhosts = ['{host}']\n"))
        assert problem.startswith(f"services[0].hosts[0]: {words}")

    def test_wildcard_is_given_once(self, write: Write) -> None:
        """Two services cannot have the same one."""
        file = write("services = [{name = 'a', hosts = ['*.x.org']}, {name = 'b', hosts = ['*.X.org']}]")
        assert problems_of(file) == ["services: the host *.x.org is given twice"]

    def test_an_unknown_key_from_the_environment(self, set_variable: Set) -> None:
        """As from the file."""
        set_variable("ROSTERD_SERF__AUTHKEY", "x")
        assert problems_of(None) == ["serf.authkey: there is no such key"]

    def test_an_unknown_section_from_the_environment(self, set_variable: Set) -> None:
        """The library would pass over it in silence, and a typing error would never be found."""
        set_variable("ROSTERD_PROXIES__BINARY", "x")
        assert problems_of(None) == ["ROSTERD_PROXIES__BINARY: there is no section proxies"]

    def test_a_variable_with_one_underscore_too_few(self, set_variable: Set) -> None:
        """It looks like a key, and the message says how one is written."""
        set_variable("ROSTERD_PROXY_BINARY", "x")
        (problem,) = problems_of(None)
        assert problem.startswith("ROSTERD_PROXY_BINARY: there is no section proxy_binary; ")
        assert "ROSTERD_SECTION__KEY" in problem

    def test_a_table_that_is_no_json(self, set_variable: Set) -> None:
        """The message says which, and how it is written."""
        set_variable("ROSTERD_SERVICES", "nodes")
        (problem,) = problems_of(None)
        assert problem.startswith("environment: ")
        assert '"services"' in problem
        assert "JSON" in problem


class TestSecrets:
    """The key of the agent."""

    def test_from_the_file(self, write: Write) -> None:
        """It is there for whoever asks for it on purpose."""
        key = load(write(f"[serf]\nauth_key = '{SECRET}'")).serf.auth_key
        assert key is not None
        assert key.get_secret_value() == SECRET

    def test_from_a_file_of_its_own(self, tmp_path: Path, set_variable: Set) -> None:
        """Without the newline that editors leave at the end."""
        (tmp_path / "key").write_text(f"{SECRET}\n", encoding="utf-8")
        set_variable("ROSTERD_SERF__AUTH_KEY_FILE", str(tmp_path / "key"))
        key = load(None).serf.auth_key
        assert key is not None
        assert key.get_secret_value() == SECRET

    @pytest.mark.parametrize("own_file", [True, False])
    def test_it_is_never_shown(self, tmp_path: Path, write: Write, own_file: bool) -> None:  # noqa: FBT001  a parameter of the test
        """Not in any form in which settings might be printed or logged."""
        (tmp_path / "key").write_text(SECRET, encoding="utf-8")
        line = f"auth_key_file = '{tmp_path}/key'" if own_file else f"auth_key = '{SECRET}'"
        settings = load(write(f"[serf]\n{line}"))
        for shown in (repr(settings), str(settings), repr(settings.serf), f"{settings.serf.auth_key}"):
            assert SECRET not in shown
        assert SECRET not in settings.model_dump_json()
        assert SECRET not in str(settings.model_dump())

    def test_mistakes_do_not_show_it_either(self, write: Write, set_variable: Set) -> None:
        """Neither one in the key itself, nor one beside it."""
        assert not any(SECRET in problem for problem in problems_of(write(f"[serf]\nauth_key = ['{SECRET}']")))
        assert not any(SECRET in problem for problem in problems_of(write(f"[serf]\nauth_key = '{SECRET}'\nx = 1")))
        set_variable("ROSTERD_SERF", f'{{"auth_key": "{SECRET}"')
        assert not any(SECRET in problem for problem in problems_of(None))

    def test_two_keys(self, tmp_path: Path, write: Write) -> None:
        """Nobody has to guess which one counts."""
        path = write(f"[serf]\nauth_key = '{SECRET}'\nauth_key_file = '{tmp_path}/key'")
        assert problems_of(path) == ["serf.auth_key: auth_key and auth_key_file exclude each other"]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [(None, "cannot be read: No such file or directory"), (b" \n", "is empty"), (b"\xff\xfe", "is not UTF-8")],
    )
    def test_a_file_without_a_key(self, tmp_path: Path, write: Write, content: bytes | None, problem: str) -> None:
        """The message names the file and shows nothing of it; other mistakes of the section are told as well."""
        key = tmp_path / "key"
        if content is not None:
            key.write_bytes(content)
        path = write(f"[serf]\nauth_key_file = '{key}'\nseed_interval_s = 0")
        assert problems_of(path) == [
            f"serf.auth_key: auth_key_file {key} {problem}",
            "serf.seed_interval_s: Input should be greater than or equal to 0.001",
        ]


class TestHostPort:
    """`host:port` in two parts."""

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("127.0.0.1:7373", ("127.0.0.1", 7373)),
            ("localhost:1", ("localhost", 1)),
            ("[::1]:65535", ("::1", 65535)),
        ],
    )
    def test_good_ones(self, text: str, parts: tuple[str, int]) -> None:
        """A name, an IPv4 address, or an IPv6 address in brackets."""
        assert split_host_port(text) == parts

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "host",
            ":80",
            "host:",
            "::1:80",
            "[]:80",
            "[host]:80",
            "host:http",
            "host:123456",
            "host:0",
            "a:²",
            "a b:80",
            "a/b:80",
            "a..b:80",
            f"{'a' * 64}:80",
        ],
    )
    def test_bad_ones(self, text: str) -> None:
        """The text is quoted."""
        with pytest.raises(ValueError, match="is not"):
            split_host_port(text)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Two parts or a ValueError."""
        try:
            host, port = split_host_port(text)
        except ValueError:
            return
        assert host
        assert 1 <= port <= 65535


class TestMatches:
    """Whether a member serves."""

    def test_every_tag_of_the_match(self) -> None:
        """Others may be there."""
        service = Settings().services[0].model_copy(update={"match": {"role": "web", "tier": "gold"}})
        assert service.matches({"role": "web", "tier": "gold", "rack": "7"})
        assert not service.matches({"role": "web"})
        assert not service.matches({})


class TestChanges:
    """What an edit changes, and what of it a running daemon can take up."""

    def test_nothing(self) -> None:
        """Read twice, they are equal."""
        assert changed_keys(load(None), load(None)) == ()

    def test_each_key(self, write: Write) -> None:
        """By section and key; services count as one."""
        new = load(write("[proxy]\nretry = 'all'\n[policy]\nhold_s = 1\n[[services]]\nname = 'other'"))
        assert changed_keys(Settings(), new) == ("proxy.retry", "policy.hold_s", "services")

    def test_a_new_key_of_the_agent(self, write: Write) -> None:
        """It is compared, and only its name is told."""
        one, other = load(write("[serf]\nauth_key = 'a'")), load(write("[serf]\nauth_key = 'b'"))
        assert changed_keys(one, other) == ("serf.auth_key",)

    @pytest.mark.parametrize(
        "key", ["serf.rpc_address", "admin.listen", "log.level", "proxy.config_file", "proxy.binary"]
    )
    def test_some_need_a_restart(self, key: str) -> None:
        """Connections, listeners and paths that the daemon holds on to."""
        assert needs_restart(key)

    @pytest.mark.parametrize("key", ["proxy.http_bind", "proxy.retry", "policy.hold_s", "reload.quiet_s", "services"])
    def test_most_do_not(self, key: str) -> None:
        """They are in force within a moment of the edit."""
        assert not needs_restart(key)

    def test_they_all_exist(self) -> None:
        """A key that was renamed would be taken up half."""
        for key in NEEDS_RESTART:
            section, _, name = key.partition(".")
            field = Settings.model_fields[section]
            assert not name or name in getattr(field.annotation, "model_fields", {})

    def test_what_needs_a_restart_is_kept(self, write: Write) -> None:
        """And the rest of the edit is taken up, in the same section too."""
        old = Settings()
        new = load(write("[proxy]\nbinary = 'x'\nretry = 'all'\n[serf]\nrpc_address = 'h:1'\n[policy]\nhold_s = 1"))
        kept = keep_what_needs_restart(old, new)
        assert changed_keys(old, kept) == ("proxy.retry", "policy.hold_s")
        assert kept.proxy.binary == old.proxy.binary
        assert kept.serf == old.serf

    def test_keeping_nothing_changes_nothing(self) -> None:
        """An edit without such keys is taken as it is."""
        assert keep_what_needs_restart(Settings(), Settings()) == Settings()


def test_a_network_that_could_match_nobody_is_refused() -> None:
    """Addresses of members are never IPv4 written as IPv6."""
    with pytest.raises(ValueError, match="write it as IPv4"):
        Settings.model_validate({"policy": {"networks": ["::ffff:10.0.0.0/104"]}})

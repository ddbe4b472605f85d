"""From what was decided to the text: golden files, errors that name a line, and a digest of all that is no server."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import TemplateError
from rosterd.model import AdminState, Backend, Server
from rosterd.render import SAMPLES, Part, Template, compile_template, render, structure_digest
from rosterd.settings import CheckSettings, ProxySettings, ServiceSettings
from tests.fixtures.render.record import CASES, TREE, golden, rendered

NODES = ServiceSettings(name="nodes")
PROXY = ProxySettings()
MARK = "description rosterd:{{ structure }}\n"
WEB_1 = Server("web-1", 7, IPv4Address("10.0.0.1"), 80, 100, AdminState.READY)


@pytest.fixture(scope="module")
def shipped() -> Template:
    """The template of the balancer node."""
    return compile_template((TREE / "haproxy" / "haproxy.cfg.j2").read_text(encoding="utf-8"), "haproxy.cfg.j2")


def text_of(source: str, *servers: Server) -> str:
    """Render a template for one service with these servers."""
    return render(compile_template(source, "t.j2"), "digest", PROXY, (NODES,), (Backend("nodes", servers),))


def digest_of(source: str, proxy: ProxySettings = PROXY, *services: ServiceSettings) -> str:
    """Return the digest of a template with these settings."""
    return structure_digest(compile_template(MARK + source, "t.j2"), proxy, services or (NODES,))


class TestGolden:
    """Members and settings in, the whole configuration out. `tests.fixtures.render.record` writes it again."""

    @pytest.mark.parametrize("case", CASES)
    def test_the_configuration_is_as_reviewed(self, case: str) -> None:
        """To the byte: what differs is either a mistake or belongs into a review."""
        assert rendered(case) == golden(case)

    def test_servers_alone_leave_the_structure_as_it_is(self) -> None:
        """Cases that differ in nothing but their members carry one digest; others carry others."""
        digests = {case: golden(case).partition("description rosterd:")[2].partition("\n")[0] for case in CASES}
        assert all(len(digest) == 33 for digest in digests.values())
        same = {digests[case] for case in ("lab", "no_servers", "every_tag", "only_who_may_serve")}
        assert len(same) == 1
        others = ("two_services", "every_setting", "tcp_services", "only_tcp")
        assert len({*same, *(digests[case] for case in others)}) == 5


class TestShipped:
    """The shipped template with any servers."""

    @given(
        st.lists(
            st.builds(
                Server,
                name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z"),
                id=st.integers(1, 2**31 - 1),
                address=st.one_of(
                    st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)
                ),
                port=st.integers(1, 65535),
                weight=st.integers(0, 256),
                state=st.sampled_from(AdminState),
            ),
            max_size=3,
        )
    )
    def test_each_server_is_one_line(self, shipped: Template, servers: list[Server]) -> None:
        """Of words that say all of it, in the given order; and the rest of the text does not depend on who serves."""
        lines = render(shipped, "s", PROXY, (NODES,), (Backend("nodes", tuple(servers)),)).splitlines()
        found = [line.split() for line in lines if line.startswith("    server ")]
        assert [words[1] for words in found] == [server.name for server in servers]
        for words, server in zip(found, servers, strict=True):
            host, _, port = words[2].rpartition(":")
            assert (host.strip("[]"), int(port)) == (str(server.address), server.port)
            assert host.startswith("[") is (server.address.version == 6)
            drained = server.state is AdminState.DRAIN
            assert words[3:7] == ["id", str(server.id), "weight", "0" if drained else str(server.weight)]
            assert words[7:] == (["disabled"] if server.state is AdminState.MAINT else [])

    def test_it_ends_with_a_newline(self, shipped: Template) -> None:
        """HAProxy refuses a file without one."""
        assert render(shipped, "s", PROXY, (NODES,), ()).endswith("\n")

    def test_backends_that_no_service_has_are_left_out(self, shipped: Template) -> None:
        """The services decide which there are; one without a decision has no servers."""
        text = render(shipped, "s", PROXY, (NODES,), (Backend("other", (WEB_1,)),))
        assert "web-1" not in text
        assert "backend nodes" in text

    def test_the_same_input_gives_the_same_text(self, shipped: Template) -> None:
        """Nothing in it comes from a clock, from chance, or from an earlier turn."""
        backends = (Backend("nodes", SAMPLES),)
        assert render(shipped, "s", PROXY, (NODES,), backends) == render(shipped, "s", PROXY, (NODES,), backends)


def _rendered_with_part(source: str) -> str:
    """Render a template that includes this text in its second line."""
    template = compile_template("x\n{% include 'part.j2' %}\n", "t.j2", [Part("part.j2", source, "p/part.j2")])
    return render(template, "digest", PROXY, (NODES,), ())


class TestErrors:
    """A mistake in a template names the file and the line."""

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("global\n{% if %}\n", "t.j2:2: Expected an expression, got 'end of statement block'"),
            ("{% for x in y %}\n", "t.j2:1: Unexpected end of template"),
            ("\n\n{{ x | nonsense }}\n", "t.j2:3: No filter named 'nonsense'."),
            ("{% nonsense %}", "t.j2:1: Encountered unknown tag 'nonsense'."),
            ("{% for a in 'a' %}" * 30 + "{% endfor %}" * 30, "t.j2: cannot be compiled: too many statically nested"),
        ],
    )
    def test_what_does_not_compile(self, source: str, message: str) -> None:
        """Before anything is rendered."""
        with pytest.raises(TemplateError) as caught:
            compile_template(source, "t.j2")
        assert str(caught.value).startswith(message)

    @pytest.mark.parametrize(
        ("source", "line", "words"),
        [
            ("global\n    {{ nonsense }}\n", 2, "'nonsense' is undefined"),
            ("{{ proxy.nonsense }}\n", 1, "no attribute 'nonsense'"),
            ("\n{% for s in services %}\n{{ s.nonsense }}\n{% endfor %}", 3, "no attribute 'nonsense'"),
            ("{% if services[0].nonsense %}{% endif %}", 1, "no attribute 'nonsense'"),
            ("{% if nonsense == 1 %}{% endif %}", 1, "'nonsense' is undefined"),
            ("\n{{ services[9].name }}", 2, "has no element 9"),
            ("{{ 1 / 0 }}", 1, "division by zero"),
            ("{{ 'a' + 1 }}", 1, "concatenate"),
            ("\n{{ 'a'.encode('nonsense') }}", 2, "unknown encoding"),
            ("{% include 'other' %}", 1, "other is not there; it has to be in the folder of proxy.template_file"),
            ("\n{% include services[0].name %}", 2, "the name of an included file has to be written out"),
            ("{% include '/etc/passwd' %}", 1, "'/etc/passwd' is not a path below the template's folder"),
            ("\n{% import '../other' as other %}", 2, "'../other' is not a path below the template's folder"),
            ("{% extends './other' %}", 1, "'./other' is not a path below the template's folder"),
            ("{% from 'a//b' import c %}", 1, "'a//b' is not a path below the template's folder"),
            ("{{ '\\ud800' }}", "?", "surrogates not allowed"),
            ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", 1, "recursion"),
        ],
    )
    def test_what_does_not_render(self, source: str, line: int | str, words: str) -> None:
        """Misspelled names, wrong types, endless macros: all that an expression can do wrong."""
        with pytest.raises(TemplateError) as caught:
            text_of(source)
        assert str(caught.value).startswith(f"t.j2:{line}: ")
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("part", "expected"),
        [
            ("a\n{% if %}\n", "p/part.j2:2: Expected an expression"),
            ("a\n\n{{ nonsense }}\n", "p/part.j2:3: 'nonsense' is undefined"),
            ("{% include 'more.j2' %}\n", "p/part.j2:1: more.j2 is not there"),
        ],
    )
    def test_mistake_in_an_included_file_names_that_file(self, part: str, expected: str) -> None:
        """With the line there."""
        with pytest.raises(TemplateError, match=f"^{re.escape(expected)}"):
            _rendered_with_part(part)

    def test_mistake_in_an_imported_macro_names_the_file_of_the_macro(self) -> None:
        """The template that calls it is not at fault."""
        part = Part("m.j2", "{% macro m(x) %}\n{{ x.nonsense }}{% endmacro %}", "m.j2")
        template = compile_template("{% from 'm.j2' import m %}\n{{ m(proxy) }}", "t.j2", [part])
        with pytest.raises(TemplateError, match=r"^m\.j2:2: proxy has no attribute 'nonsense'"):
            render(template, "digest", PROXY, (NODES,), ())

    def test_absent_file_of_a_list_or_of_ignore_missing_is_no_mistake(self) -> None:
        """Jinja takes the first one that is there, or nothing."""
        source = "{% include ['a.j2', 'b.j2'] %}{% include 'c.j2' ignore missing %}"
        template = compile_template(source, "t.j2", [Part("b.j2", "b", "b.j2")])
        assert render(template, "digest", PROXY, (NODES,), ()) == "b"

    def test_a_mistake_in_the_line_of_a_server_is_found_without_servers(self) -> None:
        """The digest is made with sample servers, so a blueprint with such a template is never made."""
        source = "{% for server in services[0].servers %}\n{{ server.nonsense }}\n{% endfor %}"
        assert text_of(source) == ""
        with pytest.raises(TemplateError, match=r"t\.j2:3: .*nonsense"):
            digest_of(source)

    @pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
    def test_each_kind_of_server_is_tried(self, sample: Server) -> None:
        """Also one that a template writes differently."""
        state, version = sample.state.value, sample.address.version
        condition = f"server.state.value == '{state}' and server.address.version == {version}"
        with pytest.raises(TemplateError):
            digest_of(f"{{% for server in services[0].servers if {condition} %}}{{{{ nonsense }}}}{{% endfor %}}")


class TestDigest:
    """What a running HAProxy tells of what it was made from."""

    def test_it_is_16_hexadecimal_digits(self) -> None:
        """They stand in the configuration as one word."""
        assert len(digest_of("x")) == 16
        assert int(digest_of("x"), 16) >= 0

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("maxconn 1\n", "maxconn 2\n"),
            ("a\n", "a\n\n"),
            (
                "{% for s in services[0].servers %}{{ s.name }} weight 1{% endfor %}",
                "{% for s in services[0].servers %}{{ s.name }} weight 2{% endfor %}",
            ),
            ("{% if services[0].servers %}a{% endif %}", "{% if services[0].servers %}b{% endif %}"),
            ("{% if not services[0].servers %}a{% endif %}", "{% if not services[0].servers %}b{% endif %}"),
        ],
    )
    def test_another_template_has_another(self, one: str, other: str) -> None:
        """Also where only the line of a server differs, or what stands there without servers."""
        assert digest_of(one) != digest_of(other)

    def test_what_leaves_the_text_as_it_is_leaves_the_digest(self) -> None:
        """A remark in the template costs no reload."""
        assert digest_of("a\n") == digest_of("{# a remark #}a\n")

    @pytest.mark.parametrize(
        "changed",
        [
            {"http_bind": ":8080"},
            {"retry": "none"},
            {"connect_timeout_s": 2.0},
            {"maxconn": 7},
            {"user": "nobody"},
            {"syslog_socket": None},
            {"hard_stop_after_s": 1.0},
        ],
    )
    def test_a_setting_that_the_template_uses_changes_it(self, shipped: Template, changed: dict[str, object]) -> None:
        """HAProxy has to be told."""
        other = PROXY.model_copy(update=changed)
        assert structure_digest(shipped, other, (NODES,)) != structure_digest(shipped, PROXY, (NODES,))

    @pytest.mark.parametrize(
        "changed",
        [
            {"balance": "leastconn"},
            {"server_maxconn": 7},
            {"check": CheckSettings(path="/health")},
            {"name": "other"},
            {"mode": "tcp", "bind": ":1"},
        ],
    )
    def test_so_does_an_option_of_a_service(self, shipped: Template, changed: dict[str, object]) -> None:
        """The options stand in its backend."""
        other = NODES.model_copy(update=changed)
        assert structure_digest(shipped, PROXY, (other,)) != structure_digest(shipped, PROXY, (NODES,))

    @pytest.mark.parametrize("changed", [{"port": 81}, {"weight": 7}, {"match": {"role": "x"}}])
    def test_what_only_decides_who_serves_does_not(self, shipped: Template, changed: dict[str, object]) -> None:
        """Servers may change without a reload."""
        other = NODES.model_copy(update=changed)
        assert structure_digest(shipped, PROXY, (other,)) == structure_digest(shipped, PROXY, (NODES,))

    @pytest.mark.parametrize("changed", [{"binary": "x"}, {"check_timeout_s": 1.0}])
    def test_a_setting_that_the_template_does_not_use_does_not(
        self, shipped: Template, changed: dict[str, object]
    ) -> None:
        """HAProxy never hears of it."""
        other = PROXY.model_copy(update=changed)
        assert structure_digest(shipped, other, (NODES,)) == structure_digest(shipped, PROXY, (NODES,))

    @pytest.mark.parametrize(
        "source",
        [
            "global\n",
            "description {{ structure }}\n",
            "# description rosterd:{{ structure }}\n",
            "description rosterd:{{ structure }} and more\n",
            "{% if services[0].servers %}description rosterd:{{ structure }}{% endif %}\n",
        ],
    )
    def test_a_template_has_to_pass_it_on(self, source: str) -> None:
        """Else HAProxy would be reloaded for ever: it could never say that it runs what is desired."""
        with pytest.raises(TemplateError, match=r"^t\.j2: lacks the line `description rosterd:{{ structure }}`"):
            structure_digest(compile_template(source, "t.j2"), PROXY, (NODES,))

    def test_a_remark_behind_it_is_none_of_haproxys_business(self) -> None:
        """HAProxy leaves it out of the description."""
        source = "description rosterd:{{ structure }} # keep this line\n"
        assert structure_digest(compile_template(source, "t.j2"), PROXY, (NODES,))

    def test_servers_are_no_part_of_it(self, shipped: Template) -> None:
        """The text carries the digest that it is given, with any servers."""
        digest = structure_digest(shipped, PROXY, (NODES,))
        texts = [
            render(shipped, digest, PROXY, (NODES,), (Backend("nodes", servers),))
            for servers in ((), (WEB_1,), (replace(WEB_1, weight=1), *SAMPLES))
        ]
        assert all(f"description rosterd:{digest}\n" in text for text in texts)
        assert len(set(texts)) == 3

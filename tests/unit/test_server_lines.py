"""The rendered text read back: which options a server gets at run time, and what stands in the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.proxy.actions import MAX_OPTIONS
from rosterd.server_lines import Addition, ServerLines

DEFAULTS = ("pool-max-conn", "-1", "pool-purge-delay", "5s")
"""What each command says besides, since HAProxy has another default there than in the file."""


def addition(*lines: str, version: str = "2.6.12", before: str = "") -> Addition:
    """Return how the server `web` of a backend with these lines is added."""
    text = f"{before}\nbackend nodes\n" + "".join(f"    {line}\n" for line in lines)
    return ServerLines(text, version).addition("nodes", "web")


class TestOptions:
    """Everything that the line in the file means."""

    def test_those_of_its_line_and_of_default_server(self) -> None:
        """The defaults first, so that the line's own word is the last."""
        found = addition("default-server check inter 2s", "default-server rise 3", "server web 10.0.0.1:80 inter 1s")
        assert found == Addition(("check", "inter", "2s", "rise", "3", "inter", "1s", *DEFAULTS), "")

    def test_not_those_that_each_command_has_of_its_own(self) -> None:
        """Id and weight are given by us; who is disabled is told so by a command."""
        found = addition("default-server weight 7", "server web 10.0.0.1:80 id 5 weight 9 disabled check # it's ours")
        assert found == Addition(("check", *DEFAULTS), "")

    def test_what_the_line_says_of_idle_connections(self) -> None:
        """Stands, and is not said twice."""
        assert addition("server web 10.0.0.1:80 pool-max-conn 5").options == ("pool-max-conn", "5", *DEFAULTS[2:])

    @pytest.mark.parametrize(
        ("line", "is_implied"),
        [
            ("check ssl verify none", True),
            ("ssl verify none", False),
            ("check", False),
            ("check ssl no-check-ssl", False),
            ("check ssl port 80", False),
            ("check ssl check-ssl", False),
            ("check ssl no-ssl", False),
        ],
    )
    def test_checks_speak_tls_as_the_traffic_does(self, line: str, is_implied: bool) -> None:  # noqa: FBT001  a parameter of the test
        """The file means it where nothing else is said; a command has to say it."""
        options = addition(f"default-server {line}", "server web 10.0.0.1:80").options
        assert options == (*line.split(), *DEFAULTS, *(["check-ssl"] if is_implied else []))

    def test_how_names_are_resolved_means_nothing_for_an_address(self) -> None:
        """No version takes these words at run time, and leaving them out changes nothing."""
        line = "resolvers dns resolve-prefer ipv4 init-addr last,none resolve-net 10.0.0.0/8 resolve-opts ignore-weight"
        found = addition(f"default-server check {line}", "server web 10.0.0.1:80 backup")
        assert found == Addition(("check", "backup", *DEFAULTS), "")

    def test_a_list_of_ciphers(self) -> None:
        """Its exclamation mark and the other harmless characters are sent as they are."""
        line = "ssl verify none ciphers ECDHE+AESGCM:!aNULL:@STRENGTH agent-send a{b}|c~d^e?f&g$h>i`"
        assert addition(f"server web 10.0.0.1:80 {line}") == Addition((*line.split(), *DEFAULTS), "")

    def test_a_word_that_says_the_default(self) -> None:
        """`sni-auto` is the default since 3.3 and refused at run time there; `no-sni-auto` is taken."""
        line = "server web 10.0.0.1:80 ssl verify none sni-auto"
        assert addition(line, version="3.4.7").options == ("ssl", "verify", "none", *DEFAULTS)
        assert "no-sni-auto" in addition(line.replace("sni-auto", "no-sni-auto"), version="3.4.7").options
        assert "sni-auto" in addition(line, version="3.2.26").options

    def test_defaults_of_the_section_before(self) -> None:
        """A backend starts from the last `defaults`, or from the one that it names."""
        before = "defaults one\n default-server check\ndefaults two\n default-server backup\n"
        assert addition("server web 10.0.0.1:80", before=before).options == ("backup", *DEFAULTS)
        text = f"{before}backend nodes from one\n server web 10.0.0.1:80\n"
        assert ServerLines(text, "2.6").addition("nodes", "web").options == ("check", *DEFAULTS)

    def test_defaults_of_defaults(self) -> None:
        """One section of defaults may start from another, with a name of its own or without."""
        one = "defaults one\n default-server check\n balance static-rr\n"
        two = addition("server web 10.0.0.1:80", before=f"{one}defaults from one\n balance roundrobin\n")
        assert two == Addition(("check", *DEFAULTS), "")
        text = f"{one}defaults two from one\ndefaults\nbackend nodes from two\n server web 10.0.0.1:80\n"
        assert "static-rr" in ServerLines(text, "2.6").addition("nodes", "web").obstacle

    def test_defaults_below_the_server(self) -> None:
        """Are for those that come after them."""
        assert addition("server web 10.0.0.1:80 backup", "default-server check").options == ("backup", *DEFAULTS)

    def test_lines_of_other_sections(self) -> None:
        """Belong to others."""
        after = "frontend other\n default-server backup\nbackend more\n server web 10.0.0.2:80 backup\n"
        text = f"backend nodes\n server web 10.0.0.1:80 check\n{after}"
        assert ServerLines(text, "2.6").addition("nodes", "web").options == ("check", *DEFAULTS)

    def test_observe_means_the_same_as_in_the_file(self) -> None:
        """The limit and the reaction that the file means are said, unless the line says others."""
        line = "server web 10.0.0.1:80 check observe layer4"
        implied = ("error-limit", "10", "on-error", "fail-check")
        assert addition(line).options == ("check", "observe", "layer4", *DEFAULTS, *implied)
        own = "error-limit 3 on-error mark-down"
        assert addition(f"{line} {own}").options == ("check", "observe", "layer4", *own.split(), *DEFAULTS)


class TestObstacles:
    """What makes the addition of a server a reload."""

    @pytest.mark.parametrize(
        ("line", "word"),
        [
            ("server web 10.0.0.1:80 cookie a", "'cookie'"),
            ("server web 10.0.0.1:80 namespace blue", "'namespace'"),
            ("server web 10.0.0.1:80 no-check", "'no-check'"),
            ('server web 10.0.0.1:80 sni "str(a b)"', "quotes"),
            ("server web 10.0.0.1:80 track a\\ b", "escapes"),
            ("server web 10.0.0.1:80 proto h2;quit", "'h2;quit'"),
            ("server web 10.0.0.1:80 agent-send <<", "'<<'"),
            ("server web 10.0.0.1:80" + " check" * MAX_OPTIONS, f"{MAX_OPTIONS}"),
            ("server other 10.0.0.1:80", "no such server line"),
        ],
    )
    def test_in_its_line(self, line: str, word: str) -> None:
        """It is named."""
        assert word in addition(line).obstacle

    def test_that_a_newer_haproxy_has_not(self) -> None:
        """`cookie` is taken from 2.8 on."""
        assert addition("server web 10.0.0.1:80 cookie a", version="2.8.25").obstacle == ""

    @pytest.mark.parametrize("line", ["server web 10.0.0.1:80", "default-server inter 9s", "balance static-rr"])
    def test_line_under_if_is_named(self, line: str) -> None:
        """Only HAProxy knows which branch is in force."""
        text = addition(
            ".if feature(OPENSSL)", line, ".else", "default-server check", ".endif", "server web 10.0.0.1:80"
        )
        assert "stands under .if" in text.obstacle

    def test_line_beside_if_is_no_obstacle(self) -> None:
        """A server's options do not depend on other lines under `.if`."""
        found = addition(".if feature(OPENSSL)", "http-reuse always", ".endif", "server web 10.0.0.1:80")
        assert found.obstacle == ""

    def test_dynamic_cookie_needs_a_haproxy_that_gives_one_at_run_time(self) -> None:
        """HAProxy 2.6 adds such a server without a cookie and then takes the cookie from its visitors."""
        lines = "cookie SRV insert indirect nocache dynamic", "server web 10.0.0.1:80"
        assert "dynamic cookie" in addition(*lines, version="2.6.12").obstacle
        assert addition(*lines, version="2.8.3").obstacle == ""
        assert addition("cookie dynamic insert", lines[1], version="2.6.12").obstacle == ""

    @pytest.mark.parametrize(
        "balance", ["", "balance roundrobin", "balance leastconn", "balance first", "balance random(3)"]
    )
    def test_none_with_a_dynamic_algorithm(self, balance: str) -> None:
        """Those take servers at run time."""
        assert addition(balance, "server web 10.0.0.1:80").obstacle == ""

    @pytest.mark.parametrize("balance", ["balance static-rr", "balance source", "balance hdr(host)"])
    def test_a_static_algorithm(self, balance: str) -> None:
        """Is named."""
        assert balance.partition("(")[0] in addition(balance, "server web 10.0.0.1:80").obstacle

    def test_none_with_a_consistent_hash(self) -> None:
        """Servers can come to one."""
        assert addition("balance source", "hash-type consistent", "server web 10.0.0.1:80").obstacle == ""


WORDS = ("backend", "defaults", "listen", "server", "default-server", "balance", "nodes", "web", "from", "#", '"', "id")


@given(st.lists(st.sampled_from(WORDS)), st.text())
def test_any_text_can_be_read(words: list[str], text: str) -> None:
    """A template may hold anything; nothing of it is an error here."""
    for source in (text, "\n".join(words), " ".join(words)):
        ServerLines(source, "2.6").addition("nodes", "web")

"""What a template has to write: each rule, broken once, is named with its line and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosterd.render import Part, compile_template, render, structure_digest
from rosterd.settings import ProxySettings, ServiceSettings, load
from rosterd.template_rules import broken_rules

TREE = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((*TREE.glob("examples/*/haproxy.cfg.j2"), TREE / "haproxy" / "haproxy.cfg.j2"))
PROXY = ProxySettings()
SERVICES = (
    ServiceSettings(name="nodes"),
    ServiceSettings(name="shop", hosts=("shop.example",)),
    ServiceSettings(name="db", mode="tcp", bind=":5432"),
)
SOCKET = "    stats socket {{ proxy.runtime_socket }} mode 660 level admin expose-fd listeners\n"
HEADING = "{{ 'listen' if service.mode == 'tcp' else 'backend' }} {{ service.name }}\n"
ADDRESS = "{{ '[%s]' % server.address if server.address.version == 6 else server.address }}:{{ server.port }}"
WEIGHT = 'weight {{ 0 if server.state.value == "drain" else server.weight }}'
OFF = "{% if server.state.value == 'maint' %} disabled{% endif %}"
LINE = f"    server {{{{ server.name }}}} {ADDRESS} id {{{{ server.id }}}} {WEIGHT}{OFF}\n\n"
GOOD = (
    "global\n    description rosterd:{{ structure }}\n"
    + SOCKET
    + "{% for service in services %}\n"
    + HEADING
    + "{% for server in service.servers %}\n"
    + LINE
    + "{% endfor %}\n{% endfor %}\n"
)


def broken(source: str, *parts: Part, services: tuple[ServiceSettings, ...] = SERVICES) -> tuple[str, ...]:
    """Return the sentences about a template."""
    return broken_rules(compile_template(source, "t.j2", parts), "s", PROXY, services)


def test_template_that_keeps_the_rules() -> None:
    """The template breaks no rule."""
    assert broken(GOOD) == ()


def test_quoted_words_keep_the_rules() -> None:
    """HAProxy reads the same section, keyword and name."""
    quoted = GOOD.replace("    server {{ server.name }}", '    "server" "{{ server.name }}"')
    assert broken(quoted.replace("}} {{ service.name }}\n", '}} "{{ service.name }}"\n')) == ()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_shipped_templates_keep_the_rules(path: Path) -> None:
    """Each with the settings that are shipped beside it."""
    settings = load(path.with_name("rosterd.toml"))
    template = compile_template(path.read_text(encoding="utf-8"), str(path))
    structure = structure_digest(template, settings.proxy, settings.services)
    assert broken_rules(template, structure, settings.proxy, settings.services) == ()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_shipped_templates_open_no_runtime_api_over_tcp(path: Path) -> None:
    """HAProxy would obey web pages there; also where the settings ask for the port, which is the daemon's."""
    settings = load(path.with_name("rosterd.toml"))
    assert settings.proxy.runtime_bind is None
    asked = settings.proxy.model_copy(update={"runtime_bind": "127.0.0.1:9999"})
    template = compile_template(path.read_text(encoding="utf-8"), str(path))
    lines = [line.split() for line in render(template, "s", asked, settings.services, ()).splitlines()]
    sockets = [words[2] for words in lines if words[:2] == ["stats", "socket"]]
    assert sockets == [str(settings.proxy.runtime_socket)]


def test_template_that_opens_the_runtime_port_itself_opens_none() -> None:
    """A template of an older version has such a line; the daemon listens there now."""
    source = "{% if proxy.runtime_bind %}stats socket {{ proxy.runtime_bind }} level admin{% endif %}"
    asked = PROXY.model_copy(update={"runtime_bind": "127.0.0.1:9999"})
    assert render(compile_template(source, "t.j2"), "s", asked, (), ()) == ""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (" id {{ server.id }}", "", "t.j2:7: a server line has no `id`: write `id {{ server.id }}` (line "),
        (f" {WEIGHT}", "", "t.j2:7: a server line has no `weight`: write `weight {{ 0 if "),
        (
            "id {{ server.id }}",
            "id {{ loop.index }}",
            "t.j2:7: a server line has id 1 instead of 1001 (state ready): ",
        ),
        (WEIGHT, "weight 100", "t.j2:7: a server line has weight 100 instead of 37 (state ready): write `weight"),
        (
            WEIGHT,
            "weight {{ server.weight }}",
            "t.j2:7: a server line has weight 53 instead of 0 (state drain): write `weight",
        ),
        (
            "server {{ server.name }}",
            "server web{{ loop.index }}",
            "t.j2:7: a server line that depends on servers has the name of none: write one line for each",
        ),
        (
            ":{{ server.port }}",
            ":80",
            "t.j2:7: a server line has another address or port than 192.0.2.11 port 20001: write `{{ server.address",
        ),
        (ADDRESS, "{{ server.name }}:{{ server.port }}", "t.j2:7: a server line has another address or port than"),
        (OFF, "", "t.j2:7: a server in state maint is not `disabled`: write `disabled` where"),
        (OFF, " disabled", "t.j2:7: a server in state ready is `disabled`: write `disabled` where"),
        ("level admin ", "", "t.j2:3: the runtime socket lacks `level admin`: write `stats socket"),
        (SOCKET, "", "t.j2: section global has no runtime socket, by which rosterd speaks to HAProxy: write `stats"),
        ("{{ proxy.runtime_socket }}", "/run/other.sock", "t.j2: section global has no runtime socket"),
        ("{{ service.name }}\n", "{{ service.name }}s\n", "t.j2: service nodes has no section: write `backend {{ serv"),
        (LINE, LINE + LINE, "t.j2: a server has a second line: write one for each server (line 9 of the text"),
        (
            "in service.servers %}",
            "in service.servers if server.state.value == 'ready' %}",
            "t.j2: a server has no line (state drain, address 192.0.2.12): write one for each of",
        ),
        (
            "in service.servers %}",
            "in services[0].servers %}",
            "t.j2:7: a server line that depends on servers has the name of none",
        ),
    ],
    ids=lambda text: text[:30],
)
def test_broken_rule_is_named_with_its_line_and_a_remedy(old: str, new: str, expected: str) -> None:
    """The line of the template where it is unambiguous, the line of the text, and what to write."""
    assert old in GOOD
    sentences = broken(GOOD.replace(old, new))
    assert any(sentence.startswith(expected) for sentence in sentences), "\n".join(sentences)


def test_line_of_the_text_is_quoted() -> None:
    """With its number in the text that was made with samples."""
    (sentence, *_) = broken(GOOD.replace(" id {{ server.id }}", ""))
    assert sentence.endswith(
        "(line 8 of the text with sample servers: server sample-0-ready 192.0.2.11:20001 weight 37)"
    )


def test_line_in_an_included_file_is_named_by_that_file() -> None:
    """The template that includes it has no such line."""
    part = Part("servers.j2", LINE.replace(" id {{ server.id }}", ""), "p/servers.j2")
    (sentence, *_) = broken(GOOD.replace(LINE, '{% include "servers.j2" %}\n'), part)
    assert sentence.startswith("p/servers.j2:1: a server line has no `id`")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("server {{ server.name }}", 'server "{{ server.name }}"'),
        ("{{ proxy.runtime_socket }}", "unix@{{ proxy.runtime_socket }}"),
        ("{{ proxy.runtime_socket }}", '"${SOCKET}"'),
        (LINE, LINE + "    server sorry 127.0.0.1:9 backup\n"),
        ("{% for server in", "    server sorry 127.0.0.1:9 backup\n{% for server in"),
        (LINE, f".if feature(OPENSSL)\n{LINE}.else\n{LINE}.endif\n"),
        (OFF, f" check{OFF} # a remark with id and weight"),
        (LINE, LINE.replace("    server", "    default-server check\n    server")),
        (GOOD[:6], "global\n    stats socket /run/other.sock level user\n" + GOOD[6:6]),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_right_in_another_way_is_left_alone(old: str, new: str) -> None:
    """Quotes, a socket among several, servers of the template's own, and what cannot be judged from the text."""
    assert old in GOOD
    assert broken(GOOD.replace(old, new, 1)) == ()

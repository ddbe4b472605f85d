"""The explanation of a rejected configuration."""

from __future__ import annotations

from rosterd.rejection import explain, template_line

TEMPLATE = """\
{% for service in services %}
backend {{ service.name }}
    balance {{ service.balance }}
    option httpchk
{% for server in service.servers %}
    server {{ server.name }} {{ server.address }}
    {%- if server.state == "maint" %} disabled{% endif +%}
{% endfor %}
{% endfor %}
frontend a
    option httplog
    {{ anything }}
frontend b
    option httplog
"""
TEXT = "backend nodes\n    balance wrong\n    option httpchk\n    server a 10.0.0.1 disabled\nfrontend a\n"


def test_explanation_quotes_each_line_that_the_message_names() -> None:
    """HAProxy's own words stay, and the number means something although the candidate is gone."""
    message = "parsing [/x/h.cfg:2] : unknown algorithm\nparsing [/x/h.cfg:2] : again"
    assert explain(message, "/x/h.cfg", TEXT, TEMPLATE) == (
        f"{message}\nline 2 is: balance wrong, from line 3 of the template"
    )


def test_line_that_does_not_exist_is_not_quoted() -> None:
    """The last line of a text is empty, and a message may name another file."""
    for message in ("[/x/h.cfg:6] : short", "[/x/h.cfg:99] : long", "[/x/other:2] : other", "no number"):
        assert explain(message, "/x/h.cfg", TEXT, TEMPLATE) == message


def test_template_line_is_named_only_when_no_other_can_have_made_the_text() -> None:
    """The same line stands in both frontends, and a line that is all expression can become anything."""
    assert template_line("    option httpchk", TEMPLATE) == 4
    assert template_line("backend nodes", TEMPLATE) == 2
    assert template_line("    option httplog", TEMPLATE) is None
    assert template_line("bogus", TEMPLATE) is None
    assert template_line("", TEMPLATE) is None


def test_line_that_the_next_one_continues_is_found() -> None:
    """The template takes the line break away there."""
    assert template_line("    server a 10.0.0.1 disabled", TEMPLATE) == 6

"""How HAProxy's configuration is split into lines, words and sections."""

from __future__ import annotations

import pytest

from rosterd.config_lines import Section, config_lines, template_numbers
from rosterd.config_text import read_contents
from rosterd.server_lines import ServerLines


@pytest.mark.parametrize(
    ("line", "written", "words"),
    [
        ("  server  web1\t10.0.0.1:80  check # no", ["server", "web1", "10.0.0.1:80", "check"], None),
        ('acl a path "/x y" # no', ["acl", "a", "path", '"/x y"'], ["acl", "a", "path", "/x y"]),
        (
            "http-request set-header X 'a # b'",
            ["http-request", "set-header", "X", "'a # b'"],
            [None, None, None, "a # b"],
        ),
        (r"acl a path /x\ y\#z", ["acl", "a", "path", r"/x\ y\#z"], ["acl", "a", "path", "/x y#z"]),
        (r'log-format "say \"hi\" $NAME"', ["log-format", r'"say \"hi\" $NAME"'], ["log-format", 'say "hi" $NAME']),
        ('"server" we"b"1 x', ['"server"', 'we"b"1', "x"], ["server", "web1", "x"]),
    ],
)
def test_words_are_those_that_haproxy_reads(line: str, written: list[str], words: list[str | None] | None) -> None:
    """A comment is none of them; `written` keeps quotes and escapes."""
    (found,) = config_lines(line)
    assert found.written == written
    expected = written if words is None else [word or kept for word, kept in zip(words, written, strict=True)]
    assert list(found.words) == expected
    assert found.is_plain is (written == expected)


def test_lines_know_section_condition_and_number() -> None:
    """Blank lines and comments count as lines and yield nothing."""
    text = (
        'global\n\n# comment\n daemon\ndefaults base\nbackend "no des" from base\n'
        " .if defined(X)\n server a b\n .endif\n server c d"
    )
    lines = list(config_lines(text))
    assert [line.number for line in lines] == [1, 4, 5, 6, 7, 8, 9, 10]
    assert [line.is_conditional for line in lines] == [False] * 4 + [True, True, False, False]
    assert lines[-1].section == Section("backend", "no des", "base", 'backend "no des" from base')
    assert [line.number for line in lines if line.begins_section] == [1, 5, 6]


def test_vertical_tab_and_form_feed_end_no_line() -> None:
    """Python's `splitlines` ends lines where HAProxy does not."""
    assert len(list(config_lines("server a b\x0bserver c d\x85e"))) == 1


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", range(1, 4)), ("2-4", range(2, 5)), ("x", range(0)), ("1-", range(0)), ("", range(0))]
)
def test_numbers_of_a_server_template(text: str, numbers: range) -> None:
    """`N` counts from one, `LOW-HIGH` from the low one; anything else makes no server."""
    assert template_numbers(text) == numbers


QUOTED = (
    'global\n stats socket "/run/r.sock" level admin\nbackend "nodes"\n "server" "web1" 10.0.0.1:80 id 7 weight 5\n'
)


def test_each_reader_understands_a_quoted_name() -> None:
    """Quotes around a section, a keyword or a server change nothing for HAProxy, and nothing here."""
    contents = read_contents(QUOTED, {"nodes": {"web1"}})
    assert list(contents.options) == [("nodes", "web1")]
    assert ServerLines(QUOTED, "2.6.12").addition("nodes", "web1").obstacle == "its line has quotes or escapes"

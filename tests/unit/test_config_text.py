"""A configuration text in parts: what belongs to its frame, what is a server's option, what is the template's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.config_text import frame_changes, frame_digest, read_contents
from rosterd.model import FrameLine, LineChange

MEMBERS = {"nodes": frozenset({"a", "b"})}
TEXT = "global\n    maxconn 9\nbackend nodes\n    # two\n    server a 10.0.0.1:80 id 1 weight 3 check\n"


class TestFrame:
    """Two frames are equal where only what can be changed at run time differs."""

    @pytest.mark.parametrize(
        ("old", "new", "differs"),
        [
            pytest.param("# two", "# three and\n\n", False, id="a comment"),
            pytest.param("maxconn 9", "maxconn   9 # why", False, id="blanks"),
            pytest.param("10.0.0.1:80 id 1 weight 3", "10.0.0.2:81 id 2 weight 4", False, id="sent at run time"),
            pytest.param("check\n", "check\n    server b 10.0.0.2:80\n", False, id="a member's server"),
            pytest.param("    server a 10.0.0.1:80 id 1 weight 3 check\n", "", False, id="no server"),
            pytest.param("check\n", "check\n    server sorry 10.0.0.2:80\n", True, id="a server of the template's own"),
            pytest.param("maxconn 9", "maxconn 8", True, id="another line"),
            pytest.param("maxconn 9", "", True, id="a line less"),
            pytest.param("# two", "use-server a if { src 10.0.0.1 }", True, id="a line by member"),
            pytest.param("# two", "http-request deny if { hdr(x) '#1' }", True, id="a sharp in quotes"),
        ],
    )
    def test_lines_that_count(self, old: str, new: str, differs: bool) -> None:  # noqa: FBT001  a table's column
        """The digest differs exactly where a line of the frame does, and then the lines are named."""
        one, other = (read_contents(text, MEMBERS) for text in (TEXT, TEXT.replace(old, new)))
        assert (frame_digest(one) != frame_digest(other)) is differs
        assert bool(frame_changes(one, other)) is differs

    def test_what_is_quoted_behind_a_sharp_counts(self) -> None:
        """A sharp in quotes or behind a backslash begins no comment."""
        for line in ('http-request set-header x "#%d"', "http-request set-header x '#%d'", "acl x str \\#%d"):
            one, other = (read_contents(f"global\n{line % number}\n", {}) for number in (1, 2))
            assert one.frame != other.frame

    def test_servers_of_other_sections(self) -> None:
        """In `peers`, in `ring` and in a backend that is no service, a server line is a line like any other."""
        text = "peers p\n server a 10.0.0.1:80\nring r\n server a 10.0.0.1:80\nbackend other\n server a 10.0.0.1:80\n"
        found = read_contents(text, MEMBERS)
        assert [each.line for each in found.frame].count("server a 10.0.0.1:80") == 3
        assert (found.options, found.template_servers) == ({}, {})

    def test_the_digest_of_the_structure_is_no_line(self) -> None:
        """The digest would differ each time; other descriptions are lines."""
        one = read_contents("global\n description rosterd:1\n", {})
        assert (one.structure, one.frame) == ("1", (FrameLine("global", "global"),))
        other = read_contents("global\n description mine\nbackend x\n description rosterd:1\n", {})
        assert (other.structure, len(other.frame)) == ("", 4)

    def test_lines_are_named_with_their_section(self) -> None:
        """Those that are gone first; a line that stands twice and once is named once."""
        one = read_contents("frontend f\n bind :80\n bind :81\n bind :81\n", {})
        other = read_contents("frontend f\n bind :80\n bind :81\n bind :82\n", {})
        assert frame_changes(one, other) == (
            LineChange(False, "frontend f", "bind :81"),
            LineChange(True, "frontend f", "bind :82"),
        )

    def test_lines_that_moved(self) -> None:
        """The order of rules counts."""
        one, other = (read_contents(f"frontend f\n {a}\n {b}\n", {}) for a, b in (("x", "y"), ("y", "x")))
        assert [(each.is_added, each.line) for each in frame_changes(one, other)] == [
            (False, "x"),
            (False, "y"),
            (True, "y"),
            (True, "x"),
        ]


class TestOptions:
    """All that a member's server line says besides what is compared by itself."""

    def test_with_the_defaults_that_hold_there(self) -> None:
        """Of the section and of the `defaults` that it starts from; those below the line are for others."""
        text = (
            "defaults one\n default-server inter 1s\ndefaults\n default-server weight 5 check\n"
            "backend nodes from one\n default-server rise 2\n"
            " server a 10.0.0.1:80 id 5 weight 9 disabled backup\n default-server fall 3\n server b 10.0.0.2:80\n"
        )
        found = read_contents(text, MEMBERS).options
        assert found["nodes", "a"] == ("inter", "1s", "rise", "2", "backup")
        assert found["nodes", "b"] == ("inter", "1s", "rise", "2", "fall", "3")

    def test_words_in_quotes_stay_whole(self) -> None:
        """Their blanks count, and `weight` behind them is found all the same."""
        line = 'server a 10.0.0.1:80 sni "str(a  b)" weight 3 check # it\'s ours'
        assert read_contents(f"backend nodes\n {line}\n", MEMBERS).options["nodes", "a"] == (
            "sni",
            '"str(a  b)"',
            "check",
        )


class TestTemplateServers:
    """Servers of a service's section that no member is behind."""

    def test_with_their_ids(self) -> None:
        """The id is None where HAProxy numbers the server itself."""
        text = "listen nodes\n server sorry 10.0.0.9:80 backup id 7\n server a 10.0.0.1:80\n server far b.example:80\n"
        assert read_contents(text, MEMBERS).template_servers == {("nodes", "sorry"): 7, ("nodes", "far"): None}

    @pytest.mark.parametrize(
        ("numbers", "names"), [("3", ["x1", "x2", "x3"]), ("4-5", ["x4", "x5"]), ("5-4", []), ("x", [])]
    )
    def test_those_of_a_server_template(self, numbers: str, names: list[str]) -> None:
        """The line makes as many servers as it says."""
        found = read_contents(f"backend nodes\n server-template x {numbers} b.example:80 check\n", MEMBERS)
        assert [name for _, name in found.template_servers] == names


WORDS = ("backend", "defaults", "listen", "server", "server-template", "default-server", "nodes", "a", "from", "#", '"')


@given(st.lists(st.sampled_from(WORDS)), st.text())
def test_any_text_can_be_read(words: list[str], text: str) -> None:
    """A template may hold anything; a text is level with itself."""
    for source in (text, "\n".join(words), " ".join(words)):
        found = read_contents(source, MEMBERS)
        assert frame_changes(found, read_contents(source, MEMBERS)) == ()
        frame_digest(found)

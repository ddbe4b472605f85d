"""The mirror of Debian, found in apt's sources of both formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.apt_sources import Source, debian_mirror, parse_lines, parse_paragraphs, read_sources

PARAGRAPHS = """\
# The file of a container image.
Types: deb
# A comment within a paragraph.
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_lines_are_read_with_options_and_comments() -> None:
    """Options in brackets, comments and source packages are not part of an archive's address."""
    text = (
        "# deb http://old.example/debian bookworm main\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/x y] http://mirror.example/debian/ bookworm main contrib # our own\n"
    )
    assert [*parse_lines(text)] == [Source("http://mirror.example/debian", ("bookworm",), ("main", "contrib"))]


def test_paragraphs_are_read() -> None:
    """Comments between fields belong to no field, and each paragraph is a source of its own."""
    assert [*parse_paragraphs(PARAGRAPHS)] == [
        Source("http://mirror.example/debian", ("bookworm", "bookworm-updates"), ("main",)),
        Source("http://mirror.example/debian-security", ("bookworm-security",), ("main",)),
    ]


def test_paragraph_with_several_addresses_gives_a_source_each() -> None:
    """A field may go on in lines that begin with a blank; field names are not case sensitive."""
    text = (
        "types: deb deb-src\nuris:\n http://one.example/debian\n http://two.example/debian\n"
        "Suites: sid\nComponents: main\n"
    )
    assert [source.uri for source in parse_paragraphs(text)] == [
        "http://one.example/debian",
        "http://two.example/debian",
    ]


@pytest.mark.parametrize("field", ["Enabled: no", "Types: deb-src"])
def test_paragraph_that_gives_no_packages_is_left_out(field: str) -> None:
    """Disabled sources and those of source packages are left out."""
    fields = "URIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n"
    types = "" if field.startswith("Types") else "Types: deb\n"
    assert [*parse_paragraphs(f"{types}{field}\n{fields}")] == []


@pytest.mark.parametrize(
    "other",
    [
        "deb http://mirror.example/debian-security bookworm-security main",
        "deb http://mirror.example/debian-security bookworm main",
        "deb http://vendor.example bookworm main",
        "deb http://vendor.example/debian/12/prod bookworm main",
        "deb http://vendor.example/linux/debian bookworm stable",
        "deb http://mirror.example/ubuntu noble main",
    ],
)
def test_another_archive_is_no_mirror(other: str) -> None:
    """The security archive, a vendor's archive and another distribution do not hold Debian's packages."""
    assert debian_mirror(parse_lines(other)) is None
    both = f"{other}\ndeb https://mirror.example/debian trixie main\n"
    assert debian_mirror(parse_lines(both)) == "https://mirror.example/debian"


@pytest.mark.parametrize("uri", ["mirror+file:///etc/apt/mirrors/debian.list", "https://cache.example/debian-remote"])
def test_mirror_list_and_cache_are_mirrors(uri: str) -> None:
    """Cloud images name a list of mirrors, company networks a cache."""
    assert debian_mirror(parse_lines(f"deb {uri} trixie main")) == uri


def test_files_are_read_in_order_by_their_format(tmp_path: Path) -> None:
    """A file with another ending is none of apt's, and a file that is missing is no error."""
    old, new, saved = tmp_path / "sources.list", tmp_path / "debian.sources", tmp_path / "debian.sources.save"
    old.write_text("deb http://old.example/debian bookworm main\n", encoding="utf-8")
    new.write_text(PARAGRAPHS, encoding="utf-8")
    saved.write_text(PARAGRAPHS, encoding="utf-8")
    assert debian_mirror(read_sources([saved, tmp_path / "missing.list", old, new])) == "http://old.example/debian"
    assert debian_mirror(read_sources([saved, new, old])) == "http://mirror.example/debian"
    assert read_sources([saved]) == ()

"""The files that an operator edits, and the last good template."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosterd.errors import ConfigFileError, SettingsError, TemplateError
from rosterd.render import compile_template
from rosterd.sources import Sources


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Settings, a template, and a directory for the state."""
    (tmp_path / "rosterd.toml").write_text("[policy]\nhold_s = 7\n", encoding="utf-8")
    (tmp_path / "haproxy.cfg.j2").write_text("global\n", encoding="utf-8")
    (tmp_path / "state").mkdir()
    return Sources(tmp_path / "rosterd.toml", tmp_path / "haproxy.cfg.j2", tmp_path / "state")


def test_both_files_are_read_each_time(sources: Sources) -> None:
    """An edit is seen by reading again."""
    assert sources.settings().policy.hold_s == 7
    assert sources.template().source == "global\n"
    sources.template_file.write_text("defaults\n", encoding="utf-8")
    assert sources.template().source == "defaults\n"


def test_both_files_are_watched(sources: Sources) -> None:
    """Without a settings file the template alone."""
    assert sources.edited == (sources.settings_file, sources.template_file)
    assert Sources(None, sources.template_file, sources.state_dir).edited == (sources.template_file,)


def test_broken_files_are_errors_of_ours(sources: Sources) -> None:
    """Each names the file, and the line or byte where there is one."""
    sources.template_file.write_text("global\n{% if %}\n", encoding="utf-8")
    with pytest.raises(TemplateError, match=f"^{sources.template_file}:2: "):
        sources.template()
    sources.template_file.write_bytes(b"# \xe9\n")
    with pytest.raises(TemplateError, match=rf"^{sources.template_file}: is not UTF-8 \(byte 2\); "):
        sources.template()
    sources.template_file.unlink()
    with pytest.raises(
        TemplateError, match=rf"^{sources.template_file}: cannot be read: No such .*proxy\.template_file"
    ):
        sources.template()
    assert sources.settings_file is not None
    sources.settings_file.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        sources.settings()


def test_a_good_template_is_kept(sources: Sources) -> None:
    """It is there when the daemon starts again, and nothing is left beside it."""
    assert sources.good_template() is None
    sources.keep_good(sources.template())
    good = sources.good_template()
    assert good is not None
    assert good.source == "global\n"
    assert len(list(sources.state_dir.iterdir())) == 1


def test_the_same_template_is_not_written_again(sources: Sources) -> None:
    """A new one replaces it whole."""
    sources.keep_good(sources.template())
    (kept,) = sources.state_dir.iterdir()
    before = kept.stat().st_ino
    sources.keep_good(sources.template())
    assert kept.stat().st_ino == before
    sources.keep_good(compile_template("defaults\n", "t.j2"))
    assert kept.read_text(encoding="utf-8") == "defaults\n"


@pytest.mark.parametrize("content", [b"{% if %}", b"\xff"])
def test_a_kept_template_that_cannot_be_used_is_none(sources: Sources, content: bytes) -> None:
    """Somebody damaged it: there is nothing to fall back to, and the next good one takes its place."""
    sources.keep_good(sources.template())
    (kept,) = sources.state_dir.iterdir()
    kept.write_bytes(content)
    assert sources.good_template() is None
    sources.keep_good(sources.template())
    assert sources.good_template() == compile_template("global\n", str(kept))


def test_a_state_directory_that_is_gone(sources: Sources) -> None:
    """The error names the file that cannot be kept."""
    sources.state_dir.rmdir()
    with pytest.raises(ConfigFileError, match=f"^{sources.state_dir}/.*: the last good template cannot be kept"):
        sources.keep_good(sources.template())


class TestIncludes:
    """Files below the template's folder that it includes."""

    def test_included_files_are_read_and_named(self, sources: Sources) -> None:
        """Also those of an included file, each once, and those that are not there."""
        folder = sources.template_file.parent
        (folder / "parts").mkdir()
        (folder / "parts" / "a.j2").write_text("{% include 'b.j2' %}", encoding="utf-8")
        (folder / "b.j2").write_text("b", encoding="utf-8")
        source = "{% include 'parts/a.j2' %}{% include 'b.j2' %}{% include 'c.j2' ignore missing %}"
        sources.template_file.write_text(source, encoding="utf-8")
        text = sources.template_text()
        names = ("b.j2", "c.j2", "parts/a.j2")
        assert text.files == (sources.template_file, *(folder / name for name in names))
        assert [part.name for part in text.compiled().parts] == ["b.j2", "parts/a.j2"]

    def test_included_file_that_cannot_be_read_is_named_with_the_line(self, sources: Sources) -> None:
        """The absent file is among the files to be watched: it may come."""
        sources.template_file.write_text("global\n{% include 'a.j2' %}\n", encoding="utf-8")
        expected = f"^{sources.template_file}:2: a.j2 cannot be read: No such file or directory; it has to be in"
        with pytest.raises(TemplateError, match=expected):
            sources.template()
        assert sources.template_file.parent / "a.j2" in sources.template_text().files
        (sources.template_file.parent / "a.j2").write_bytes(b"\xff")
        with pytest.raises(TemplateError, match=r":2: a\.j2 is not UTF-8 \(byte 0\)"):
            sources.template()

    def test_kept_template_has_its_included_files(self, sources: Sources) -> None:
        """The kept template works after one of them was broken or removed, and is equal to what was kept."""
        part = sources.template_file.parent / "a.j2"
        part.write_text("a {{ structure }}", encoding="utf-8")
        sources.template_file.write_text("{% include 'a.j2' %}", encoding="utf-8")
        proven = sources.template()
        sources.keep_good(proven)
        part.write_text("{% if %}", encoding="utf-8")
        good = sources.good_template()
        assert good == proven
        assert good is not None
        assert good.compiled.render(structure="s") == "a s"
        part.unlink()
        assert sources.good_template() == proven

    def test_edit_of_an_included_file_makes_another_template(self, sources: Sources) -> None:
        """The template's own text is the same."""
        part = sources.template_file.parent / "a.j2"
        part.write_text("a", encoding="utf-8")
        sources.template_file.write_text("{% include 'a.j2' %}", encoding="utf-8")
        before = sources.template()
        part.write_text("b", encoding="utf-8")
        assert sources.template() != before

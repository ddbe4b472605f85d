from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from compose.model import ClusterError
from compose.plain_path import plain


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, with a plain path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_plain_path_stays_as_it_is(folder: Path) -> None:
    """No link is made where none is needed."""
    assert plain(Path("/srv/rosterd-1.0/.run/web_1")) == Path("/srv/rosterd-1.0/.run/web_1")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["a clone", "clöne", "50%", "a,b", "it's"])
def test_other_path_is_reached_through_a_plain_link(folder: Path, name: str) -> None:
    """The same link each time, in a folder of this user alone; a link that points elsewhere is another path's."""
    target = folder / name
    target.mkdir()
    (target / "file").touch()
    link = plain(target)
    assert link == plain(target)
    assert link.resolve() == target
    assert (link / "file").exists()
    assert plain(link) == link
    assert link.parent.stat().st_mode & 0o777 == 0o700


def test_folder_of_links_that_others_can_write_is_refused(folder: Path) -> None:
    """A link there could be replaced by another user."""
    plain(folder / "a clone").parent.chmod(0o777)
    with pytest.raises(ClusterError, match="is not a folder of this user alone; remove it, or set TMPDIR"):
        plain(folder / "b clone")

"""The directory in which a command checks."""

from __future__ import annotations

from pathlib import Path

from rosterd.proxy.mirror import mirror_of


def test_relative_paths_lead_where_they_lead_beside_the_file(tmp_path: Path) -> None:
    """Beside it, below it, and beside its directory; and nothing of it stays."""
    home = tmp_path / "etc" / "haproxy"
    for name in ("haproxy/page.http", "haproxy/certs/a.pem", "shared/b.pem"):
        (home.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (home.parent / name).write_text(name, encoding="utf-8")
    with mirror_of(home) as mirror:
        assert (mirror / "page.http").read_text(encoding="utf-8") == "haproxy/page.http"
        assert (mirror / "certs/a.pem").read_text(encoding="utf-8") == "haproxy/certs/a.pem"
        assert (mirror / "../shared/b.pem").read_text(encoding="utf-8") == "shared/b.pem"
        (mirror / "haproxy.cfg").write_text("checked", encoding="utf-8")
    assert not mirror.exists()
    assert not (home / "haproxy.cfg").exists()
    assert (home / "page.http").exists()


def test_directory_that_is_not_there_has_an_empty_mirror(tmp_path: Path) -> None:
    """Before the first start there is none, and a check may come before that."""
    with mirror_of(tmp_path / "absent" / "haproxy") as mirror:
        assert list(mirror.iterdir()) == []

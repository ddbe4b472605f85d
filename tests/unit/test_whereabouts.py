"""Commands find the daemon also while its settings are broken: it goes on, and they must be able to ask it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosterd.errors import SettingsError
from rosterd.whereabouts import listen_of


def settings(tmp_path: Path, text: str) -> Path:
    """Write a settings file."""
    file = tmp_path / "rosterd.toml"
    file.write_text(text)
    return file


def test_good_settings_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word."""
    assert listen_of(settings(tmp_path, '[admin]\nlisten = "127.0.0.9:81"\n')) == "127.0.0.9:81"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "mistake",
    ["foo = 1", "[proxy]\nfoo = 1", "[[services]]\nname = 'nodes'\nport = 99999", "[serf]\nauth_key_file = '/absent'"],
)
def test_mistakes_elsewhere_are_warned_of(tmp_path: Path, mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And the daemon is asked all the same."""
    file = settings(tmp_path, f"{mistake}\n" if mistake == "foo = 1" else "")
    with file.open("a") as more:
        more.write('[admin]\nlisten = "127.0.0.9:81"\n')
        more.write("" if mistake == "foo = 1" else f"{mistake}\n")
    assert listen_of(file) == "127.0.0.9:81"
    assert "the settings are not valid; asking at 127.0.0.9:81" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[admin", "[admin]\nlisten = 1\n", "[admin]\nfoo = 1\n"])
def test_where_that_cannot_be_had_the_mistakes_are_told(tmp_path: Path, text: str) -> None:
    """All of them, as by any other command."""
    with pytest.raises(SettingsError):
        listen_of(settings(tmp_path, f"{text}\n"))


def test_the_environment_goes_before_a_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ever."""
    monkeypatch.setenv("ROSTERD_ADMIN__LISTEN", "127.0.0.8:82")
    assert listen_of(settings(tmp_path, "foo = 1\n")) == "127.0.0.8:82"

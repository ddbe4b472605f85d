from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from webapp.settings import WebappSettings, WebappSettingsError, read_settings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "sixteen letters!"  # noqa: S105  opens nothing


def test_the_least_that_is_needed() -> None:
    """A name and a secret do; the rest has defaults."""
    assert read_settings({"NODE": "s1", "WEBAPP_SECRET": SECRET}) == WebappSettings("s1", "0.0.0.0", 3000, SECRET)  # noqa: S104  the documented default


def test_everything_given(tmp_path: Path) -> None:
    """The secret may come from a file, whose final newline does not count."""
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    environ = {
        "NODE": "s1",
        "NODE_ADDRESS": "127.9.9.9",
        "SERVICE_PORT": "8000",
        "WEBAPP_SECRET_FILE": str(path),
    }

    assert read_settings(environ) == WebappSettings("s1", "127.9.9.9", 8000, SECRET)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("10.1.0.0/16",)),
        ("own", ("10.1.0.0/16",)),
        ("192.0.2.0/24, own,2001:db8::/32", ("192.0.2.0/24", "10.1.0.0/16", "2001:db8::/32")),
        ("0.0.0.0/0", ("0.0.0.0/0",)),
    ],
)
def test_networks_that_may_set_the_delay(text: str, expected: tuple[str, ...]) -> None:
    """This machine's own unless the variable says otherwise."""
    environ = {"NODE": "s1", "WEBAPP_SECRET": SECRET, "WEBAPP_DELAY_FROM": text}
    settings = read_settings(environ, [ip_network("10.1.0.0/16")])
    assert settings.delay_from == tuple(map(ip_network, expected))


def test_a_network_that_is_none_is_named() -> None:
    """With the variable."""
    with pytest.raises(WebappSettingsError, match=r"WEBAPP_DELAY_FROM: '10\.1\.2\.3/16' is neither a network"):
        read_settings({"NODE": "s1", "WEBAPP_SECRET": SECRET, "WEBAPP_DELAY_FROM": "own,10.1.2.3/16"})


def test_all_mistakes_at_once() -> None:
    """Each wrong variable is named in one go."""
    with pytest.raises(WebappSettingsError) as caught:
        read_settings({"NODE_ADDRESS": "here", "SERVICE_PORT": "0", "WEBAPP_SECRET": "short"})

    keys = [problem.split(":")[0] for problem in caught.value.problems]
    assert keys == ["NODE", "NODE_ADDRESS", "SERVICE_PORT", "WEBAPP_SECRET"]


@pytest.mark.parametrize("port", ["-1", "65536", "80 ", "٣٠٠٠", "1" * 5000, "0x50"])
def test_an_impossible_port_is_refused(port: str) -> None:
    """Only plain decimal digits in range are a port."""
    with pytest.raises(WebappSettingsError, match="SERVICE_PORT"):
        read_settings({"NODE": "s1", "WEBAPP_SECRET": SECRET, "SERVICE_PORT": port})


def test_a_secret_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The message names the variable and the file."""
    path = tmp_path / "absent"
    with pytest.raises(WebappSettingsError, match=f"WEBAPP_SECRET_FILE: cannot read {path}"):
        read_settings({"NODE": "s1", "WEBAPP_SECRET_FILE": str(path)})


def test_two_secrets_are_one_too_many(tmp_path: Path) -> None:
    """Which one counts is not guessed."""
    environ = {"NODE": "s1", "WEBAPP_SECRET": SECRET, "WEBAPP_SECRET_FILE": str(tmp_path)}
    with pytest.raises(WebappSettingsError, match="given twice"):
        read_settings(environ)


def test_the_secret_does_not_show() -> None:
    """A logged settings object gives nothing away."""
    assert SECRET not in repr(read_settings({"NODE": "s1", "WEBAPP_SECRET": SECRET}))

"""The real HAProxy takes what is rendered, also with each edit that the template guide shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rosterd.proxy.server_state import NO_HEALTH
from rosterd.render import compile_template, render
from rosterd.settings import ProxySettings, ServiceSettings
from tests.certificate import Certificate
from tests.fixtures.render.record import CASES, FOLDER, TREE
from tests.generated_docs import GUIDE, template_with
from tests.haproxy_process import BINARY
from tests.markdown import Page

OF_THE_READERS_OWN_FILE = "from-a-haproxycfg-that-you-have"
CHAPTERS = sorted(
    {block.anchor for block in Page(GUIDE).blocks if block.language == "diff"} - {OF_THE_READERS_OWN_FILE}
)


@pytest.mark.parametrize("case", CASES)
def test_haproxy_accepts_each_golden_file(case: str) -> None:
    """Golden files are what a person read, and also what HAProxy can read."""
    command = [BINARY, "-c", "-f", str(FOLDER / f"{case}.cfg")]
    result = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_haproxy_accepts_each_edit_that_the_guide_shows(chapter: str, tmp_path: Path) -> None:
    """With services of both modes: the lines are those of the shipped template, and what comes out is valid."""
    (tmp_path / "tls").mkdir()
    bundle = Certificate.make(tmp_path, "site.example", "127.0.0.1").bundle
    (tmp_path / "tls" / "site.pem").write_text(bundle, encoding="ascii")
    proxy = ProxySettings(
        http_bind=":80,:443",
        config_file=tmp_path / "haproxy.cfg",
        template_file=tmp_path / "haproxy.cfg.j2",
        runtime_socket=tmp_path / "haproxy.sock",
    )
    proxy.server_state_file.write_text(NO_HEALTH, encoding="utf-8")  # as the daemon does when it starts
    services = (ServiceSettings(name="nodes"), ServiceSettings(name="postgres", mode="tcp", bind=":5432"))
    text = render(compile_template(template_with(chapter), chapter), "s", proxy, services, ())
    (tmp_path / "haproxy.cfg").write_text(text, encoding="utf-8")
    command = [BINARY, "-c", "-f", str(tmp_path / "haproxy.cfg")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, "")

"""What is read from the engine and from the collector, and where the base image's packages come from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.containers import Container, parse_container
from compose.engine import EngineError
from compose.images import debian_mirror
from compose.logs import parse_collected
from compose.network import free_ports

ID = "0123456789abcdef" * 4
DESCRIBED: dict[str, Any] = {
    "Id": ID,
    "Name": "/rosterd_webapp_12",
    "State": {"Running": True, "Paused": False, "ExitCode": 0, "Health": {"Status": "healthy"}},
    "Config": {"Hostname": "0123456789ab", "Labels": {"com.docker.compose.service": "webapp"}},
    "NetworkSettings": {"Networks": {"rosterd_nodes": {"IPAddress": "172.18.0.5"}}},
}


@pytest.fixture
def berlin() -> Iterator[None]:
    """A machine whose time is not that of its containers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


class TestContainer:
    """One container, as `docker inspect` describes it."""

    def test_one_that_runs(self) -> None:
        """Its address is that on the network of nodes."""
        found = parse_container(DESCRIBED, "rosterd_nodes")
        assert found == Container(ID, "rosterd_webapp_12", "0123456789ab", "webapp", "172.18.0.5", True, 0, "healthy")

    @pytest.mark.parametrize("state", [{"Running": False, "Paused": False}, {"Running": True, "Paused": True}])
    def test_one_that_does_not_run(self, state: dict[str, bool]) -> None:
        """Stopped, or standing still; without a health check, without a network."""
        described = DESCRIBED | {"State": state | {"ExitCode": 137}, "NetworkSettings": {"Networks": {}}}
        found = parse_container(described, "rosterd_nodes")
        assert (found.is_running, found.exit_code, found.address, found.health) == (False, 137, "", "")

    @pytest.mark.parametrize(("name", "number"), [("/p_webapp_2", 2), ("/p-webapp-10", 10), ("/p_webapp_run_x", 0)])
    def test_they_are_told_apart_by_number(self, name: str, number: int) -> None:
        """As compose 1 and compose 2 write it."""
        assert parse_container(DESCRIBED | {"Name": name}, "n").number == number


class TestMirror:
    """Where debootstrap gets its packages."""

    def test_as_this_machine_has_it(self, tmp_path: Path) -> None:
        """The first address of apt's own sources, in both formats."""
        old, new = tmp_path / "sources.list", tmp_path / "debian.sources"
        old.write_text("# deb\ndeb [signed-by=/x] http://mirror.example/debian/ bookworm main\n")
        new.write_text("Types: deb\nURIs: https://other.example/debian\nSuites: trixie\nComponents: main\n")
        assert debian_mirror([old, new]) == "http://mirror.example/debian"
        assert debian_mirror([new, old]) == "https://other.example/debian"

    def test_where_there_is_none(self, tmp_path: Path) -> None:
        """It is told; files that apt does not read are not read."""
        other = tmp_path / "sources.list.save"
        other.write_text("deb http://mirror.example/debian bookworm main\n")
        with pytest.raises(EngineError, match="no mirror"):
            debian_mirror([other])


class TestCollected:
    """Lines of the collector's file."""

    def test_a_structured_line(self) -> None:
        """It is the line that the program wrote."""
        record = {"event": "member.joined", "level": "info", "time": "2026-01-02T03:04:05.6Z", "member": "a"}
        line = parse_collected(json.dumps({"time": "x", "node": "n1", "program": "rosterd", "record": record}))
        assert line is not None
        assert (line.node, line.program, line.event, line.text) == ("n1", "rosterd", "member.joined", "member=a")
        assert str(line.at) == "2026-01-02 03:04:05.600000+00:00"

    @pytest.mark.usefixtures("berlin")
    @pytest.mark.parametrize(
        ("program", "text", "level", "shown"),
        [
            ("haproxy", "[WARNING] x", "warning", "x"),
            ("serf", "    2026/01/02 03:04:04 [WARN] agent: x", "warning", "agent: x"),
            ("supervisord", "2026-01-02 03:04:04,999 INFO spawned: x", "info", "spawned: x"),
        ],
    )
    def test_a_line_of_text(self, program: str, text: str, level: str, shown: str) -> None:
        """With the time at which it was read: what the program wrote is the container's time, which has no zone."""
        raw = {"time": "2026-01-02T03:04:05+00:00", "node": "n1", "program": program, "text": text}
        line = parse_collected(json.dumps(raw))
        assert line is not None
        assert (line.level, line.text, str(line.at)) == (level, shown, "2026-01-02 03:04:05+00:00")

    def test_a_record_without_a_time(self) -> None:
        """It has the time at which it was read, too."""
        raw = {"time": "2026-01-02T03:04:05+00:00", "node": "n1", "program": "app", "record": {"event": "a.b"}}
        line = parse_collected(json.dumps(raw))
        assert line is not None
        assert str(line.at) == "2026-01-02 03:04:05+00:00"

    @pytest.mark.parametrize("raw", ["", "x", "[]", "{}", '{"node": "a"}', '{"node": "a", "program": "b"}'])
    def test_what_is_no_line(self, raw: str) -> None:
        """Is passed over."""
        assert parse_collected(raw) is None


def test_ports_for_a_second_balancer() -> None:
    """None of them is one of the first's."""
    first = free_ports("127.0.0.1")
    second = free_ports("127.0.0.1", above=first)
    assert second.http > first.http
    assert second.admin > first.admin

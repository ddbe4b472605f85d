"""The wall clock is stepped by an hour, back and forth: nothing is early, late or lost, for nothing asks it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.balancer import Balancer, throughout

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
HELD_S = 3.0


def test_a_wall_clock_that_is_stepped(tmp_path: Path) -> None:
    """A hold lasts as long as it should; requests go on; the log lines show that the steps were real."""
    if not LIBRARIES:
        pytest.skip("needs libfaketime (package faketime)")
    offset = tmp_path / "offset"
    set_clock(offset, "+0")
    with Balancer(tmp_path, {"policy": {"hold_s": HELD_S, "longest_hold_s": HELD_S}}) as balancer:
        balancer.daemon.environ = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        balancer.start()
        webs = [balancer.add_web() for _ in range(3)]
        balancer.wait_served(*webs)
        names = {web.name for web in webs}
        with balancer.traffic():
            for number, step in enumerate(("+3600", "-3600", "+0")):
                mark = balancer.daemon.mark()
                set_clock(offset, step)
                throughout(lambda: balancer.running_names() == names, 3.0, "every server in HAProxy")
                webs[0].agent.set_tags(weight=str(110 + number))
                told = balancer.daemon.wait_event("member.updated", mark)
                assert offset_of(told["time"]) == pytest.approx(int(step), abs=120)
            webs[2].agent.kill()
            webs[2].server.kill()
            set_clock(offset, "+3600")
            held = balancer.daemon.wait_event("server.held", within=60.0, server=webs[2].name)
            set_clock(offset, "-3600")
            released = balancer.daemon.wait_event("server.released", within=HELD_S + 10.0, server=webs[2].name)
        assert at(released["time"]) - at(held["time"]) < timedelta(0)
        balancer.wait_gone(webs[2].name)
        assert balancer.daemon.status()["reloads"] == 0


def set_clock(path: Path, offset: str) -> None:
    """Let the daemon's wall clock be so many seconds off from now on."""
    beside = path.with_name("offset~")
    beside.write_text(f"{offset}\n")
    beside.replace(path)


def at(text: str) -> datetime:
    """Return the time of a log line."""
    return datetime.fromisoformat(text)


def offset_of(text: str) -> float:
    """Return how many seconds a log line's time is ahead of the real one."""
    written = at(text)
    return (written - datetime.now(written.tzinfo)).total_seconds()

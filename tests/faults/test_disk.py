"""The disk fails: full, read-only, or files and directories are gone. Servers follow over the runtime socket anyway."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.balancer import Balancer

SIZE = "256k"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=10)


def mount(*arguments: str) -> None:
    """Run mount."""
    subprocess.run(["mount", *arguments], check=True, timeout=10)


def on_disk(directory: Path, disk: Path) -> Balancer:
    """Return a balancer whose configuration and state lie on the disk."""
    balancer = Balancer(directory)
    balancer.haproxy.config = disk / "haproxy.cfg"
    balancer.settings["proxy"] |= {"config_file": str(disk / "haproxy.cfg"), "state_dir": str(disk)}
    balancer.write_settings()
    return balancer


def file_error(balancer: Balancer) -> str:
    """Return what the daemon says about what it cannot do."""
    status: dict[str, Any] = balancer.daemon.status()
    return str(status["action_error"])


def fill(disk: Path) -> Path:
    """Leave no byte free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_a_full_disk(tmp_path: Path, disk: Path) -> None:
    """It is said, with what to do; nodes come and go all the same; when there is room the file is brought level."""
    with on_disk(tmp_path, disk) as balancer:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        filler = fill(disk)
        with balancer.traffic():
            second = balancer.add_web()
            balancer.until(lambda: second.address in balancer.answering(), "the newcomer to answer")
            balancer.until(lambda: "the disk is full" in file_error(balancer), "the daemon to say so")
            filler.unlink()
            balancer.wait_served(first, second)
        balancer.until(lambda: file_error(balancer) == "", "the error to be over")
        assert second.name in balancer.haproxy.config.read_text()
        assert balancer.daemon.status()["reloads"] == 0


def test_a_disk_that_is_read_only(tmp_path: Path, disk: Path) -> None:
    """The same, as after an error of a disk."""
    with on_disk(tmp_path, disk) as balancer:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        mount("-o", "remount,ro", str(disk))
        with balancer.traffic():
            second = balancer.add_web()
            balancer.until(lambda: second.address in balancer.answering(), "the newcomer to answer")
            balancer.until(lambda: "read-only" in file_error(balancer), "the daemon to say so")
            mount("-o", "remount,rw", str(disk))
            balancer.wait_served(first, second)
        balancer.until(lambda: file_error(balancer) == "", "the error to be over")
        assert second.name in balancer.haproxy.config.read_text()


def test_a_log_on_a_full_disk(tmp_path: Path, disk: Path) -> None:
    """Lines are lost, and nothing else."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        assert balancer.daemon.end() == 0
        (disk / "rosterd.log").touch()
        log = tmp_path / "rosterd.log"
        log.unlink()
        log.symlink_to(disk / "rosterd.log")
        fill(disk)
        balancer.daemon.start()
        with balancer.traffic():
            second = balancer.add_web()
            balancer.wait_served(first, second)
        assert balancer.daemon.log == ""


def test_a_state_directory_that_is_gone(tmp_path: Path) -> None:
    """What is kept there cannot be kept; everything else goes on, and heals when it is back."""
    state = tmp_path / "state"
    state.mkdir()
    with Balancer(tmp_path, {"proxy": {"state_dir": str(state)}}) as balancer:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        shutil.rmtree(state)
        with balancer.traffic():
            second = balancer.add_web()
            balancer.wait_served(first, second)
            told = balancer.daemon.wait_event("config.not_kept")
            assert str(state) in told["error"]
            state.mkdir()
            third = balancer.add_web()
            balancer.wait_served(first, second, third)
            balancer.until((state / "haproxy.cfg.good").exists, "the last good configuration")


def test_a_template_that_cannot_be_read(tmp_path: Path) -> None:
    """A directory in its place, then nothing at all: the last good one stays in force, and both are told."""
    with Balancer(tmp_path) as balancer:
        balancer.start()
        first = balancer.add_web()
        balancer.wait_served(first)
        text = balancer.template.read_text()
        with balancer.traffic():
            for spoil in (Path.mkdir, None):
                mark = balancer.daemon.mark()
                balancer.template.unlink()
                if spoil:
                    spoil(balancer.template)
                told = balancer.daemon.wait_event("edit.rejected", mark)
                assert str(balancer.template) in told["error"]
                web = balancer.add_web()
                balancer.wait_served(first, web)
                if spoil:
                    balancer.template.rmdir()
                balancer.template.write_text(text)
                balancer.until(lambda: balancer.daemon.status()["blueprint"]["error"] == "", "all to be well again")
        assert balancer.daemon.status()["reloads"] == 0

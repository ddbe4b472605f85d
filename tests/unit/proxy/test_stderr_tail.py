"""The end of HAProxy's standard error."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from rosterd.proxy.process import MasterProcess
from rosterd.proxy.stderr_tail import stderr_tail

ALERT = "[ALERT]    (7) : [haproxy.main()] Cannot chroot(/nonexistent).\n"


async def test_only_what_is_written_later_is_read(tmp_path: Path) -> None:
    """The reasons of earlier failures stand above that."""
    log = tmp_path / "haproxy.log"
    log.write_text("[ALERT]    (6) : earlier\n", encoding="utf-8")
    tail = stderr_tail(log, None)
    assert await tail.alerts() == ()
    with log.open("a", encoding="utf-8") as file:
        file.write(ALERT)
    assert await tail.alerts() == ("[haproxy.main()] Cannot chroot(/nonexistent).",)
    assert tail.whereabouts == f"it is in {log}"


async def test_log_that_was_begun_anew_is_read_from_its_start(tmp_path: Path) -> None:
    """Supervisors rotate their logs."""
    log = tmp_path / "haproxy.log"
    log.write_text("x" * 1000, encoding="utf-8")
    tail = stderr_tail(log, None)
    log.write_text(ALERT, encoding="utf-8")
    assert len(await tail.alerts()) == 1


async def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe, a device and a file that is missing have no end to read."""
    for path in (None, Path(os.devnull), tmp_path / "absent"):
        tail = stderr_tail(path, MasterProcess(2**22 + 1, started=""))
        assert tail.path is None
        assert await tail.alerts() == ()
        assert "proxy.stderr_file" in tail.whereabouts


async def test_quiet_haproxy_is_named_as_the_cause_of_the_missing_reason() -> None:
    """With -q, HAProxy's standard error is /dev/null."""
    process = await asyncio.create_subprocess_exec("sleep", "60", stderr=asyncio.subprocess.DEVNULL)
    try:
        tail = stderr_tail(None, MasterProcess(process.pid, started=""))
        assert "without -q" in tail.whereabouts
        assert await tail.alerts() == ()
    finally:
        process.kill()
        await process.wait()

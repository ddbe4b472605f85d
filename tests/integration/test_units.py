"""The systemd units that an installation starts from, and what the Serf agent is told there."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from compose.programs import find_program
from compose.waiting import wait_until
from tests.loopback import free_address, free_port
from tests.packages import TREE

UNITS = TREE / "haproxy" / "standalone"
WITHIN_S = 20.0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("*.service")))
def test_a_unit_has_nothing_that_systemd_does_not_know(unit: str, tmp_path: Path) -> None:
    """`systemd-analyze verify` says nothing of it; the command is another where ours is not installed."""
    text = (UNITS / unit).read_text(encoding="utf-8").replace("/usr/local/bin/rosterd", "/bin/true")
    copy = tmp_path / unit
    copy.write_text(text.replace("/usr/bin/serf", find_program("serf")), encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=60
    )
    assert [line for line in verified.stderr.splitlines() if str(copy) in line or line.startswith(unit)] == []


async def test_the_agent_takes_what_it_is_told(tmp_path: Path) -> None:
    """From a folder with what is installed for it: it is a balancer, and leaves on SIGINT."""
    shutil.copyfile(UNITS / "serf.json", tmp_path / "serf.json")
    address = free_address()
    rpc = f"{address}:{free_port(address)}"
    (tmp_path / "here.json").write_text(f'{{"bind": "{address}:{free_port(address)}", "rpc_addr": "{rpc}"}}')
    serf = find_program("serf")

    def members() -> str:
        asked = [serf, "members", f"-rpc-addr={rpc}"]
        return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=WITHIN_S).stdout

    agent = await asyncio.create_subprocess_exec(serf, "agent", f"-config-dir={tmp_path}", stdout=subprocess.PIPE)
    try:
        await wait_until(lambda: "role=balancer" in members(), WITHIN_S, "the agent to answer")
        agent.send_signal(signal.SIGINT)
        async with asyncio.timeout(WITHIN_S):
            said, _ = await agent.communicate()
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()
    assert b"Gracefully shutting down" in said

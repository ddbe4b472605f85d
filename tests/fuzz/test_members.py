"""A hundred thousand members as an attacker would choose them, against a real HAProxy.

The rendered file always passes `haproxy -c`, has exactly the servers that were decided on, and not one directive more;
and a running HAProxy that is told of them on its socket has the same. Batches are made from seeds by a grammar of what
is known to hurt; `FUZZ_SEED` chooses others, and a failure names the batch.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rosterd.model import Backend, Desired, Member, MemberRecord, Nothing
from rosterd.parse import parse_member
from rosterd.plan import Means, compare
from rosterd.policy import View, decide
from rosterd.proxy.commands import OBSERVE_WITH_SESSIONS
from rosterd.proxy.socket import HAProxySocket, carry_out, observe
from rosterd.render import compile_template, render
from rosterd.roster import EMPTY, advance
from rosterd.settings import PolicySettings, ProxySettings, ServiceSettings
from tests.haproxy_process import BINARY, HAProxyProcess

BATCHES, PER_BATCH = 100, 1_000
AT_RUN_TIME = 400
"""Members of one batch that a running HAProxy is told of."""

TEMPLATE = Path(__file__).parents[2] / "haproxy" / "haproxy.cfg.j2"
SERVICES = (ServiceSettings(name="nodes"), ServiceSettings(name="api", match={"role": "api"}, hosts=("api.example",)))
LIMITS = PolicySettings.model_validate({"networks": ["10.0.0.0/8", "127.0.0.0/8", "fd00::/8"]})

POISON = (
    b"\n", b"\r\n", b"\n    server evil 10.9.9.9:80\n", b";", b'"',
    b"'", b"#", b"\x00", b"\xff\xfe", b" " * 64, b"w " * 64,
    "\u202e".encode(), b"../", b"*", b"{{ proxy }}", b"{% raw %}",
    b"${HOME}", b'"$HOME"', b"$(id)", b"`id`", b"--", b"-x",
    b"\\", b" weight 256", b" id 1", b" disabled", b" backup",
    b"FRONTEND", b"BACKEND", b"A" * 300, b"\t", b"%[src]", b",",
    "\uff11".encode(), b"<<", b"|", b"&", b"\x1b[31m", b"=", b":", b"/", b"@",
)  # fmt: skip
NUMBERS = (
    b"0", b"1", b"80", b"3000", b"65535", b"65536", b"-1", b"256", b"257", b"9" * 40, b"1e3", b"0x50", b" 80", b"",
)  # fmt: skip
ADDRESSES = (
    bytes((10, 0, 0, 1)), bytes((127, 0, 0, 1)), bytes((224, 0, 0, 1)), bytes(4), b"\xff" * 4, bytes((169, 254, 1, 1)),
    bytes(15) + b"\x01", bytes(10) + b"\xff\xff" + bytes((127, 0, 0, 1)), b"\xff\x02" + bytes(14),
    bytes(16), b"", b"\x0a",
    b"\xfe\x80" + bytes(14), bytes(17), b"\xfd" + bytes(14) + b"\x07",
)  # fmt: skip

_SERVER = re.compile(r"    server (\S+) (\S+):(\d+) id (\d+) weight (\d+)( disabled)?")


def seeds() -> list[int]:
    """Return the seed of each batch."""
    first = int(os.environ.get("FUZZ_SEED", "1"))
    return list(range(first, first + BATCHES))


def hostile_members(seed: int, number: int) -> Iterator[MemberRecord]:
    """Yield members: a third is good, some share a name or a place, and the others hurt in one field or more."""
    dice = random.Random(seed)  # noqa: S311  what a seed gives is the same each time
    for _ in range(number):
        name = b"web-%d" % dice.randrange(number)
        address = bytes((10, dice.randrange(4), dice.randrange(256), dice.randrange(256)))
        tags = {b"role": dice.choice((b"backend", b"backend", b"api")), b"port": dice.choice((b"80", b"8080", b"3000"))}
        if dice.random() < 0.66:
            for _ in range(dice.randrange(1, 4)):
                match dice.randrange(6):
                    case 0:
                        name = spoiled(dice, name)
                    case 1:
                        address = dice.choice(ADDRESSES)
                    case 2:
                        tags[dice.choice((b"port", b"weight"))] = dice.choice(NUMBERS)
                    case 3:
                        tag = dice.choice((b"port", b"weight", b"state", b"role", b"node"))
                        tags[tag] = spoiled(dice, tags.get(tag, b"x"))
                    case 4:
                        tags[spoiled(dice, b"tag")] = spoiled(dice, b"value")
                    case _:
                        tags[b"state"] = dice.choice((b"ready", b"drain", b"maint", b"gone", b"READY"))
        status = dice.choice((b"alive", b"alive", b"alive", b"leaving", b"left", b"failed", b"none", b"?"))
        yield MemberRecord(name, address, dice.randrange(2**16), tags, status)


def spoiled(dice: random.Random, text: bytes) -> bytes:
    """Put something that hurts into a text, before or behind it or in its place."""
    poison, at = dice.choice(POISON), dice.randrange(len(text) + 1)
    return dice.choice((text[:at] + poison + text[at:], poison, poison + text, text + poison, bytes(dice.randbytes(9))))


def decided(seed: int, number: int) -> tuple[tuple[Backend, ...], tuple[MemberRecord, ...]]:
    """Return what is decided on a batch, and the batch."""
    records = tuple({record.name: record for record in hostile_members(seed, number)}.values())
    table, _ = advance(EMPTY, records, 0.0, served=())
    return decide(table, SERVICES, View(served={}, answering={}, health_score=0), LIMITS, 0.0).backends, records


def proxy_of(haproxy: HAProxyProcess) -> ProxySettings:
    """Return settings for a HAProxy of a test."""
    return ProxySettings(
        http_bind=f"{haproxy.address}:{haproxy.port}",
        stats_bind=f"{haproxy.address}:1936",
        runtime_bind=None,
        runtime_socket=haproxy.runtime_socket,
        syslog_socket=None,
    )


def text_of(haproxy: HAProxyProcess, backends: tuple[Backend, ...]) -> str:
    """Return the configuration with these servers."""
    template = compile_template(TEMPLATE.read_text(encoding="utf-8"), str(TEMPLATE))
    return render(template, "0123456789abcdef", proxy_of(haproxy), SERVICES, backends)


@pytest.mark.parametrize("part", range(4))
def test_the_file_has_the_decided_servers_and_nothing_else(tmp_path: Path, part: int) -> None:
    """Batch by batch, 100,000 members in all: line by line what it is without servers, and the servers."""
    haproxy = HAProxyProcess(tmp_path)
    bare = [line for line in text_of(haproxy, ()).splitlines() if not line.lstrip().startswith("#")]
    path = tmp_path / "haproxy.cfg"
    members = served = 0
    for seed in seeds()[part::4]:
        backends, records = decided(seed, PER_BATCH)
        text = text_of(haproxy, backends)
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        found = [match.groups() for line in lines if (match := _SERVER.fullmatch(line))]
        wanted = [server for backend in backends for server in backend.servers]
        assert [line for line in lines if not line.startswith("    server ")] == bare, f"batch {seed}"
        assert len(found) == sum(line.startswith("    server ") for line in lines) == len(wanted), f"batch {seed}"
        good = {member.name: member for record in records if isinstance(member := parse_member(record), Member)}
        for (name, address, port, number, _, _), server in zip(found, wanted, strict=True):
            assert (name, address.strip("[]"), int(port)) == (server.name, str(server.address), server.port), (
                f"batch {seed}"
            )
            assert int(number) == server.id
            assert good[name].address == server.address
        path.write_text(text, encoding="utf-8")
        command = [BINARY, "-c", "-q", "-f", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f"batch {seed}: {done.stderr[-2000:]}"
        members, served = members + PER_BATCH, served + len(wanted)
    assert members == BATCHES * PER_BATCH // 4
    assert served > members / 10  # the good ones of them


async def test_a_running_haproxy_has_the_decided_servers_and_nothing_else(tmp_path: Path) -> None:
    """Told on its socket, in as many steps as it takes: in the end there is nothing to do."""
    haproxy = HAProxyProcess(tmp_path)
    empty = tuple(Backend(service.name, ()) for service in SERVICES)
    haproxy.config.write_text(text_of(haproxy, empty), encoding="utf-8")
    haproxy.start()
    try:
        socket = HAProxySocket(haproxy.runtime_socket, deadline_s=5.0)
        for seed in seeds()[:10]:
            backends, _ = decided(seed, AT_RUN_TIME)
            desired = Desired("0123456789abcdef", backends, text_of(haproxy, backends))
            await level(socket, desired)
            running = await observe(socket)
            have = {(service, name) for service, servers in running.backends.items() for name in servers}
            assert have == {(backend.service, server.name) for backend in backends for server in backend.servers}
    finally:
        haproxy.stop()


async def level(socket: HAProxySocket, desired: Desired) -> None:
    """Bring HAProxy level step by step; it has to accept each word."""
    async with asyncio.timeout(60.0):
        while True:
            running = await observe(socket, OBSERVE_WITH_SESSIONS)
            plan = compare(desired, running, Means())
            if isinstance(plan, Nothing):
                return
            if plan.actions:
                results, _ = await carry_out(socket, plan.actions, OBSERVE_WITH_SESSIONS)
                assert all(type(result).__name__ != "Refused" for result in results), results
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", seeds()[:20])
def test_hostile_members_change_nothing_for_those_who_serve(seed: int) -> None:
    """Whatever comes, with whichever address and port: who serves goes on, at the same place, with the same id."""
    good = [
        MemberRecord(b"good-%d" % number, bytes((10, 0, 0, number + 1)), 7946, {b"role": b"backend"}, b"alive")
        for number in range(200)
    ]
    table, _ = advance(EMPTY, good, 0.0, served=())
    before = decide(table, SERVICES, View(served={}, answering={}, health_score=0), LIMITS, 0.0)
    dice = random.Random(seed)  # noqa: S311  as above
    hostile = {record.name: record for record in hostile_members(seed, PER_BATCH)}
    # Half of them claim the place of one that serves.
    claims = [
        replace(record, address=dice.choice(good).address, tags={**record.tags, b"port": b"3000"})
        if dice.random() < 0.5
        else record
        for record in hostile.values()
    ]
    table, _ = advance(table, [*good, *claims], 1.0, served=())
    after = decide(table, SERVICES, View(served=before.lines, answering={}, health_score=0), LIMITS, 1.0)
    assert len(before.lines["nodes"]) == len(good)
    assert before.lines["nodes"].items() <= after.lines["nodes"].items()

"""What the commands do: each function is the command of that name in `cli.py`, and returns its exit code.

They read the files and ask the daemon and HAProxy as anybody could; none of this is part of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import typer

from rosterd.addresses import read_addresses
from rosterd.admin.client import ask, follow
from rosterd.answers import plan_answer, records_of
from rosterd.answers.states import refusals, states_answer
from rosterd.blueprint import Blueprint
from rosterd.console import event_line, print_json, print_members, print_plan, print_states, print_status
from rosterd.errors import DaemonUnreachable, MembersFileError, NodeUnmoved
from rosterd.model import Address, AdminState, Backend, Desired, MemberRecord, Nothing, Server
from rosterd.plan import Means, compare
from rosterd.policy import Lines, View, answers_in, decide, inherited_lines
from rosterd.proxy.reload import check as check_configuration
from rosterd.proxy.socket import HAProxySocket, observe
from rosterd.render import SAMPLES
from rosterd.render import render as configuration_of
from rosterd.roster import EMPTY, Table, advance, inherit
from rosterd.serf.state_change import Patience
from rosterd.serf.tell import tell
from rosterd.settings import Settings, load
from rosterd.sources import Sources


def check(settings_file: Path | None) -> int:
    """Read settings and template, and have `haproxy -c` check what is rendered from them, without and with servers."""
    loaded, blueprint = _read(settings_file)
    warnings: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rosterd-check-") as directory:
        path = Path(directory) / loaded.proxy.config_file.name
        for servers in (), SAMPLES:
            path.write_text(_text(blueprint, _everywhere(loaded, servers)), encoding="utf-8")
            shown_as = loaded.proxy.config_file
            timeout_s = loaded.proxy.check_timeout_s
            found = asyncio.run(check_configuration(loaded.proxy.binary, path, timeout_s, shown_as=shown_as))
            warnings += [warning for warning in found if warning not in warnings]
    for warning in warnings:
        typer.echo(f"rosterd: warning: {warning}", err=True)
    typer.echo(f"settings, template {loaded.proxy.template_file} and the configuration made from them are valid")
    return 0


def render(settings_file: Path | None, members_file: str | None) -> int:
    """Print the configuration for the members at hand."""
    loaded, blueprint = _read(settings_file)
    table, view = _members(blueprint, members_file)
    typer.echo(_text(blueprint, _decided(loaded, table, view)), nl=False)
    return 0


def plan(settings_file: Path | None, members_file: str | None, *, as_json: bool) -> int:
    """Compare what should be, by the files as they are now, with what HAProxy runs; 1 when they differ."""
    loaded, blueprint = _read(settings_file)
    table, view = _members(blueprint, members_file)
    running = asyncio.run(observe(HAProxySocket(loaded.proxy.runtime_socket, loaded.proxy.answer_timeout_s)))
    if not view.served:
        view = _view(inherited_lines(running, loaded.services))
    view = replace(view, answering=answers_in(running))
    backends = _decided(loaded, table, view)
    desired = Desired(blueprint.structure, backends, _text(blueprint, backends))
    means = Means(_NOW, loaded.proxy.drain_timeout_s) if loaded.proxy.apply == "runtime" else None
    found = compare(desired, running, means)
    shown = plan_answer(found)
    (print_json if as_json else print_plan)(shown)
    return 0 if isinstance(found, Nothing) else 1


def members(settings_file: Path | None, *, as_json: bool) -> int:
    """Print what the daemon answers."""
    answer = _ask(settings_file, "/v1/members")
    (print_json if as_json else print_members)(answer)
    return 0


def status(settings_file: Path | None, *, as_json: bool) -> int:
    """Print what the daemon answers; 1 when it is not ready."""
    answer = _ask(settings_file, "/v1/status")
    (print_json if as_json else print_status)(answer)
    return 0 if answer["ready"] else 1


def events(settings_file: Path | None, limit: int, *, as_json: bool) -> int:
    """Print the newest events, each on a line."""
    _print_events(_newest_events(settings_file, limit), as_json=as_json)
    return 0


def follow_events(settings_file: Path | None, limit: int, *, as_json: bool) -> int:
    """Print the newest events and then each as it comes, over restarts of the daemon, until Ctrl-C."""
    first = _newest_events(settings_file, limit)
    _print_events(first, as_json=as_json)
    listen = load(settings_file).admin.listen
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_follow(listen, first[-1]["id"] if first else "", as_json=as_json))
    return 0


async def _follow(listen: str, after: str, *, as_json: bool) -> None:
    told = ""
    while True:
        try:
            async for event in follow(listen, after):
                after, told = event.get("id", after), ""
                _print_events([event], as_json=as_json)
        except DaemonUnreachable as error:
            if str(error) != told:
                typer.echo(f"rosterd: {error}; trying again", err=True)
            told = str(error)
        await asyncio.sleep(TRY_AGAIN_S)


def _newest_events(settings_file: Path | None, limit: int) -> list[dict[str, Any]]:
    if limit == 0:
        return []
    found: list[dict[str, Any]] = _ask(settings_file, f"/v1/events?limit={limit}")["events"]
    return found


def _print_events(found: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    for event in found:
        typer.echo(json.dumps(event) if as_json else event_line(event))


def set_state(settings_file: Path | None, names: list[str], word: str, within_s: float, *, as_json: bool) -> int:
    """Have nodes set their tag `state` to this word, and wait until the cluster shows it.

    Raises:
        NodeError: a name is nobody's, and nobody was told anything; or a node did not follow, and the others did.
    """
    serf, state = load(settings_file).serf, AdminState(word)
    key = serf.auth_key.get_secret_value() if serf.auth_key is not None else None
    outcomes = asyncio.run(tell(serf.host_port, key, names, state, Patience(serf.request_timeout_s, within_s)))
    (print_json if as_json else print_states)(states_answer(outcomes, state))
    if problems := refusals(outcomes, state):
        raise NodeUnmoved("\n".join(problems))
    return 0


def release(settings_file: Path | None) -> int:
    """Signal the daemon that the guard is wrong; 1 when it is not engaged."""
    answer = _ask(settings_file, "/v1/status")
    if not answer["guard"]:
        typer.echo("rosterd: the guard is not engaged", err=True)
        return 1
    pid = answer["pid"]
    try:
        # The daemon may be in another container, where its number is somebody else's.
        if b"rosterd" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            raise DaemonUnreachable(f"process {pid} is no rosterd here: run this beside the daemon, in its container")
        os.kill(pid, signal.SIGUSR1)
    except OSError as error:
        why = f"process {pid}: {error.strerror}"
        raise DaemonUnreachable(f"rosterd cannot be told ({why}): run this beside it, as its user or root") from error
    typer.echo(f"overridden until it ends: {answer['guard']}")
    return 0


# --- what the commands share ------------------------------------------------------------------------------------

TRY_AGAIN_S = 1.0
"""How long who follows waits for a daemon that has gone away."""

_NOW = 0.0
"""A command looks at one moment: all that it knows has just become known."""


def _read(settings_file: Path | None) -> tuple[Settings, Blueprint]:
    loaded = load(settings_file)
    template = Sources(settings_file, loaded.proxy.template_file, loaded.proxy.state_dir).template()
    return loaded, Blueprint.of(loaded, template)


def _ask(settings_file: Path | None, path: str) -> dict[str, Any]:
    return asyncio.run(ask(load(settings_file).admin.listen, path))


def _members(blueprint: Blueprint, file: str | None) -> tuple[Table, View]:
    """The members from a file; or those of the running daemon, with whom it serves now and whom it lets wait."""
    if file is None:
        listen = blueprint.settings.admin.listen
        answer = asyncio.run(ask(listen, "/v1/members"))
        now = asyncio.run(ask(listen, "/v1/status"))
        lines = _served_lines(now)
        # Who is served without being listed in full (inherited, unseen, quarantined) is held, as the daemon does.
        known = inherit({name for servers in lines.values() for name in servers}, _NOW)
        waiting = {row["server"]: _NOW + row["for_s"] for row in now.get("damped", [])}
        own = blueprint.listens_at(_addresses(now["agent"].get("address")))
        table = _table(known, records_of(json.dumps(answer), listen))
        overridden = bool(now.get("guard_overridden"))
        return table, replace(_view(lines), waiting=waiting, own=own, guard_overridden=overridden)
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MembersFileError(f"{file}: cannot be read: {error}") from error
    return _table(EMPTY, records_of(text, "standard input" if file == "-" else file)), _view({})


def _addresses(of_agent: str | None) -> frozenset[Address]:
    """Where this machine is, as the daemon knows it."""
    found = frozenset([ip_address(of_agent)]) if of_agent else frozenset()
    with contextlib.suppress(OSError):  # the daemon's log says it
        found |= read_addresses()
    return found


def _table(known: Table, records: tuple[MemberRecord, ...]) -> Table:
    table, _ = advance(known, records, _NOW, served=known.entries.keys())
    return table


def _served_lines(answer: Mapping[str, Any]) -> Lines:
    return {
        service["name"]: {
            row["name"]: Server(
                row["name"], row["id"], ip_address(row["address"]), row["port"], row["weight"], AdminState(row["state"])
            )
            for row in service["servers"]
        }
        for service in answer["services"]
    }


def _view(lines: Lines) -> View:
    by_hand = {
        (service, name): server.state
        for service, servers in lines.items()
        for name, server in servers.items()
        if server.is_by_hand
    }
    return View(served=lines, answering={}, health_score=0, by_hand=by_hand)


def _decided(settings: Settings, table: Table, view: View) -> tuple[Backend, ...]:
    return decide(table, settings.services, view, settings.policy, _NOW).backends


def _everywhere(settings: Settings, servers: tuple[Server, ...]) -> tuple[Backend, ...]:
    """The same servers in each service."""
    return tuple(Backend(service.name, servers) for service in settings.services)


def _text(blueprint: Blueprint, backends: tuple[Backend, ...]) -> str:
    settings = blueprint.settings
    return configuration_of(blueprint.template, blueprint.structure, settings.proxy, settings.services, backends)

"""What the files as they are now make: `check`, `render` and `plan`, each the command of that name in `cli.py`.

They read the files and ask the daemon and HAProxy as anybody could; none of this is part of the daemon. Each returns
its exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import typer

from rosterd.addresses import read_addresses
from rosterd.admin.client import ask
from rosterd.answers import Plan, plan_answer, records_of
from rosterd.blueprint import Blueprint
from rosterd.errors import MembersFileError
from rosterd.model import Address, AdminState, Backend, Desired, MemberRecord, Nothing, Server
from rosterd.plan import Means, compare
from rosterd.policy import Lines, View, answers_in, decide, inherited_lines
from rosterd.proxy.reload import check as check_configuration
from rosterd.proxy.server_state import reads_server_state
from rosterd.proxy.socket import HAProxySocket, observe
from rosterd.render import SAMPLES
from rosterd.render import render as configuration_of
from rosterd.roster import EMPTY, Table, advance, inherit
from rosterd.settings import Settings, ignored_variables, load
from rosterd.sources import Sources

_NOW = 0.0
"""A command looks at one moment: all that it knows has just become known."""


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
    if not reads_server_state(_text(blueprint, ()), str(loaded.proxy.server_state_file)):
        warnings.append(
            f"{loaded.proxy.template_file}: has a server-state-file or load-server-state-from-file line of its own, so "
            "a reload forgets which servers were down: take the line out, and rosterd adds what is needed"
        )
    for variable in ignored_variables():
        typer.echo(f"rosterd: warning: {variable} is ignored: a container platform set it, and it is no key", err=True)
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


def plan(settings_file: Path | None, members_file: str | None, show: Callable[[Plan], None]) -> int:
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
    show(plan_answer(found))
    return 0 if isinstance(found, Nothing) else 1


# --- what they share --------------------------------------------------------------------------------------------


def _read(settings_file: Path | None) -> tuple[Settings, Blueprint]:
    loaded = load(settings_file)
    template = Sources(settings_file, loaded.proxy.template_file, loaded.proxy.state_dir).template()
    return loaded, Blueprint.of(loaded, template)


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

"""What the files as they are now make: `check`, `render` and `plan`, each the command of that name in `cli.py`.

They read the files and ask the daemon and HAProxy as anybody could; none of this is part of the daemon. Each returns
its exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import unified_diff
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import typer

from rosterd.addresses import read_addresses
from rosterd.admin.client import ask
from rosterd.answers import DryRun, dry_run_answer, records_of
from rosterd.blueprint import Blueprint, is_of_blueprint
from rosterd.errors import ConfigFileError, ConfigRefused, MembersFileError, ProxyBinaryError, SerfError
from rosterd.model import (
    Address,
    AdminState,
    Backend,
    Desired,
    MemberRecord,
    Nothing,
    Reason,
    ReasonKind,
    Reload,
    Running,
    Runtime,
    Server,
    ServerKey,
)
from rosterd.plan import Means
from rosterd.planner import Planned, Situation, next_plan
from rosterd.policy import Lines, View, answers_in, decide, inherited_lines
from rosterd.proxy.actions import lines_of
from rosterd.proxy.commands import OBSERVE_WITH_SESSIONS
from rosterd.proxy.config_file import ConfigFile
from rosterd.proxy.server_state import reads_server_state
from rosterd.proxy.socket import HAProxySocket, observe
from rosterd.render import SAMPLES
from rosterd.roster import EMPTY, Table, advance, inherit
from rosterd.running_text import template_servers_of, text_on_disk
from rosterd.serf.encryption import gossip_encryption
from rosterd.settings import Settings, ignored_variables, load
from rosterd.sources import Sources
from rosterd.verdict import judge, judge_text
from rosterd.words import OPEN_GOSSIP

_NOW = 0.0
"""A command looks at one moment: all that it knows has just become known."""


AGENT_WITHIN_S = 1.0
"""How long `check` waits for the agent: it judges files, and does so without an agent too."""


def check(settings_file: Path | None) -> int:
    """Read settings and template, and have `haproxy -c` check what is rendered from them, without and with servers."""
    loaded, blueprint = _read(settings_file)
    blueprint.check_rules()
    texts = [_text(blueprint, _everywhere(loaded, servers)) for servers in ((), SAMPLES)]
    warnings = [*judge(loaded.proxy, texts, blueprint.template.source)]
    if not reads_server_state(_text(blueprint, ()), str(loaded.proxy.server_state_file)):
        warnings.append(
            f"{loaded.proxy.template_file}: has a server-state-file or load-server-state-from-file line of its own, so "
            "a reload forgets which servers were down: take the line out, and rosterd adds what is needed"
        )
    if not loaded.policy.networks and asyncio.run(_gossip_is_open(loaded)):
        warnings.append(OPEN_GOSSIP)
    for variable in ignored_variables():
        typer.echo(f"rosterd: warning: {variable} is ignored: a container platform set it, and it is no key", err=True)
    for warning in warnings:
        typer.echo(f"rosterd: warning: {warning}", err=True)
    typer.echo(f"settings, template {loaded.proxy.template_file} and the configuration made from them are valid")
    return 0


async def _gossip_is_open(loaded: Settings) -> bool:
    """Whether the agent says that gossip is not encrypted; an agent that does not answer in time says nothing."""
    key = loaded.serf.auth_key
    try:
        async with asyncio.timeout(AGENT_WITHIN_S):
            encrypted = await gossip_encryption(loaded.serf.host_port, key.get_secret_value() if key else None)
    except (SerfError, TimeoutError):
        return False
    return encrypted is False


def render(settings_file: Path | None, members_file: str | None) -> int:
    """Print the configuration for the members at hand."""
    loaded, blueprint = _read(settings_file)
    table, view, _ = _members(blueprint, members_file)
    typer.echo(_text(blueprint, _decided(loaded, table, view)), nl=False)
    return 0


def plan(settings_file: Path | None, members_file: str | None, show: Callable[[DryRun], None]) -> int:
    """Compare what should be, by the files as they are now, with what HAProxy runs; 1 when they differ.

    The plan is made by `next_plan`, as the daemon's own: only where its values come from is different.
    """
    loaded, blueprint = _read(settings_file)
    blueprint.check_rules()
    table, view, status = _members(blueprint, members_file)
    _warn_of_removed_services(loaded, status)
    socket = HAProxySocket(loaded.proxy.runtime_socket, loaded.proxy.answer_timeout_s)
    running = asyncio.run(observe(socket, OBSERVE_WITH_SESSIONS))
    if not view.served:
        view = replace(view, served=inherited_lines(running, loaded.services, blueprint.template_servers))
        view = replace(view, by_hand=_by_hand(view.served))
    view = replace(view, answering=answers_in(running))
    desired = blueprint.desired(_decided(loaded, table, view))
    situation = _situation(blueprint, desired, running, status)
    planned = _planned(situation, status)
    refused = (
        asyncio.run(_refusal(loaded, desired, blueprint.template.source)) if isinstance(planned.plan, Reload) else ""
    )
    is_known = situation.text.contents is not None
    diff = unified_diff(situation.text.text.splitlines(), desired.text.splitlines(), "running", "new", lineterm="")
    show(dry_run_answer(planned, refused, diff if is_known and isinstance(planned.plan, Reload) else ()))
    return 0 if isinstance(planned.plan, Nothing) else 1


def _warn_of_removed_services(loaded: Settings, status: Mapping[str, Any]) -> None:
    """Name the services that the daemon serves and the edited settings take away."""
    kept = {service.name for service in loaded.services}
    for service in status.get("services", []):
        if service["name"] not in kept:
            servers = len(service["servers"])
            typer.echo(f"rosterd: warning: service {service['name']} is taken away, servers: {servers}", err=True)


def _situation(blueprint: Blueprint, desired: Desired, running: Running, status: Mapping[str, Any]) -> Situation:
    """What the daemon knows besides, by its status, which is empty where it was not asked, and by the files on disk."""
    proxy = blueprint.settings.proxy
    file = ConfigFile(proxy.config_file, proxy.state_dir)
    texts = [_text_or_none(file.read_good), _text_or_none(file.read)]
    departed = {
        (service["name"], row["name"]): _NOW - row["since_s"]
        for service in status.get("services", [])
        for row in service["leaving"]
    }
    wanted = (status.get("generations", {}).get("desired") or {}).get("structure")
    left = status.get("plan", {}).get("left", []) if wanted == desired.structure else []
    return Situation(
        desired=desired,
        settings=blueprint.settings,
        running=running,
        text=text_on_disk(texts, running, template_servers_of(desired, running, blueprint)),
        seen=Means(_NOW, departed=departed),
        on_trial=running.structure != "" and not is_of_blueprint(desired.structure, running.structure),
        left=frozenset(Reason(ReasonKind(row["kind"]), row["detail"]) for row in left),
    )


def _planned(situation: Situation, status: Mapping[str, Any]) -> Planned:
    """The plan, with those of its actions refused that the daemon's HAProxy has refused."""
    errors = {tuple(row["commands"]): row["error"] for row in status.get("refused", [])}
    planned = next_plan(situation)
    actions = planned.plan.actions if isinstance(planned.plan, Runtime | Reload) else ()
    refused = {action: errors[lines] for action in actions if (lines := tuple(lines_of(action))) in errors}
    return next_plan(replace(situation, seen=replace(situation.seen, refused=refused))) if refused else planned


async def _refusal(loaded: Settings, desired: Desired, template: str) -> str:
    """Why HAProxy refuses the text; empty when it does not."""
    try:
        await judge_text(loaded.proxy, desired.text, template)
    except (ConfigRefused, ProxyBinaryError) as error:
        return str(error)
    return ""


def _text_or_none(read: Callable[[], str | None]) -> str | None:
    """A text on disk; None where there is none, or this user may not read it."""
    try:
        return read()
    except ConfigFileError:
        return None


# --- what they share --------------------------------------------------------------------------------------------


def _read(settings_file: Path | None) -> tuple[Settings, Blueprint]:
    loaded = load(settings_file)
    template = Sources(settings_file, loaded.proxy.template_file, loaded.proxy.state_dir).template()
    return loaded, Blueprint.of(loaded, template)


def _members(blueprint: Blueprint, file: str | None) -> tuple[Table, View, Mapping[str, Any]]:
    """The members from a file; or those of the running daemon, with its servers, and its status."""
    template_servers = blueprint.template_servers
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
        view = replace(_view(lines), waiting=waiting, own=own, guard_overridden=overridden)
        return table, replace(view, template_servers=template_servers), now
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MembersFileError(f"{file}: cannot be read: {error}") from error
    table = _table(EMPTY, records_of(text, "standard input" if file == "-" else file))
    return table, replace(_view({}), template_servers=template_servers), {}


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
    return View(served=lines, answering={}, health_score=0, by_hand=_by_hand(lines))


def _by_hand(lines: Lines) -> Mapping[ServerKey, AdminState]:
    return {
        (service, name): server.state
        for service, servers in lines.items()
        for name, server in servers.items()
        if server.is_by_hand
    }


def _decided(settings: Settings, table: Table, view: View) -> tuple[Backend, ...]:
    return decide(table, settings.services, view, settings.policy, _NOW).backends


def _everywhere(settings: Settings, servers: tuple[Server, ...]) -> tuple[Backend, ...]:
    """The same servers in each service."""
    return tuple(Backend(service.name, servers) for service in settings.services)


def _text(blueprint: Blueprint, backends: tuple[Backend, ...]) -> str:
    return blueprint.desired(backends).text

"""The command line. Results go to standard output, errors with their remedy to standard error.

Every command that a script may read has `--json`. Exit codes: 0 fine, 1 the answer is no (`plan`: something would
change; `status`: not ready), 2 wrong usage, and one for each branch of errors.py; docs/exit-codes.md lists them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from rosterd import __version__
from rosterd import app as daemon
from rosterd.admin.client import ask
from rosterd.blueprint import Blueprint
from rosterd.console import print_json, print_members, print_plan, print_states, print_status
from rosterd.errors import DaemonUnreachable, MembersFileError, NodeUnmoved, RosterdError
from rosterd.model import AdminState, Backend, Desired, MemberRecord, Nothing, Server
from rosterd.plan import Means, compare
from rosterd.policy import Lines, View, decide, inherited_lines
from rosterd.proxy.reload import check as check_configuration
from rosterd.proxy.socket import HAProxySocket, observe
from rosterd.render import SAMPLES, render
from rosterd.report import plan_json, records_of
from rosterd.roster import EMPTY, Table, advance, inherit
from rosterd.serf.state_change import Patience, refusals, states_json
from rosterd.serf.tell import tell
from rosterd.settings import DEFAULT_FILE, Settings, load
from rosterd.sources import Sources

P = ParamSpec("P")

app = typer.Typer(
    help="Keeps HAProxy in step with a Serf cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # whole sentences about wrong usage, which a box would cut off
)

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        envvar="ROSTERD_SETTINGS",
        help=f"The settings file [default: {DEFAULT_FILE}, where it exists]",
        show_default=False,
    ),
]
MembersFile = Annotated[
    str | None,
    typer.Option("--members", metavar="FILE", help="Members as `rosterd members --json` prints them; - is stdin"),
]
NodeNames = Annotated[
    list[str],
    typer.Argument(metavar="NODE", help="The name that people know a node by (tag `node`), or its Serf name"),
]
NodeTimeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=60, help="How long the nodes have")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read")]


def _told(command: Callable[P, int]) -> Callable[P, None]:
    """Make a command end with its exit code, and turn an error of ours into its text and code."""

    @wraps(command)
    def run_command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except RosterdError as error:
            for line in str(error).splitlines():
                sys.stderr.write(f"rosterd: {line}\n")
            code = error.exit_code
        raise typer.Exit(code)

    return run_command


@app.command()
@_told
def run(settings: SettingsFile = None) -> int:
    """Run the daemon in the foreground."""
    asyncio.run(daemon.run(_settings_file(settings)))
    return 0


@app.command()
@_told
def check(settings: SettingsFile = None) -> int:
    """Check the settings, the template, and with `haproxy -c` what is rendered from them, without and with servers."""
    loaded, blueprint = _read(settings)
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


@app.command(name="render")
@_told
def render_(settings: SettingsFile = None, members: MembersFile = None) -> int:
    """Print the configuration for the running daemon's members, or for those in a file."""
    loaded, blueprint = _read(settings)
    table, view = _members(loaded, members)
    typer.echo(_text(blueprint, _decided(loaded, table, view)), nl=False)
    return 0


@app.command()
@_told
def plan(settings: SettingsFile = None, members: MembersFile = None, *, as_json: AsJson = False) -> int:
    """Print what the files as they are now would change in HAProxy, and why; exit code 1 when something would."""
    loaded, blueprint = _read(settings)
    table, view = _members(loaded, members)
    running = asyncio.run(observe(HAProxySocket(loaded.proxy.runtime_socket, loaded.proxy.answer_timeout_s)))
    if not view.served:
        view = _view(inherited_lines(running, loaded.services))
    backends = _decided(loaded, table, view)
    desired = Desired(blueprint.structure, backends, _text(blueprint, backends))
    means = Means(_NOW, loaded.proxy.drain_timeout_s) if loaded.proxy.apply == "runtime" else None
    found = compare(desired, running, means)
    shown = plan_json(found)
    (print_json if as_json else print_plan)(shown)
    return 0 if isinstance(found, Nothing) else 1


@app.command()
@_told
def members(settings: SettingsFile = None, *, as_json: AsJson = False) -> int:
    """Print the running daemon's member table."""
    answer = _ask(settings, "/v1/members")
    (print_json if as_json else print_members)(answer)
    return 0


@app.command()
@_told
def status(settings: SettingsFile = None, *, as_json: AsJson = False) -> int:
    """Print how the running daemon and its HAProxy are; exit code 1 when they are not ready."""
    answer = _ask(settings, "/v1/status")
    (print_json if as_json else print_status)(answer)
    return 0 if answer["ready"] else 1


@app.command()
@_told
def drain(
    nodes: NodeNames, settings: SettingsFile = None, timeout: NodeTimeout = 5.0, *, as_json: AsJson = False
) -> int:
    """Give nodes no new requests, on every balancer: their tag becomes `state=drain`. What runs there finishes."""
    return _set_state(nodes, AdminState.DRAIN, settings, timeout, print_json if as_json else print_states)


@app.command()
@_told
def maint(
    nodes: NodeNames, settings: SettingsFile = None, timeout: NodeTimeout = 5.0, *, as_json: AsJson = False
) -> int:
    """Take nodes out, on every balancer: their tag becomes `state=maint`. No new requests, and no checks."""
    return _set_state(nodes, AdminState.MAINT, settings, timeout, print_json if as_json else print_states)


@app.command()
@_told
def ready(
    nodes: NodeNames, settings: SettingsFile = None, timeout: NodeTimeout = 5.0, *, as_json: AsJson = False
) -> int:
    """Bring nodes back into the traffic, on every balancer: their tag `state` goes."""
    return _set_state(nodes, AdminState.READY, settings, timeout, print_json if as_json else print_states)


guard = typer.Typer(help="The isolation guard, which keeps failed members' servers.", no_args_is_help=True)
app.add_typer(guard, name="guard")


@guard.command()
@_told
def release(settings: SettingsFile = None) -> int:
    """Let failed members' servers go although the guard is engaged, this once; exit code 1 when it is not engaged."""
    answer = _ask(settings, "/v1/status")
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


@app.command()
@_told
def version(*, as_json: AsJson = False) -> int:
    """Print the version."""
    if as_json:
        print_json({"version": __version__})
    else:
        typer.echo(f"rosterd {__version__}")
    return 0


# --- what the commands share ------------------------------------------------------------------------------------

_NOW = 0.0
"""A command looks at one moment: all that it knows has just become known."""


def _settings_file(given: Path | None) -> Path | None:
    if given is not None:
        return given
    try:
        return DEFAULT_FILE if DEFAULT_FILE.exists() else None
    except OSError:  # there is something that may not be looked at; reading it says what
        return DEFAULT_FILE


def _read(settings: Path | None) -> tuple[Settings, Blueprint]:
    path = _settings_file(settings)
    loaded = load(path)
    template = Sources(path, loaded.proxy.template_file, loaded.proxy.state_dir).template()
    return loaded, Blueprint.of(loaded, template)


def _set_state(
    names: list[str], state: AdminState, settings: Path | None, within: float, show: Callable[[dict[str, Any]], None]
) -> int:
    serf = load(_settings_file(settings)).serf
    key = serf.auth_key.get_secret_value() if serf.auth_key is not None else None
    outcomes = asyncio.run(tell(serf.host_port, key, names, state, Patience(serf.request_timeout_s, within)))
    show(states_json(outcomes, state))
    if problems := refusals(outcomes, state):
        raise NodeUnmoved("\n".join(problems))
    return 0


def _ask(settings: Path | None, path: str) -> dict[str, Any]:
    return asyncio.run(ask(load(_settings_file(settings)).admin.listen, path))


def _members(loaded: Settings, file: str | None) -> tuple[Table, View]:
    """The members from a file; or those of the running daemon, with whom it serves now and whom it lets wait."""
    if file is None:
        answer = asyncio.run(ask(loaded.admin.listen, "/v1/members"))
        status = asyncio.run(ask(loaded.admin.listen, "/v1/status"))
        lines = _served_lines(status)
        # Who is served without being listed in full (inherited, unseen, quarantined) is held, as the daemon does.
        known = inherit({name for servers in lines.values() for name in servers}, _NOW)
        waiting = {row["server"]: _NOW + row["for_s"] for row in status.get("damped", [])}
        address = status["agent"].get("address")
        own = loaded.listens_at(ip_address(address) if address else None)
        table = _table(known, records_of(json.dumps(answer), loaded.admin.listen))
        overridden = bool(status.get("guard_overridden"))
        return table, replace(_view(lines), waiting=waiting, own=own, guard_overridden=overridden)
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MembersFileError(f"{file}: cannot be read: {error}") from error
    return _table(EMPTY, records_of(text, "standard input" if file == "-" else file)), _view({})


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
    return View(lines, {}, 0, by_hand=by_hand)


def _decided(settings: Settings, table: Table, view: View) -> tuple[Backend, ...]:
    return decide(table, settings.services, view, settings.policy, _NOW).backends


def _everywhere(settings: Settings, servers: tuple[Server, ...]) -> tuple[Backend, ...]:
    """The same servers in each service."""
    return tuple(Backend(service.name, servers) for service in settings.services)


def _text(blueprint: Blueprint, backends: tuple[Backend, ...]) -> str:
    settings = blueprint.settings
    return render(blueprint.template, blueprint.structure, settings.proxy, settings.services, backends)

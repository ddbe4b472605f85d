"""The command line. Results go to standard output, errors with their remedy to standard error.

Every command that a script may read has `--json`. Exit codes: 0 fine, 1 the answer is no (`plan`: something would
change; `status`: not ready), 2 wrong usage, and one for each branch of errors.py; docs/exit-codes.md lists them.

Here a command is declared: its name, options and help, of which the manual page is made, and how its answer is shown.
What it does stands in `commands.py`, in `preview.py` for what the files make, in `app.py` for the daemon and in
`top.py` for the live view, and is imported when it is called: help, usage and completion answer at once, and the
daemon's process holds nothing of the other commands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from rosterd import __version__
from rosterd.errors import RosterdError
from rosterd.places import SETTINGS_FILE, SETTINGS_VARIABLE

P = ParamSpec("P")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # whole sentences about wrong usage, which a box would cut off
)

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        envvar=SETTINGS_VARIABLE,
        help=f"The settings file [default: {SETTINGS_FILE}, where it exists]",
        show_default=False,
    ),
]
MembersFile = Annotated[
    str | None,
    typer.Option("--members", metavar="FILE", help="Members as `rosterd members --json` prints them; - is stdin"),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C")]
Limit = Annotated[
    int, typer.Option("--limit", "-n", metavar="COUNT", min=1, max=1000, help="So many of the newest events at most")
]
NodeNames = Annotated[
    list[str],
    typer.Argument(metavar="NODE", help="The name that people know a node by (tag `node`), or its Serf name"),
]
NodeTimeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=60, help="How long the nodes have")
]
Interval = Annotated[float, typer.Option("--interval", metavar="SECONDS", min=0.1, help="Seconds between two looks")]
Count = Annotated[
    int | None,
    typer.Option("-n", "--count", metavar="COUNT", min=1, help="End after so many looks", show_default=False),
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


def _settings_file(given: Path | None) -> Path | None:
    if given is not None:
        return given
    try:
        return SETTINGS_FILE if SETTINGS_FILE.exists() else None
    except OSError:  # there is something that may not be looked at; reading it says what
        return SETTINGS_FILE


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  typer's way to call it
    if wanted:
        typer.echo(f"rosterd {__version__}")
        raise typer.Exit


@app.callback()
def rosterd(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Keeps HAProxy in step with a Serf cluster."""
    del version  # told already


@app.command(short_help="Run the daemon in the foreground.")
@_told
def run(settings: SettingsFile = None) -> int:
    """Run the daemon in the foreground."""
    import asyncio

    from rosterd import app as daemon

    asyncio.run(daemon.run(_settings_file(settings)))
    return 0


@app.command(short_help="Check settings, template and configuration.")
@_told
def check(settings: SettingsFile = None) -> int:
    """Check the settings, the template, and with `haproxy -c` what is rendered from them, without and with servers."""
    from rosterd import preview

    return preview.check(_settings_file(settings))


@app.command(short_help="Print the configuration.")
@_told
def render(settings: SettingsFile = None, members: MembersFile = None) -> int:
    """Print the configuration for the running daemon's members, or for those in a file."""
    from rosterd import preview

    return preview.render(_settings_file(settings), members)


@app.command(short_help="Print what would change in HAProxy, and why.")
@_told
def plan(settings: SettingsFile = None, members: MembersFile = None, *, as_json: AsJson = False) -> int:
    """Print what the files as they are now would change in HAProxy, and why; exit code 1 when something would."""
    from rosterd import console, preview

    return preview.plan(_settings_file(settings), members, console.print_json if as_json else console.print_plan)


@app.command(short_help="Print the member table.")
@_told
def members(settings: SettingsFile = None, *, as_json: AsJson = False) -> int:
    """Print the running daemon's member table."""
    from rosterd import commands, console

    return commands.members(_settings_file(settings), console.print_json if as_json else console.print_members)


@app.command(short_help="Print how the daemon and HAProxy are.")
@_told
def status(settings: SettingsFile = None, *, as_json: AsJson = False) -> int:
    """Print how the running daemon and its HAProxy are; exit code 1 when they are not ready."""
    from rosterd import commands, console

    return commands.status(_settings_file(settings), console.print_json if as_json else console.print_status)


@app.command(short_help="Print what happened, or follow it.")
@_told
def events(
    settings: SettingsFile = None, *, follow: Follow = False, limit: Limit = 100, as_json: AsJson = False
) -> int:
    """Print what happened, the newest last: the events of the log, whatever level it has."""
    from rosterd import commands, console

    run_events = commands.follow_events if follow else commands.events
    return run_events(_settings_file(settings), limit, console.print_event_json if as_json else console.print_event)


@app.command(short_help="Show services, servers and changes, live.")
@_told
def top(settings: SettingsFile = None, interval: Interval = 1.0, count: Count = None) -> int:
    """Show services, servers, traffic and the last changes as they go on; q ends it. In a pipe: print them once."""
    from rosterd.top import run as show

    return show(_settings_file(settings), interval, count)


@app.command(short_help="Give nodes no new requests, on every balancer.")
@_told
def drain(
    nodes: NodeNames, settings: SettingsFile = None, timeout: NodeTimeout = 5.0, *, as_json: AsJson = False
) -> int:
    """Give nodes no new requests, on every balancer: their tag becomes `state=drain`. What runs there finishes."""
    from rosterd import commands, console

    show = console.print_json if as_json else console.print_states
    return commands.set_state(_settings_file(settings), nodes, "drain", timeout, show)


@app.command(short_help="Take nodes out, on every balancer.")
@_told
def maint(
    nodes: NodeNames, settings: SettingsFile = None, timeout: NodeTimeout = 5.0, *, as_json: AsJson = False
) -> int:
    """Take nodes out, on every balancer: their tag becomes `state=maint`. No new requests, and no checks."""
    from rosterd import commands, console

    show = console.print_json if as_json else console.print_states
    return commands.set_state(_settings_file(settings), nodes, "maint", timeout, show)


@app.command(short_help="Bring nodes back, on every balancer.")
@_told
def ready(
    nodes: NodeNames, settings: SettingsFile = None, timeout: NodeTimeout = 5.0, *, as_json: AsJson = False
) -> int:
    """Bring nodes back into the traffic, on every balancer: their tag `state` goes."""
    from rosterd import commands, console

    show = console.print_json if as_json else console.print_states
    return commands.set_state(_settings_file(settings), nodes, "ready", timeout, show)


guard = typer.Typer(help="The isolation guard, which keeps failed members' servers.", no_args_is_help=True)
app.add_typer(guard, name="guard")


@guard.command()
@_told
def release(settings: SettingsFile = None) -> int:
    """Let failed members' servers go although the guard is engaged, this once; exit code 1 when it is not engaged."""
    from rosterd import commands

    return commands.release(_settings_file(settings))


@app.command(short_help="Print the versions.")
@_told
def version(settings: SettingsFile = None, *, as_json: AsJson = False) -> int:
    """Print the version and, where a daemon answers, its version and that of the HAProxy that runs."""
    from rosterd import commands

    running = commands.running_versions(_settings_file(settings))
    if as_json:
        typer.echo(json.dumps({"version": __version__, **running}, indent=2))
        return 0
    typer.echo(f"rosterd {__version__}")
    for name, number in running.items():
        typer.echo(f"{name} {number or 'unknown'}, running")
    return 0

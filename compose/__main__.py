"""`python -m compose`: run a cluster of local processes, follow its logs, run the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from compose.cluster import HOME, ClusterError, Kind, LocalCluster
from compose.collected import LOOK_AGAIN_S, CollectedFollower, command_to_follow, running_collectors
from compose.commands import become, rosterd_command, supervisorctl_command
from compose.demo import runner
from compose.demo.containers import PROJECT
from compose.disk import explained
from compose.engine import Engine, take_down
from compose.images import make_images
from compose.logs import Follower, LineFilter, passes, shown, unmatched
from compose.network import NoNetworkError
from compose.settled import wait_settled
from compose.terminal import obey_locale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.cluster import Node
    from compose.logs import Line

RUN = HOME / ".run"
DEMO = "demo"
"""The cluster of the demo, whose containers are those of PROJECT."""
EXIT_CANNOT = 2

app = typer.Typer(
    help="A cluster of local processes: one balancer, any number of web nodes, each on an address of its own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ClusterName = Annotated[str, typer.Option("--cluster", help="Which cluster; its files are in .run/NAME")]
NodeName = Annotated[str, typer.Argument(help="A node, such as web1 or balancer")]


@app.command()
def demo(cluster: ClusterName = DEMO) -> None:
    """Run the demo (DEMO=local, DEMO_STAY=1, DEMO_REPORT=FILE)."""
    sys.exit(runner.main(os.environ, RUN / cluster))


@app.command()
def up(web: Annotated[int, typer.Option(help="How many web nodes")] = 2, cluster: ClusterName = DEMO) -> None:
    """Start a new cluster, a balancer and web nodes, and wait until all serve."""
    made = LocalCluster.create(RUN / cluster)
    made.require_programs()
    nodes = [made.register(Kind.BALANCER, "balancer"), *(made.register(Kind.WEB) for _ in range(web))]
    for node in nodes:
        made.start(node)
    took = asyncio.run(wait_settled(made))
    at, ports = f"http://{nodes[0].address}", made.ports
    doors = f"traffic {at}:{ports.http}  page {at}:{ports.admin}  HAProxy {at}:{ports.stats}"
    typer.echo(f"all serve after {took:.1f} s; {doors}")


@app.command()
def add(
    name: Annotated[str | None, typer.Argument(help="Its name [default: the next of web1, web2 …]")] = None,
    cluster: ClusterName = DEMO,
) -> None:
    """Start one more web node."""
    node = _open(cluster).add_web(name)
    typer.echo(f"{node.name} starts on {node.address}")


@app.command()
def start(name: NodeName, cluster: ClusterName = DEMO) -> None:
    """Start a node again that was stopped or killed."""
    opened = _open(cluster)
    opened.start(opened.node(name))


@app.command()
def stop(name: NodeName, cluster: ClusterName = DEMO) -> None:
    """Stop a node in order: Serf leaves, running requests finish."""
    opened = _open(cluster)
    took = asyncio.run(opened.stop(opened.node(name)))
    typer.echo(f"{name} has stopped after {took:.1f} s")


@app.command()
def kill(name: NodeName, cluster: ClusterName = DEMO) -> None:
    """Crash a node: SIGKILL to all its processes."""
    opened = _open(cluster)
    opened.kill(opened.node(name))


@app.command()
def tag(
    name: NodeName,
    tags: Annotated[list[str], typer.Argument(help="KEY=VALUE, such as weight=10 or state=drain; KEY= deletes")],
    cluster: ClusterName = DEMO,
) -> None:
    """Set tags of a node's running agent."""
    pairs = [text.partition("=") for text in tags]
    if not all(equals and key for key, equals, _ in pairs):
        raise typer.BadParameter("each tag is KEY=VALUE")
    opened = _open(cluster)
    asyncio.run(opened.set_tags(opened.node(name), {key: value for key, _, value in pairs}))


@app.command()
def nodes(cluster: ClusterName = DEMO) -> None:
    """List the nodes."""
    opened = _open(cluster)
    table = Table(box=None)
    for column in ("node", "kind", "address", "state"):
        table.add_column(column)
    for node in opened.nodes():
        table.add_row(node.name, node.kind.value, node.address, "runs" if opened.is_running(node) else "stopped")
    Console().print(table)


@app.command()
def ready(cluster: ClusterName = DEMO) -> None:
    """Wait until the balancer does what is wanted of it, with all nodes that run."""
    asyncio.run(wait_settled(_open(cluster)))


@app.command()
def url(cluster: ClusterName = DEMO) -> None:
    """Print where traffic comes in."""
    typer.echo(_url(_open(cluster)))


def _url(opened: LocalCluster) -> str:
    return f"http://{_balancer(opened).address}:{opened.ports.http}"


@app.command(context_settings={"ignore_unknown_options": True})
def ctl(
    name: NodeName,
    arguments: Annotated[list[str], typer.Argument(help="such as status, or restart rosterd")],
    cluster: ClusterName = DEMO,
) -> None:
    """Ask a node's supervisord (supervisorctl)."""
    opened = _open(cluster)
    become(supervisorctl_command(*arguments), opened.node_environment(opened.node(name)))


@app.command(context_settings={"ignore_unknown_options": True})
def rosterd(
    arguments: Annotated[list[str], typer.Argument(help="such as status, top, events --follow, members --json")],
    cluster: ClusterName = DEMO,
) -> None:
    """Run a rosterd command with the balancer's settings."""
    opened = _open(cluster)
    become(rosterd_command(*arguments), opened.node_environment(_balancer(opened)))


def _balancer(opened: LocalCluster) -> Node:
    balancers = [node for node in opened.nodes() if node.kind is Kind.BALANCER]
    if not balancers:
        raise ClusterError("the cluster has no balancer")
    return balancers[0]


@app.command()
def images() -> None:
    """Make the container images (a registry and a package index are used where they answer)."""
    make_images(Engine.find("rosterd"), typer.echo)


@app.command()
def logs(  # noqa: PLR0913  an option each
    cluster: Annotated[str, typer.Option(envvar="CLUSTER", help="The local processes of .run/NAME")] = "",
    project: Annotated[str, typer.Option(envvar="PROJECT", help="The containers of this compose project")] = "",
    node: Annotated[str, typer.Option(envvar="NODE", help="Only these nodes, such as 'web*'")] = "",
    program: Annotated[str, typer.Option(envvar="PROGRAM", help="Only these: rosterd, serf, access …")] = "",
    event: Annotated[str, typer.Option(envvar="EVENT", help="Only these events, such as 'member.*'")] = "",
    lines: Annotated[int, typer.Option(envvar="LINES_BACK", help="How many past lines to begin with")] = 200,
    *,
    follow: Annotated[bool, typer.Option(help="Go on as lines come")] = True,
) -> None:
    """Follow the logs of all nodes together; requests that went well only with --program access.

    Unless a cluster or a project is named: the demo's containers, else local processes that run, else other containers.
    """
    if cluster and project:
        raise typer.BadParameter("either --cluster (local processes) or --project (containers)")
    chosen = LineFilter(node, program, event)
    if follow:
        # Ctrl-C ends the process itself. A KeyboardInterrupt is lost where Python raises it in a callback of the
        # garbage collector or of an import, and following goes on. What runs in a container ends with its input.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    source = _named_source(cluster, project) if cluster or project else _found_source()
    if source is None:
        _tell("no cluster yet; waiting for one (make demo, or: up)")
    while source is None and follow:
        time.sleep(LOOK_AGAIN_S)
        source = _found_source()
    if source is None:
        return
    with contextlib.closing(source):
        everything = source.new_lines()
        _tell_of_no_such_node(node, everything)
        past = [line for line in everything if passes(line, chosen)]
        _print_lines(past[max(0, len(past) - lines) :])
        while follow:
            time.sleep(source.pause_s)
            _print_lines([line for line in source.new_lines() if passes(line, chosen)])


def _named_source(cluster: str, project: str) -> Follower | CollectedFollower:
    """The logs of the local processes or of the containers that are named."""
    if project:
        if command_to_follow(project) is None:
            _tell(f"no log collector of the project {project} runs; waiting for one")
        return CollectedFollower(lambda: command_to_follow(project), _tell)
    if not (RUN / cluster / "cluster.json").exists():
        _tell(f"no cluster in {RUN / cluster} yet; waiting for one (make demo, or: up)")
    return Follower(RUN / cluster)


def _found_source() -> Follower | CollectedFollower | None:
    """The logs of what is there: the demo's containers, local processes that run, other containers, those that ran."""
    projects = [collector.project for collector in running_collectors()]
    known = (RUN / DEMO / "cluster.json").exists()
    if projects and (PROJECT in projects or not (known and _open(DEMO).running())):
        project = PROJECT if PROJECT in projects else projects[0]
        others = ", ".join(sorted({*projects} - {project}))
        _tell(f"following the containers of {project}" + (f"; for others: PROJECT={others}" if others else ""))
        return CollectedFollower(lambda: command_to_follow(project), _tell)
    return Follower(RUN / DEMO) if known else None


def _tell_of_no_such_node(patterns: str, lines: Sequence[Line]) -> None:
    """Say so when a node that was asked for has not written anything: it may still come, and following goes on."""
    known = sorted({line.node for line in lines})
    missing = unmatched(patterns, known) if known else ()
    if missing:
        _tell(f"no node {', '.join(map(repr, missing))}; there are: {', '.join(known)}")


def _print_lines(lines: Sequence[Line]) -> None:
    console = Console(highlight=False)
    for line in lines:
        console.print(shown(line), soft_wrap=True)


@app.command()
def down(
    cluster: ClusterName = DEMO,
    *,
    every: Annotated[bool, typer.Option("--all", help="Stop all clusters in .run, also when there is none")] = False,
) -> None:
    """Stop all nodes in order, and remove the demo's containers; the logs of local processes stay in .run."""
    removed = (every or cluster == DEMO) and asyncio.run(take_down(PROJECT, _tell))
    names = sorted(path.parent.name for path in RUN.glob("*/cluster.json")) if every else [cluster]
    for name in names:
        if (RUN / name / "cluster.json").exists() or not removed:
            _stop(_open(name))


def _stop(opened: LocalCluster) -> None:
    try:
        asyncio.run(opened.down())
    finally:
        opened.kill_all()


def _open(cluster: str) -> LocalCluster:
    return LocalCluster.open(RUN / cluster)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Run a command; a refusal is one line and exit code 2."""
    obey_locale(os.environ, sys.stdout, sys.stderr)
    try:
        app()
    except (ClusterError, NoNetworkError) as error:
        sys.stderr.write(f"compose: {error}\n")
        sys.exit(EXIT_CANNOT)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        text = explained(error, RUN)
        if text is None:
            raise
        sys.stderr.write(f"compose: {text}\n")
        sys.exit(EXIT_CANNOT)


if __name__ == "__main__":
    main()

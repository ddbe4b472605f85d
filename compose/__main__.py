"""`python -m compose`: run a cluster of local processes, follow its logs, run the demo."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from compose.cluster import HOME, ClusterError, Kind, LocalCluster
from compose.demo import runner
from compose.demo.containers import PROJECT
from compose.engine import Engine, collector_of, tail_of
from compose.images import make_images
from compose.logs import CollectedFollower, Follower, LineFilter, passes, shown
from compose.network import NoNetworkError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from compose.commands import CommandResult

RUN = HOME / ".run"
FOLLOW_S = 0.1
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
def demo(cluster: ClusterName = "demo") -> None:
    """Run the demo (DEMO=local, DEMO_STAY=1, DEMO_REPORT=FILE)."""
    sys.exit(runner.main(os.environ, RUN / cluster))


@app.command()
def up(web: Annotated[int, typer.Option(help="How many web nodes")] = 2, cluster: ClusterName = "demo") -> None:
    """Start a new cluster: a balancer and web nodes."""
    made = LocalCluster.create(RUN / cluster)
    made.require_programs()
    nodes = [made.register(Kind.BALANCER, "balancer"), *(made.register(Kind.WEB) for _ in range(web))]
    for node in nodes:
        made.start(node)
    ports = made.ports
    typer.echo(f"traffic http://{nodes[0].address}:{ports.http}/  statistics http://{nodes[0].address}:{ports.stats}/")


@app.command()
def add(
    name: Annotated[str | None, typer.Argument(help="Its name [default: the next of web1, web2 …]")] = None,
    cluster: ClusterName = "demo",
) -> None:
    """Start one more web node."""
    node = _open(cluster).add_web(name)
    typer.echo(f"{node.name} starts on {node.address}")


@app.command()
def start(name: NodeName, cluster: ClusterName = "demo") -> None:
    """Start a node again that was stopped or killed."""
    opened = _open(cluster)
    opened.start(opened.node(name))


@app.command()
def stop(name: NodeName, cluster: ClusterName = "demo") -> None:
    """Stop a node in order: Serf leaves, running requests finish."""
    opened = _open(cluster)
    took = asyncio.run(opened.stop(opened.node(name)))
    typer.echo(f"{name} has stopped after {took:.1f} s")


@app.command()
def kill(name: NodeName, cluster: ClusterName = "demo") -> None:
    """Crash a node: SIGKILL to all its processes."""
    opened = _open(cluster)
    opened.kill(opened.node(name))


@app.command()
def tag(
    name: NodeName,
    tags: Annotated[list[str], typer.Argument(help="KEY=VALUE, such as weight=10 or state=drain; KEY= deletes")],
    cluster: ClusterName = "demo",
) -> None:
    """Set tags of a node's running agent."""
    pairs = [text.partition("=") for text in tags]
    if not all(equals and key for key, equals, _ in pairs):
        raise typer.BadParameter("each tag is KEY=VALUE")
    opened = _open(cluster)
    asyncio.run(opened.set_tags(opened.node(name), {key: value for key, _, value in pairs}))


@app.command()
def nodes(cluster: ClusterName = "demo") -> None:
    """List the nodes."""
    opened = _open(cluster)
    table = Table(box=None)
    for column in ("node", "kind", "address", "state"):
        table.add_column(column)
    for node in opened.nodes():
        table.add_row(node.name, node.kind.value, node.address, "runs" if opened.is_running(node) else "stopped")
    Console().print(table)


@app.command(context_settings={"ignore_unknown_options": True})
def ctl(
    name: NodeName,
    arguments: Annotated[list[str], typer.Argument(help="such as status, or restart rosterd")],
    cluster: ClusterName = "demo",
) -> None:
    """Ask a node's supervisord (supervisorctl)."""
    opened = _open(cluster)
    _relay(opened.supervisorctl(opened.node(name), *arguments))


@app.command(context_settings={"ignore_unknown_options": True})
def rosterd(
    arguments: Annotated[list[str], typer.Argument(help="such as status, members --json, plan, render")],
    cluster: ClusterName = "demo",
) -> None:
    """Run a rosterd command with the balancer's settings."""
    opened = _open(cluster)
    balancers = [node for node in opened.nodes() if node.kind is Kind.BALANCER]
    if not balancers:
        raise ClusterError("the cluster has no balancer")
    _relay(opened.rosterd(balancers[0], *arguments))


@app.command()
def images() -> None:
    """Make the container images (a registry and a package index are used where they answer)."""
    make_images(Engine.find("rosterd"), typer.echo)


@app.command()
def logs(
    cluster: ClusterName = "demo",
    node: Annotated[str, typer.Option(envvar="NODE", help="Only these nodes, such as 'web*'")] = "",
    program: Annotated[str, typer.Option(envvar="PROGRAM", help="Only these: rosterd, serf, access …")] = "",
    event: Annotated[str, typer.Option(envvar="EVENT", help="Only these events, such as 'member.*'")] = "",
    lines: Annotated[int, typer.Option(envvar="LINES_BACK", help="How many past lines to begin with")] = 200,
    *,
    follow: Annotated[bool, typer.Option(help="Go on as lines come")] = True,
) -> None:
    """Follow the logs of all nodes together; requests that went well only with --program access.

    Those of the containers where there are any, else those of the local processes.
    """
    chosen = LineFilter(node, program, event)
    collector = collector_of(PROJECT)
    if collector:
        with tail_of(collector, lines or 1) as tail:
            _follow(CollectedFollower(tail), chosen, lines, follow=follow)
        return
    if not (RUN / cluster / "cluster.json").exists():
        sys.stderr.write(f"no cluster in {RUN / cluster} yet; waiting for one (make demo, or: up)\n")
    _follow(Follower(RUN / cluster), chosen, lines, follow=follow)


def _follow(follower: Follower | CollectedFollower, chosen: LineFilter, back: int, *, follow: bool) -> None:
    console = Console(highlight=False)
    while True:
        found = [line for line in follower.new_lines() if passes(line, chosen)]
        for line in found[-back:] if back else found:
            console.print(shown(line), soft_wrap=True)
        back = 0
        if not follow:
            return
        time.sleep(FOLLOW_S)


@app.command()
def down(
    cluster: ClusterName = "demo",
    *,
    every: Annotated[bool, typer.Option("--all", help="Stop all clusters in .run, also when there is none")] = False,
) -> None:
    """Stop all nodes in order; their logs stay in .run."""
    names = sorted(path.parent.name for path in RUN.glob("*/cluster.json")) if every else [cluster]
    for name in names:
        _stop(_open(name))


def _stop(opened: LocalCluster) -> None:
    try:
        asyncio.run(opened.down())
    finally:
        opened.kill_all()


def _open(cluster: str) -> LocalCluster:
    return LocalCluster.open(RUN / cluster)


def _relay(command: Coroutine[None, None, CommandResult]) -> None:
    """Print what a command printed and end as it ended."""
    result = asyncio.run(command)
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    sys.exit(result.code)


def main() -> None:
    """Run a command; a refusal is one line and exit code 2."""
    try:
        app()
    except (ClusterError, NoNetworkError) as error:
        sys.stderr.write(f"compose: {error}\n")
        sys.exit(EXIT_CANNOT)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()

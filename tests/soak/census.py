"""Which processes the cluster has, and what those of the balancer use, from /proc.

Every process of a node was started with the node's `NODE_RUN` in its environment, by which it is found wherever it
went. So are commands such as `supervisorctl`, while they run: those are in our own session, and do not count.

An orphan is a process that no supervisord of the cluster looks after: its parent is none of the cluster, though it is
no supervisord itself, or its supervisord is gone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.accounting import rss_mb

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_PROC = Path("/proc")

DAEMON, AGENT, MASTER, WORKER, APP, SUPERVISOR = "rosterd", "serf", "haproxy", "worker", "webapp", "supervisord"


@dataclass(frozen=True, slots=True)
class Process:
    """One that lives; `program` is one of the names above, or the name of its file. `run` is the node's folder."""

    pid: int
    parent: int
    session: int
    program: str
    run: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process uses now."""

    pid: int
    rss_mb: float
    descriptors: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The balancer at one moment; a program that was away then has no usage."""

    at: float
    daemon: Usage | None
    worker: Usage | None
    agent: Usage | None
    old_workers: int
    processes: int
    orphans: int


def processes_below(directory: Path) -> tuple[Process, ...]:
    """Every living process of the nodes whose folders are below this one, by pid."""
    marker = b"NODE_RUN=" + os.fsencode(directory) + b"/"
    found = []
    for pid in sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()):
        process = _process(pid, marker)
        if process is not None:
            found.append(process)
    return tuple(_named(found))


def orphans_among(processes: Sequence[Process]) -> tuple[Process, ...]:
    """Return those that nobody looks after."""
    pids = {process.pid for process in processes}
    return tuple(
        process
        for process in processes
        if process.session not in pids or (process.pid != process.session and process.parent not in pids)
    )


def sample(at: float, processes: Sequence[Process], balancer: Path) -> Sample:
    """Look what the balancer's programs use."""
    own = [process for process in processes if process.run == str(balancer)]
    workers = [process.pid for process in own if process.program == WORKER]
    return Sample(
        at,
        daemon=_usage(pids_of(own, DAEMON)),
        worker=_usage(workers[-1:]),
        agent=_usage(pids_of(own, AGENT)),
        old_workers=max(0, len(workers) - 1),
        processes=len(processes),
        orphans=len(orphans_among(processes)),
    )


def pids_of(processes: Sequence[Process], program: str) -> list[int]:
    """Return the pids of a program, the oldest first, as far as pids tell."""
    return [process.pid for process in processes if process.program == program]


def _process(pid: int, marker: bytes) -> Process | None:
    folder = _PROC / str(pid)
    try:
        variables = (folder / "environ").read_bytes().split(b"\0")
        run = next((variable for variable in variables if variable.startswith(marker)), None)
        if run is None:
            return None
        # The name in parentheses may hold anything; after it come state, parent, group, session.
        state, parent, _group, session = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
        words = (folder / "cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    if state in "ZX" or int(session) == os.getsid(0):
        return None
    run_folder = os.fsdecode(run.partition(b"=")[2])
    return Process(pid, int(parent), int(session), program_of([os.fsdecode(word) for word in words]), run_folder)


def program_of(words: Sequence[str]) -> str:
    """Return which program a command line is of."""
    name = words[0].rpartition("/")[2] if words else ""
    modules = set(pairwise(words))
    if ("-m", "rosterd") in modules:
        return DAEMON
    if ("-m", "webapp") in modules:
        return APP
    if any(word.rpartition("/")[2] == SUPERVISOR for word in words[:2]):
        return SUPERVISOR
    if name == "haproxy":
        return "haproxy -c" if "-c" in words else MASTER
    return name


def _named(processes: Collection[Process]) -> Iterator[Process]:
    """Tell HAProxy's workers, which look like their master, from it: they are its children."""
    masters = {process.pid for process in processes if process.program == MASTER}
    for process in processes:
        is_worker = process.program == MASTER and process.parent in masters
        yield Process(process.pid, process.parent, process.session, WORKER, process.run) if is_worker else process


def _usage(pids: Sequence[int]) -> Usage | None:
    try:
        return (
            Usage(pids[0], round(rss_mb(pids[0]), 2), len(list((_PROC / str(pids[0]) / "fd").iterdir())))
            if pids
            else None
        )
    except OSError:
        return None

#!/usr/bin/env python3
"""Sets this node's tag `state` as a query asks: the far end of `rosterd drain`, `ready` and `maint`.

One file, standard library only, for any node with a Serf agent and Python 3.9 or newer. It is an event handler of that
agent, for the query `rosterd-state`:

    serf agent -event-handler=query:rosterd-state=/usr/local/bin/rosterd-state ...

Serf has `/bin/sh -c` run the text behind the second `=`, with the query's payload on standard input; what the program
prints is the answer, if it ends well. Rules:

- The payload is `ready`, `drain` or `maint`, or it is refused. Nothing else of a query is looked at, and nothing of it
  gets into a command line.
- The answer is `ok`, or `error: ` and why, in less than the 1024 bytes that Serf sends. So the exit code is 0, unless
  the options are wrong.
- The agent waits for its handlers, one at a time: this one ends within `LONGEST_S`, and soon after.
- The key of the agent's RPC comes from a file or the environment, never from a command line.

| option | variable | meaning | else |
|---|---|---|---|
| `--rpc-addr` | `SERF_RPC_ADDRESS` | where the agent's RPC listens, `host:port` | `SERF_RPC_ADDR`, 127.0.0.1:7373 |
| `--rpc-auth-file` | `SERF_RPC_AUTH_FILE` | a file that holds the key of the RPC | `SERF_RPC_AUTH`, no key |

The last column is what the program `serf` itself does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUERY = "rosterd-state"
CHANGES = {"ready": "-delete=state", "drain": "-set=state=drain", "maint": "-set=state=maint"}
"""What each payload does; `ready` is what a node without the tag is."""

OK = "ok"
LONGEST_S = 10.0
"""The agent's own limit for telling the others is 5 s."""

LONGEST_PAYLOAD = 64
LONGEST_ANSWER = 500


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """The answer to the query on standard input."""
    options = _parser().parse_args(arguments)
    payload = sys.stdin.buffer.read(LONGEST_PAYLOAD).decode("ascii", "replace")
    change = CHANGES.get(payload.removesuffix("\n"))  # Serf puts one there
    if change is None:
        return f"error: the payload is none of {', '.join(CHANGES)}"
    address = options.rpc_addr or environ.get("SERF_RPC_ADDRESS")
    key_file = options.rpc_auth_file or environ.get("SERF_RPC_AUTH_FILE")
    try:
        told = {
            **({"SERF_RPC_ADDR": address} if address else {}),
            **({"SERF_RPC_AUTH": Path(key_file).read_text(encoding="utf-8").strip()} if key_file else {}),
        }
        return change_tags(change, {**environ, **told})
    except (OSError, UnicodeDecodeError) as error:
        return f"error: {error}"


def change_tags(change: str, environ: Mapping[str, str], longest_s: float = LONGEST_S) -> str:
    """Have the agent that `environ` names make the change; the answer.

    Raises:
        OSError: `serf` cannot be run.
    """
    command = ["serf", "tags", change]
    try:
        done = subprocess.run(  # noqa: S603  no shell, and a word of our own
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=longest_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"error: serf tags: no end after {longest_s:g} s"
    if done.returncode:
        return f"error: serf tags: {done.stdout.decode(errors='replace').strip()}"
    return OK


def cut(answer: str) -> bytes:
    """As much of an answer as Serf is sure to send."""
    return answer.encode()[:LONGEST_ANSWER].decode(errors="ignore").encode()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=f"Event handler of a Serf agent, for the query {QUERY}.")
    parser.add_argument("--rpc-addr", metavar="HOST:PORT", help="where the agent's RPC listens")
    parser.add_argument("--rpc-auth-file", metavar="FILE", help="a file that holds the key of the RPC")
    return parser


if __name__ == "__main__":
    sys.stdout.buffer.write(cut(main(sys.argv[1:], os.environ)))

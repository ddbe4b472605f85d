"""What HAProxy is asked on its sockets, and what its answers mean. No I/O.

Rules:

- One line out, one text back. The text carries no code, so each parser names what it expects and raises
  `ProxyGarbled`, with the command and the line that does not fit, for everything else.
- What differs between versions is decided here and nowhere else, by the answer itself where it tells: from 2.7 on
  the master answers `reload` when it is done, before that at once and with nothing.

Sources: HAProxy's management guide, "Unix Socket commands" and "Master CLI", 2.6 and 3.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from rosterd.config_text import MARK
from rosterd.errors import ProxyGarbled
from rosterd.model import Address, AdminState, AgentCheck, Running, RunningServer
from rosterd.proxy.versions import OLDEST, Version, version_of

SHOW_INFO = "show info"
SHOW_SERVERS = "show servers state"
SHOW_PROC = "show proc"
RELOAD = "reload"

OBSERVE = f"{SHOW_INFO};{SHOW_SERVERS}"
"""Both in one line, so that both answers come from the same worker."""

SHOW_SERVER_STAT = "show stat -1 4 -1"
OBSERVE_WITH_SESSIONS = f"{OBSERVE};{SHOW_SERVER_STAT}"


def by_master(question: str, pid: int) -> str:
    """The same question to a worker, for the master socket: it hands each command on, and the answer back."""
    return ";".join(f"@!{pid} {command}" for command in question.split(";"))


# --- the runtime socket -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Info:
    """The few fields of `show info` that matter here; `description` is empty when the configuration has none."""

    version: str
    pid: int
    description: str


def parse_observation(text: str) -> Running:
    """The answer to `OBSERVE` or `OBSERVE_WITH_SESSIONS`: those of its commands, with a blank line after each."""
    info_text, blank, rest = text.lstrip("\n").partition("\n\n")
    if not blank:
        raise _garbled(OBSERVE, _last_line(text))
    servers_text, blank, stat_text = rest.lstrip("\n").partition("\n\n")
    servers_text += blank
    info = parse_info(info_text)
    marked = info.description.startswith(MARK)
    return Running(
        version=info.version,
        pid=info.pid,
        structure=info.description.removeprefix(MARK) if marked else "",
        backends=parse_servers_state(servers_text),
        sessions=parse_sessions(stat_text) if stat_text.strip() else {},
    )


_INFO_FIELDS = {key: re.compile(rf"(?m)^{key}:[ \t]*(.*?)[ \t]*$") for key in ("Version", "Pid", "description")}
"""The answer has dozens of fields and is read often: only these are looked for."""


def parse_info(text: str) -> Info:
    """The answer to `show info`: lines of `Key: value`."""
    return Info(
        version=_field(text, "Version"),
        pid=_number(SHOW_INFO, _field(text, "Pid")),
        description=_value(text, "description"),
    )


def _value(text: str, key: str) -> str:
    found = _INFO_FIELDS[key].search(text)
    return found[1] if found else ""


def _field(text: str, key: str) -> str:
    value = _value(text, key)
    if not value:
        raise ProxyGarbled(f"HAProxy's answer to '{SHOW_INFO}' lacks {key}")
    return value


_STATE_FORMAT = "1"
_STATE_COLUMNS = (
    "be_name",
    "srv_id",
    "srv_name",
    "srv_addr",
    "srv_op_state",
    "srv_admin_state",
    "srv_uweight",
    "srv_iweight",
    "srv_port",
    "srv_check_result",
    "srv_check_state",
    "srv_agent_state",
)

_HEALTH_COLUMNS = (
    *_STATE_COLUMNS,
    "srv_time_since_last_change",
    "srv_check_status",
    "srv_agent_state",
    "srv_fqdn",
)

# Values of srv_check_status as long as no check has ended: unknown, initializing, started.
_NOT_CHECKED_YET = frozenset({0, 1, 2})

# Bits of srv_admin_state. 0x04 says that the file had the server disabled, and stays when somebody enables it: only
# the bits here keep it out. Forced, inherited from a tracked server, and for want of an address; forced, inherited.
_MAINT_BITS = 0x01 | 0x02 | 0x20
_DRAIN_BITS = 0x08 | 0x10

# Bits that the agent of a server sets, the same as a command does; and the bit of the file's `disabled`.
_AGENT_BITS = 0x01 | 0x08
_DISABLED_IN_FILE = 0x04

# Bits of srv_check_state: a check is under way, there is one, and it is switched on. And the srv_check_result of one
# that has not spoken, and of one that has failed.
_CHECK_UNDER_WAY = 0x01
_CHECK_CONFIGURED = 0x02
_CHECK_ENABLED = 0x04
_CHECK_UNKNOWN = 0
_CHECK_FAILED = 2

# Values of srv_op_state that let traffic in: starting (slowstart) and running, but not stopped (0) or stopping (3).
_UP_STATES = frozenset({1, 2})
_UP_TEXTS = frozenset(map(str, _UP_STATES))


@dataclass(frozen=True, slots=True)
class HealthRow:
    """The health of one server that has a check of its own, in the words of `show servers state`.

    `address` and `host_name` are "-" where the server has none; `age_s` is the time since its health changed.
    """

    backend: str
    server: str
    address: str
    host_name: str
    port: str
    age_s: int
    up: bool
    in_maintenance: bool
    never_checked: bool
    weight: int


def parse_servers_state(text: str) -> Mapping[str, Mapping[str, RunningServer]]:
    """The answer to `show servers state`, by backend and then by server. Backends without servers are not in it."""
    backends: dict[str, dict[str, RunningServer]] = {}
    for row in state_rows(text, _STATE_COLUMNS):
        backends.setdefault(row["be_name"], {})[row["srv_name"]] = _server(row)
    return backends


def state_rows(text: str, columns: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """The rows of an answer to `show servers state`, by column; the answer must have at least these columns."""
    header, lines = _state_table(text, columns)
    for line in lines:
        yield _state_row(header, line)


def health_rows(text: str) -> Iterator[HealthRow]:
    """What an answer to `show servers state` says of each server that gets no traffic and has a check of its own.

    Most servers get traffic, and there may be thousands: their rows are passed over at the first look.
    """
    header, lines = _state_table(text, _HEALTH_COLUMNS)
    state, weight = header.index("srv_op_state"), header.index("srv_uweight")
    for line in lines:
        words = line.split(" ", max(state, weight) + 1)
        if words[state:] and words[state] in _UP_TEXTS and words[weight:] and words[weight] != "0":
            continue
        row = _state_row(header, line)
        has_check = _number(SHOW_SERVERS, row["srv_check_state"]) & _CHECK_CONFIGURED
        if has_check or _number(SHOW_SERVERS, row["srv_agent_state"]):
            yield _health(row)


def _state_table(text: str, columns: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names of the columns, and the lines."""
    _check_ending(SHOW_SERVERS, text)
    lines = [line for line in text.splitlines() if line]
    if len(lines) < 2 or lines[0] != _STATE_FORMAT or not lines[1].startswith("# "):
        raise _garbled(SHOW_SERVERS, "\n".join(lines[:2]))
    header = lines[1][2:].split(" ")
    if not set(columns) <= set(header):
        raise _garbled(SHOW_SERVERS, lines[1])
    return header, lines[2:]


def _state_row(header: Sequence[str], line: str) -> Mapping[str, str]:
    words = line.split(" ")
    if len(words) != len(header):
        raise _garbled(SHOW_SERVERS, line)
    return dict(zip(header, words, strict=True))


def _health(row: Mapping[str, str]) -> HealthRow:
    return HealthRow(
        backend=row["be_name"],
        server=row["srv_name"],
        address=row["srv_addr"],
        host_name=row["srv_fqdn"],
        port=row["srv_port"],
        age_s=_number(SHOW_SERVERS, row["srv_time_since_last_change"]),
        up=_number(SHOW_SERVERS, row["srv_op_state"]) in _UP_STATES,
        in_maintenance=bool(_number(SHOW_SERVERS, row["srv_admin_state"]) & _MAINT_BITS),
        never_checked=_number(SHOW_SERVERS, row["srv_check_status"]) in _NOT_CHECKED_YET,
        weight=_number(SHOW_SERVERS, row["srv_uweight"]),
    )


def _server(row: Mapping[str, str]) -> RunningServer:
    check_state = _number(SHOW_SERVERS, row["srv_check_state"])
    has_check = bool(check_state & (_CHECK_CONFIGURED | _CHECK_ENABLED))
    result = _number(SHOW_SERVERS, row["srv_check_result"])
    # A check that has failed and still runs has not taken its server down yet: 3.2 and newer show that moment.
    is_open = result == _CHECK_UNKNOWN or (result == _CHECK_FAILED and check_state & _CHECK_UNDER_WAY)
    agent = _agent(_number(SHOW_SERVERS, row["srv_agent_state"]))
    state, out_by_agent = _states(_number(SHOW_SERVERS, row["srv_admin_state"]), agent)
    initial_weight = _number(SHOW_SERVERS, row["srv_iweight"])
    is_up = _number(SHOW_SERVERS, row["srv_op_state"]) in _UP_STATES
    return RunningServer(
        name=row["srv_name"],
        id=_number(SHOW_SERVERS, row["srv_id"]),
        address=_address(row["srv_addr"]),
        port=_number(SHOW_SERVERS, row["srv_port"]),
        weight=initial_weight if agent is AgentCheck.ON else _number(SHOW_SERVERS, row["srv_uweight"]),
        state=state,
        up=is_up and out_by_agent is AdminState.READY,
        checked=not (has_check and is_open),
        checking=bool(check_state & _CHECK_UNDER_WAY),
        check_off=has_check and not check_state & _CHECK_ENABLED,
        agent=agent,
        initial_weight=0 if agent is AgentCheck.NONE else initial_weight,
        out_by_agent=out_by_agent,
    )


def _agent(bits: int) -> AgentCheck:
    if bits & _CHECK_ENABLED:
        return AgentCheck.ON
    return AgentCheck.OFF if bits & _CHECK_CONFIGURED else AgentCheck.NONE


def _states(bits: int, agent: AgentCheck) -> tuple[AdminState, AdminState]:
    """Return the state of a server, and the state into which its agent put it.

    No bit distinguishes the two. While the agent is on, it undoes a state set by command as soon as it names another
    one, so what it can set counts as set by it.
    """
    if agent is not AgentCheck.ON:
        return _admin_state(bits), AdminState.READY
    if bits & _DISABLED_IN_FILE:
        return AdminState.MAINT, AdminState.READY
    return _admin_state(bits & ~_AGENT_BITS), _admin_state(bits & _AGENT_BITS)


def parse_sessions(text: str) -> Mapping[tuple[str, str], int]:
    """The answer to `show stat` for servers: requests under way to each (service, server), queued ones included."""
    rows = stat_rows(SHOW_SERVER_STAT, text, texts=("pxname", "svname"), numbers=("qcur", "scur"))
    return {(service, server): queued + running for (service, server), (queued, running) in rows}


def stat_rows(
    command: str, text: str, *, texts: Sequence[str], numbers: Sequence[str]
) -> Iterator[tuple[list[str], list[int]]]:
    """The answer to a `show stat`: of each line these columns as they are, and those as numbers.

    What is behind the last of them, the words of servers among it, is not looked at.
    """
    _check_ending(command, text)
    header, *lines = [line for line in text.splitlines() if line] or [""]
    columns = header.removeprefix("# ").split(",")
    if not {*texts, *numbers} <= set(columns):
        raise _garbled(command, header)
    text_places = [columns.index(column) for column in texts]
    number_places = [columns.index(column) for column in numbers]
    last = max(*text_places, *number_places)
    for line in lines:
        values = line.split(",", last + 1)
        if len(values) <= last:
            raise _garbled(command, line)
        yield [values[place] for place in text_places], [_number(command, values[place]) for place in number_places]


def _admin_state(bits: int) -> AdminState:
    if bits & _MAINT_BITS:
        return AdminState.MAINT
    return AdminState.DRAIN if bits & _DRAIN_BITS else AdminState.READY


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        # A server on a unix socket, or one whose name did not resolve: it has none.
        return None


# --- the master socket ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process; `reloads` counts the reloads since it started."""

    pid: int
    reloads: int


@dataclass(frozen=True, slots=True)
class Processes:
    """The answer to `show proc`. `failed` counts the reloads that failed since the last good one."""

    master_pid: int
    reloads: int
    failed: int
    workers: tuple[Worker, ...]
    old_workers: tuple[Worker, ...]
    version: Version = OLDEST
    """The master's; the oldest where the answer does not have it."""


_PROC_ROW = re.compile(
    r"(?P<pid>\d+)\s+(?P<type>\S+)\s+(?P<reloads>\d+)(?:\s+\[failed: (?P<failed>\d+)\])?\s(?P<rest>.*)"
)


def parse_proc(text: str) -> Processes:
    """The answer to `show proc`: the master, then sections for the workers, the old ones and programs."""
    _check_ending(SHOW_PROC, text)
    section = ""
    rows: dict[str, list[re.Match[str]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        elif line:
            rows.setdefault(section, []).append(_proc_row(line))
    masters = [row for section_rows in rows.values() for row in section_rows if row["type"] == "master"]
    if len(masters) != 1:
        raise _garbled(SHOW_PROC, _last_line(text))
    failed = int(masters[0]["failed"] or 0)
    workers = tuple(_workers(rows.get("workers", [])))
    old_workers = tuple(_workers(rows.get("old workers", [])))
    if failed and not workers:
        workers, old_workers = _still_serving(old_workers)
    return Processes(
        master_pid=int(masters[0]["pid"]),
        reloads=int(masters[0]["reloads"]),
        failed=failed,
        workers=workers,
        old_workers=old_workers,
        version=version_of(masters[0]["rest"].rstrip().rpartition(" ")[2]),
    )


def _still_serving(listed_as_old: tuple[Worker, ...]) -> tuple[tuple[Worker, ...], tuple[Worker, ...]]:
    """Return the worker that serves and the rest, as HAProxy 3.2 and newer list them after a failed reload.

    The worker that serves on stands among the old workers then; it is the newest of them.
    """
    newest_first = sorted(listed_as_old, key=lambda worker: worker.reloads)
    return tuple(newest_first[:1]), tuple(newest_first[1:])


def _proc_row(line: str) -> re.Match[str]:
    row = _PROC_ROW.fullmatch(line)
    if row is None:
        raise _garbled(SHOW_PROC, line)
    return row


def _workers(rows: list[re.Match[str]]) -> Iterator[Worker]:
    return (Worker(int(row["pid"]), int(row["reloads"])) for row in rows if row["type"] == "worker")


class Outcome(Enum):
    """What the answer to `reload` proves."""

    LOADED = "loaded"
    FAILED = "failed"
    UNTOLD = "untold"
    """HAProxy 2.6 and older: the answer is empty, only `show proc` tells."""
    BUSY = "busy"
    """HAProxy still loads its file for an earlier reload, and did not begin another."""


@dataclass(frozen=True, slots=True)
class ReloadAnswer:
    """The answer to `reload`, and HAProxy's own words while it loaded."""

    outcome: Outcome
    messages: Messages


def parse_reload(text: str) -> ReloadAnswer:
    """The answer to `reload`: `Success=1` or `Success=0`, `--`, the log of the start; or nothing at all."""
    first, _, rest = text.strip().partition("\n")
    if not first:
        return ReloadAnswer(Outcome.UNTOLD, Messages((), ()))
    outcome = {"Success=1": Outcome.LOADED, "Success=0": Outcome.FAILED}.get(first.strip())
    if outcome is None:
        raise _garbled(RELOAD, first)
    if outcome is Outcome.FAILED and _BUSY in rest:
        outcome = Outcome.BUSY
    return ReloadAnswer(outcome, parse_messages(rest))


_BUSY = "Another reload is still in progress"


# --- what HAProxy says while it reads a configuration -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Messages:
    """What HAProxy complained of, without its prefixes; one entry may have several lines."""

    alerts: tuple[str, ...]
    warnings: tuple[str, ...]


_MESSAGE = re.compile(r"\[(?P<level>[A-Z]+)\]\s+\(\d+\) : (?:config : )?(?P<text>.*)")

# Said after the message that matters, and adding nothing to it.
_SUMMARIES = (
    "Error(s) found in configuration file",
    "Fatal errors found in configuration",
    "Loading failure!",
    "[haproxy.main()] Some protocols failed to start their listeners! Exiting.",
    "Former worker",
    # 2.6 warns of it and newer versions do not: a start without it is as right as one with it.
    "config: Can't open global server state file",
)


def parse_messages(text: str) -> Messages:
    """The alerts and warnings in what HAProxy writes on standard error or below a failed `reload`.

    A line that starts with a blank continues the message before it. Lines without a level belong to nobody and are
    left out. This is for people: it never raises.
    """
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if match := _MESSAGE.fullmatch(line):
            found.append((match["level"], match["text"].strip()))
        elif found and line.startswith((" ", "\t")):
            level, said = found[-1]
            found[-1] = (level, f"{said}\n{line.strip(' |')}")
    kept = [(level, said) for level, said in found if not said.startswith(_SUMMARIES)]
    return Messages(
        alerts=tuple(said for level, said in kept if level in {"ALERT", "EMERG"}),
        warnings=tuple(said for level, said in kept if level == "WARNING"),
    )


# --- shared -----------------------------------------------------------------------------------------------------

_LONGEST_QUOTE = 200


def _number(command: str, text: str) -> int:
    # isdecimal alone lets other scripts' digits through.
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise _garbled(command, text)
    return int(text)


def _check_ending(command: str, text: str) -> None:
    # Every answer ends with an empty line. One that does not was cut short, perhaps just between two servers.
    if not text.endswith("\n\n"):
        raise ProxyGarbled(f"HAProxy's answer to '{command}' was cut short after {_last_line(text)[:_LONGEST_QUOTE]!r}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _garbled(command: str, line: str) -> ProxyGarbled:
    quote = line[:_LONGEST_QUOTE]
    return ProxyGarbled(f"HAProxy's answer to '{command}' cannot be understood: {quote!r}")

"""The vocabulary: what every other module speaks of. Imports nothing of ours but its own parts.

Rules: values only, frozen, hashable where that is cheap; no I/O, no clock, no defaults that hide a decision.
Text that came from the network is raw `bytes` in `MemberRecord` and nowhere else; `parse.py` makes a `Member` of it.
Times are seconds of one monotonic clock, as `float`; durations are seconds too.

The parts, along the flow: `member` (what Serf says), `server` (what should be served), `running` (what HAProxy runs),
`text` (what the configuration says besides), `desired` (all that HAProxy should serve), `plan` (what is to be done).
All modules import the names from here.
"""

from rosterd.model.desired import Desired
from rosterd.model.member import (
    Address,
    AdminState,
    Change,
    Entry,
    Member,
    MemberRecord,
    Quarantined,
    Snapshot,
    Status,
    Transition,
)
from rosterd.model.plan import (
    Action,
    AddServer,
    CutSessions,
    DisableAgent,
    EnableAgent,
    EnableChecks,
    Nothing,
    Plan,
    Reason,
    ReasonKind,
    Reload,
    RemoveServer,
    Runtime,
    ServerChange,
    SetEndpoint,
    SetState,
    SetWeight,
    Wait,
)
from rosterd.model.running import AgentCheck, Running, RunningServer
from rosterd.model.server import Backend, Server, ServerKey
from rosterd.model.text import Contents, FrameLine, LineChange, Options

__all__ = [
    "Action",
    "AddServer",
    "Address",
    "AdminState",
    "AgentCheck",
    "Backend",
    "Change",
    "Contents",
    "CutSessions",
    "Desired",
    "DisableAgent",
    "EnableAgent",
    "EnableChecks",
    "Entry",
    "FrameLine",
    "LineChange",
    "Member",
    "MemberRecord",
    "Nothing",
    "Options",
    "Plan",
    "Quarantined",
    "Reason",
    "ReasonKind",
    "Reload",
    "RemoveServer",
    "Running",
    "RunningServer",
    "Runtime",
    "Server",
    "ServerChange",
    "ServerKey",
    "SetEndpoint",
    "SetState",
    "SetWeight",
    "Snapshot",
    "Status",
    "Transition",
    "Wait",
]

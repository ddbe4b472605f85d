"""Who may serve: from members and services to the servers that should be configured.

Pure. Serf says who exists, HAProxy's health checks say who is healthy; gossip alone never removes a server that still
answers. What becomes of a member, by its status:

    alive          served as its tags say
    alive, but it no longer parses
                   keeps the line it had, for `quarantine_hold_s`; without one it is not served
    alive, but it comes and goes over and over
                   waits outside for a while (damping.py says who), unless nobody else would serve
    leaving, left  not served: the node said so itself
    alive, but its tags lead elsewhere
                   not served here
    failed, unseen held: keeps the line it had, for `hold_s`; then for as long as its health check passes, at most
                   `longest_hold_s`; not at all once an alive member claims its address and port

Minimum of servers: who is away by these rules stays all the same while fewer than `least_servers` others answer; who
left, only while it answers and nobody does who is wanted.

Isolation guard: while the local agent is unwell or does not answer, or more than half of a service's servers (and at
least two) are held, the likelier truth is that this balancer is cut off. While that lasts no held server is removed,
unless an operator knows better.

What somebody did by hand on HAProxy (drain, maintenance) stays until it is taken back there, or the member leaves.

No member serves from outside `networks`, from this machine's loopback unless they say so, at a port of the balancer's
own, or at another of this machine's that `own_ports` does not name: everything that reaches the gossip port could
otherwise have requests sent wherever this machine can connect to.

One address and port is served once in a service: a member that takes traffic before one that does not, an alive one
before a held one, the one that served there first (and is back) before the one that has it, that before a newcomer.

A service goes through the parts in this order: `candidate` (who may serve, with which line; `hold` for those who are
not alive, `guard` for when holds do not end), `place` (where servers may be), `admission` (who waits outside),
`endpoint` (one server for each address and port; `tenure` says which members served there before), `minimum` (which
stay because too few others serve), `ids`. `view` is what all of them look at, `decision` puts them together.
"""

from rosterd.policy.admission import Damped
from rosterd.policy.decision import Decision, decide
from rosterd.policy.endpoint import Displaced
from rosterd.policy.hold import Held
from rosterd.policy.ids import LARGEST_ID
from rosterd.policy.place import Barred
from rosterd.policy.tenure import Lines
from rosterd.policy.view import Own, TemplateServers, View, answers_in, inherited_lines

__all__ = [
    "LARGEST_ID",
    "Barred",
    "Damped",
    "Decision",
    "Displaced",
    "Held",
    "Lines",
    "Own",
    "TemplateServers",
    "View",
    "answers_in",
    "decide",
    "inherited_lines",
]

"""Admission: who comes and goes over and over waits outside; damping.py says who that is, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rosterd.model import Server
from rosterd.policy.candidate import Candidate
from rosterd.policy.view import View


@dataclass(frozen=True, slots=True)
class Damped:
    """A server that is not served until a time, because its member comes and goes over and over."""

    service: str
    name: str
    until: float


def admitted(
    service: str, wanted: list[Candidate], served: Mapping[str, Server], view: View
) -> tuple[list[Candidate], list[Damped]]:
    """Who comes in, and who has to wait. Better somebody who flaps than nobody."""
    outside = {each.server.name for each in wanted if each.server.name in view.waiting} - served.keys()
    inside = [each for each in wanted if each.server.name not in outside]
    keys = [(service, each.server.name) for each in inside if each.server.weight > 0]
    if not any(view.answering.get(key, True) and key not in view.by_hand for key in keys):
        return wanted, []
    return inside, [Damped(service, name, view.waiting[name]) for name in sorted(outside)]

"""What should be, from turn to turn: the newest decision, and what is remembered of the ones before.

Between the pure `policy` and the loop: it owns who is served, what was decided and rendered last, and whether an
operator has overridden the guard. Rules:

- The last outcome is taken again while nothing that it depends on has changed.
- Only what is decided by proven settings is remembered. A draft may be refused, and then nothing may have been
  forgotten for it.
- A daemon that starts beside a running HAProxy inherits its servers, so that none of them vanishes for want of news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog

from rosterd.blueprint import Blueprint, Drafts, template_servers_in
from rosterd.errors import TemplateError
from rosterd.generation import Generation, of_desired
from rosterd.journal import tell_decision
from rosterd.model import AdminState, Running, ServerKey
from rosterd.observed import Observed
from rosterd.outcome import Outcome
from rosterd.policy import Decision, Lines, TemplateServers, View, inherited_lines
from rosterd.policy.tenure import Tenures, note

log = structlog.get_logger(__name__)


class Decider:
    """Decides who serves, and renders it."""

    def __init__(self, *, observed: Observed, drafts: Drafts) -> None:
        """Wire it up; nothing is decided yet."""
        self.decision: Decision | None = None
        """The newest decision by proven settings; None before the first."""
        self.outcome: Outcome | None = None
        """What was decided and rendered last, be it proven or a draft's; None before the first."""
        self.generation: Generation | None = None
        """What should be, and since when; None before the first outcome."""
        self.served: Lines = {}
        """The server lines of the last decision; at start those that HAProxy runs."""
        self.has_inherited = False
        self._observed = observed
        self._drafts = drafts
        self._stand_in: Outcome | None = None
        self._guard_overridden = False
        self._tenures: Tenures = {}
        self._noted: Lines = self.served
        self._observed.template_servers = frozenset(self._template_server_keys())

    @property
    def served_names(self) -> frozenset[str]:
        """The names of all servers that are served."""
        return _names(self.served)

    @property
    def by_hand(self) -> Mapping[tuple[str, str], AdminState]:
        """What was set by hand. Who only reloads cannot put a new worker into a drain: it ends with the worker."""
        at_run_time = self._drafts.good_or_only.settings.proxy.apply == "runtime"
        return self._observed.by_hand if at_run_time else self._observed.seen_by_hand

    def override_guard(self) -> None:
        """Let held servers go by their own rules although the guard is engaged, until that is over."""
        self._guard_overridden = True

    def inherit(self, running: Running, now: float) -> None:
        """Start from the servers that HAProxy already runs; once."""
        if self.has_inherited:
            return
        self.has_inherited = True
        services = {
            service.name: service
            for blueprint in (self._drafts.newest, self._drafts.good_or_only)
            for service in blueprint.settings.services
        }
        found = inherited_lines(running, services.values(), self._all_template_servers())
        merged = {name: {**lines, **self.served.get(name, {})} for name, lines in found.items()}
        self.served = {**self.served, **merged}
        names = _names(found)
        self._observed.inherit(names, now)
        log.info("servers.inherited", servers=len(names), pid=running.pid)

    def decide(self, blueprint: Blueprint, now: float) -> Outcome:
        """What should be by `blueprint`; TemplateError when its template fails with these servers."""
        observed, last = self._observed, self.outcome
        self._note_tenures(now)
        waiting = observed.waiting(self._drafts.good_or_only.settings.policy, now)
        view = View(
            served=self.served,
            answering=observed.answering,
            health_score=observed.health_score,
            agent_answers=not observed.agent.error,
            by_hand=self.by_hand,
            waiting=waiting,
            own=blueprint.listens_at(observed.own_addresses),
            template_servers=blueprint.template_servers,
            guard_overridden=self._guard_overridden,
            tenures=self._tenures,
        )
        if last is not None and last.is_still_right(observed.table, blueprint, view, now):
            return last
        outcome = Outcome.of(observed.table, blueprint, view, now, last)
        if self._drafts.is_on_trial(blueprint) and (omitted := outcome.desired.omitted):
            service, name = omitted[0]
            raise TemplateError(
                f"{blueprint.template.label}: the text has no line for {service}/{name}: a section `backend {service}` "
                f"or `listen {service}` with a line `server {{{{ server.name }}}} …` for each server"
            )
        self.outcome = outcome
        self._note_template_servers(outcome)
        if last is None or outcome.desired is not last.desired:
            self.generation = of_desired(outcome.desired, now, self.generation)
        return outcome

    def _note_tenures(self, now: float) -> None:
        """Note which members serve where, once for each set of lines."""
        if self.served is not self._noted:
            longest_hold_s = self._drafts.good_or_only.settings.policy.longest_hold_s
            self._tenures = note(self._tenures, self.served, longest_hold_s, now)
            self._noted = self.served

    def proven(self, outcome: Outcome, now: float) -> Outcome | None:
        """What should be by the last good settings and template; None when these servers cannot be rendered so."""
        if not self._drafts.is_on_trial(outcome.blueprint):
            return outcome
        good, last = self._drafts.good_or_only, self._stand_in
        own = good.listens_at(self._observed.own_addresses)
        view = replace(outcome.view, own=own, template_servers=good.template_servers)
        if last is not None and last.is_still_right(outcome.table, good, view, now):
            return last
        try:
            self._stand_in = Outcome.of(outcome.table, good, view, now, last)
        except TemplateError:
            self._stand_in = None
        return self._stand_in

    def _all_template_servers(self) -> TemplateServers:
        """The servers that are the template's own, by the draft or by what is in force."""
        return template_servers_in(self._drafts.newest, self._drafts.good_or_only)

    def _template_server_keys(self) -> set[ServerKey]:
        return {(service, name) for service, names in self._all_template_servers().items() for name in names}

    def _note_template_servers(self, outcome: Outcome) -> None:
        contents = outcome.desired.contents
        in_text = contents.template_servers if contents else ()
        self._observed.template_servers = frozenset(self._template_server_keys().union(in_text))

    def commit(self, decision: Decision) -> None:
        """Remember a decision by proven settings."""
        if decision is self.decision:
            return
        tell_decision(self.decision, decision)
        # It was said of this time only.
        self._guard_overridden = self._guard_overridden and decision.guard_overridden != ""
        self.decision = decision
        self.served = decision.lines


def _names(lines: Lines) -> frozenset[str]:
    return frozenset(name for servers in lines.values() for name in servers)

"""What is to be done now: the one way from what should be and what is known to a plan.

Pure. The daemon and `rosterd plan` call `next_plan` with the same kind of values, so that they cannot differ. Around
`plan.compare`, which knows servers, it compares the texts. Rules:

- The frame of the text and the options of its servers are compared with those of the text that HAProxy runs. Each
  difference is a reason to reload, or is only said where `reload.on_text` is `warn` and no edit has made it.
- A draft on trial that needs a new worker has nothing done for it before: its plan is a reload without actions.
- What no reload can bring about is no reason for one: a server that the text leaves out, and a difference that a reload
  with the very same text has left. It is said in `Planned.left`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from rosterd.blueprint import is_of_blueprint
from rosterd.config_text import frame_changes
from rosterd.model import (
    Desired,
    LineChange,
    Nothing,
    Options,
    Plan,
    Reason,
    ReasonKind,
    Reload,
    Running,
    Runtime,
    ServerKey,
)
from rosterd.plan import NAMES_SHOWN, Means, compare, structure_reasons, without_drains_by_hand
from rosterd.running_text import RunningText
from rosterd.settings import Settings

CHECK_LATE_S = 0.05
"""How much later than `check_spread_s` a first check may begin before it counts as put off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a plan is made from.

    `text` is what is known of the text that HAProxy runs, `seen` what is known besides, without the limits of the
    settings. `by_reload` says that only reloads are used for once, although the settings allow changes at run time.
    `on_trial` says that the text is a draft's that a proven one can stand in for. `reload_anyway` is why HAProxy has to
    be reloaded whatever it runs, empty where nothing is. `left` are the differences that a reload with this very text
    has left.
    """

    desired: Desired
    settings: Settings
    running: Running | None
    text: RunningText
    seen: Means
    by_reload: bool = False
    on_trial: bool = False
    reload_anyway: str = ""
    left: frozenset[Reason] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan; None while it is not known what HAProxy runs.

    `left` are differences that the plan does not remove; `futile` are those of them that a reload has not removed,
    which means that HAProxy does not run what is desired. `lines` are the differences of the texts.
    """

    plan: Plan | None
    left: tuple[Reason, ...] = ()
    futile: tuple[Reason, ...] = ()
    lines: tuple[LineChange, ...] = ()


def next_plan(situation: Situation) -> Planned:
    """The next step of HAProxy towards what is desired."""
    if situation.reload_anyway:
        return Planned(Reload((Reason(ReasonKind.STRUCTURE, situation.reload_anyway),)))
    running = situation.running
    if running is None:
        return Planned(None)
    found = _text_difference(situation, running)
    desired, omitted = _without_omitted(situation.desired)
    is_only_said = situation.settings.reload.on_text == "warn" and not found.is_edit
    reasons = () if is_only_said else found.reasons
    closed = frozenset() if is_only_said or found.is_edit else found.services
    plan = _plan(situation, desired, running, reasons, closed)
    futile: tuple[Reason, ...] = ()
    if isinstance(plan, Reload):
        futile = tuple(reason for reason in plan.reasons if reason in situation.left)
        plan = _without(replace(plan, lines=found.lines), futile)
    left = (*omitted, *(found.reasons if is_only_said else ()), *futile)
    return Planned(plan, left, futile, found.lines)


def is_trial_by_reload(situation: Situation) -> bool:
    """True if the text is a draft's that needs a new worker: nothing is done for it before that."""
    running = situation.running
    return running is not None and situation.on_trial and bool(_text_difference(situation, running).reasons)


def differences_left(desired: Desired, running: Running) -> tuple[Reason, ...]:
    """What a worker that was made from the desired text should run, and does not."""
    shown, _ = _without_omitted(desired)
    plan = compare(without_drains_by_hand(shown), running, None)
    return plan.reasons if isinstance(plan, Reload) else ()


def _plan(
    situation: Situation, desired: Desired, running: Running, reasons: tuple[Reason, ...], closed: frozenset[str]
) -> Plan:
    if situation.on_trial and reasons:
        return Reload(reasons)
    proxy = situation.settings.proxy
    if proxy.apply == "reload":
        plan = compare(desired, running, None, reasons)
    elif situation.by_reload:
        # What no file can say would be a reason to reload without end.
        plan = compare(without_drains_by_hand(desired), running, None, reasons)
    else:
        check_s = proxy.check_spread_s + CHECK_LATE_S
        awaited = _awaited(desired, running) if reasons else frozenset()
        means = replace(situation.seen, drain_s=proxy.drain_timeout_s, check_s=check_s, closed=closed, awaited=awaited)
        plan = compare(desired, running, means, reasons)
    return Reload(plan.reasons) if situation.on_trial and isinstance(plan, Reload) else plan


def _awaited(desired: Desired, running: Running) -> frozenset[str]:
    """The services in which the text has a server of the template's own that HAProxy does not run."""
    own = desired.contents.template_servers if desired.contents else {}
    return frozenset(service for service, name in own if name not in running.backends.get(service, {}))


def _without(plan: Reload, futile: tuple[Reason, ...]) -> Plan:
    reasons = tuple(reason for reason in plan.reasons if reason not in futile)
    if reasons:
        return replace(plan, reasons=reasons)
    return Runtime(plan.actions, plan.waits) if plan.actions or plan.waits else Nothing()


def _without_omitted(desired: Desired) -> tuple[Desired, list[Reason]]:
    """The desired state without the servers that its text has no line for, and those as reasons."""
    omitted = desired.omitted
    if not omitted:
        return desired, []
    keys = frozenset(omitted)
    backends = tuple(
        replace(each, servers=tuple(server for server in each.servers if (each.service, server.name) not in keys))
        for each in desired.backends
    )
    details = (f"{service}/{name}: the text has no server line for it" for service, name in omitted)
    return replace(desired, backends=backends), [Reason(ReasonKind.TEXT, detail) for detail in details]


# --- the texts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Difference:
    """What differs beside the servers. In `services` options of servers do; `is_edit` says that an edit made it."""

    reasons: tuple[Reason, ...] = ()
    lines: tuple[LineChange, ...] = ()
    services: frozenset[str] = frozenset()
    is_edit: bool = False


def _text_difference(situation: Situation, running: Running) -> _Difference:
    desired, known = situation.desired, situation.text
    contents = desired.contents
    if contents is None or not running.structure:
        return _Difference(structure_reasons(desired, running), is_edit=True)
    changed = tuple(_changed_options(contents.options, running, known))
    services = frozenset(change.service for change in changed)
    lines = tuple(line for change in changed for line in change.lines)
    if desired.structure == running.structure:
        return _Difference(tuple(change.reason for change in changed), lines, services)
    if known.contents is not None:
        lines = (*frame_changes(known.contents, contents), *lines)
    detail = _in_figures(lines, known, f"{running.structure} to {desired.structure}")
    if is_of_blueprint(desired.structure, running.structure):
        reason = Reason(ReasonKind.TEXT, f"text that depends on the servers: {detail}")
        return _Difference((reason, *(change.reason for change in changed)), lines, services)
    reason = Reason(ReasonKind.STRUCTURE, f"template or settings: {detail}")
    return _Difference((reason,), lines, services, is_edit=True)


def _in_figures(lines: tuple[LineChange, ...], known: RunningText, digests: str) -> str:
    if known.contents is None:
        return f"{digests}; the text that HAProxy runs is not known"
    if not lines:
        return f"{digests}; no line that is there now differs"
    added = sum(1 for line in lines if line.is_added)
    return f"{_number(added)} added, {_number(len(lines) - added)} removed"


def _number(lines: int) -> str:
    return f"{lines} line{'' if lines == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class _OptionsChange:
    """Servers of one service that have the same options and should have the same others; `old` is None if unknown."""

    service: str
    names: tuple[str, ...]
    old: Options | None
    new: Options

    @property
    def reason(self) -> Reason:
        old = "unknown ones" if self.old is None else f"'{' '.join(self.old)}'"
        return Reason(ReasonKind.TEXT, f"{self.service}/{self._names}: options {old} to '{' '.join(self.new)}'")

    @property
    def lines(self) -> Iterator[LineChange]:
        if self.old is not None:
            yield self._line(self.old, is_added=False)
        yield self._line(self.new, is_added=True)

    @property
    def _names(self) -> str:
        shown = ", ".join(self.names[:NAMES_SHOWN])
        more = len(self.names) - NAMES_SHOWN
        return f"{shown} and {more} more" if more > 0 else shown

    def _line(self, options: Options, *, is_added: bool) -> LineChange:
        return LineChange(is_added, f"servers of {self.service}", f"server {self._names} … {' '.join(options)}".strip())


def _changed_options(
    wanted: Mapping[ServerKey, Options], running: Running, known: RunningText
) -> Iterator[_OptionsChange]:
    """The servers that are there and should have other options, together where all is the same."""
    if wanted is known.options:
        return
    groups: dict[tuple[str, Options | None, Options], list[str]] = {}
    for key, new in wanted.items():
        service, name = key
        old = known.options.get(key)
        if old != new and name in running.backends.get(service, {}):
            groups.setdefault((service, old, new), []).append(name)
    mixed = _mixed(wanted) if any(old is None for _, old, _ in groups) else frozenset()
    for (service, old, new), names in groups.items():
        if old is not None or service in mixed:
            yield _OptionsChange(service, tuple(sorted(names)), old, new)


def _mixed(wanted: Mapping[ServerKey, Options]) -> frozenset[str]:
    """The services whose servers do not all have the same options."""
    found: dict[str, set[Options]] = {}
    for (service, _), options in wanted.items():
        found.setdefault(service, set()).add(options)
    return frozenset(service for service, different in found.items() if len(different) > 1)

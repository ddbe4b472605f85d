"""The plan as the daemon and `rosterd plan` make it: servers and texts compared, with real templates rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.blueprint import Blueprint
from rosterd.model import (
    AddServer,
    AdminState,
    Backend,
    Desired,
    LineChange,
    Nothing,
    Plan,
    ReasonKind,
    Reload,
    Running,
    RunningServer,
    Runtime,
    Server,
)
from rosterd.plan import Means, state_in_haproxy
from rosterd.planner import Situation, next_plan
from rosterd.render import compile_template
from rosterd.running_text import RunningText, template_servers_of, text_of, text_on_disk
from rosterd.settings import ProxySettings, ReloadSettings, Settings

HEAD = "global\n    description rosterd:{{ structure }}\n{% for service in services %}\nbackend {{ service.name }}\n"
LINE = (
    "    server {{ server.name }} {{ server.address }}:{{ server.port }} id {{ server.id }} weight {{ server.weight }}"
)
FOOT = "{% endfor %}\n"


def template_of(*, before: str = "", option: str = "", after: str = "") -> str:
    """Return a template with these lines before the servers and after them, and this option of each server."""
    servers = f"{{% for server in service.servers %}}\n{LINE}{option}{{{{ '' }}}}\n{{% endfor %}}\n"
    return HEAD + before + servers + after + FOOT


PLAIN = template_of(option=" check")
ONE_WRITER = template_of(option=" check{{ '' if loop.first else ' backup' }}")
MAXCONN = template_of(option=" maxconn {{ 10 * server.weight }}")
ACL = template_of(before="    acl inside src{% for server in service.servers %} {{ server.address }}{% endfor +%}\n")
USE = "    use-server {{ one.name }} if { hdr(x) {{ one.name }} }\n"
USE_SERVER = template_of(before=f"{{% for one in service.servers %}}\n{USE}{{% endfor %}}\n")
SORRY = template_of(option=" check", after="    server sorry 10.9.9.9:80 backup\n")
SORRY_ALONE = template_of(
    option=" check", after="{% if not service.servers %}\n    server sorry 10.9.9.9:80\n{% endif %}\n"
)
TEMPLATES = (PLAIN, ONE_WRITER, MAXCONN, ACL, USE_SERVER, SORRY, SORRY_ALONE)


def blueprint(source: str, *, apply: str = "runtime", on_text: str = "reload") -> Blueprint:
    """Return the blueprint of a template."""
    proxy, patience = (
        ProxySettings.model_validate({"apply": apply}),
        ReloadSettings.model_validate({"on_text": on_text}),
    )
    return Blueprint.of(Settings(proxy=proxy, reload=patience), compile_template(source, "t.j2"))


def server(number: int, weight: int = 100) -> Server:
    """Return a member's server."""
    return Server(f"web-{number}", number, IPv4Address(f"10.0.0.{number}"), 80, weight, AdminState.READY)


def desired(of: Blueprint, *servers: Server) -> Desired:
    """Return what should be with these servers."""
    return of.desired((Backend("nodes", servers),))


def runs(made_from: Desired, *, without: Iterable[str] = ()) -> Running:
    """Return what a HAProxy runs that was started with this text, all checks passed."""
    servers = {
        each.name: RunningServer(
            each.name, each.id, each.address, each.port, each.weight, state_in_haproxy(each), up=True, checked=True
        )
        for backend in made_from.backends
        for each in backend.servers
        if each.name not in without
    }
    contents = made_from.contents
    assert contents is not None
    for _, name in contents.template_servers:
        address = IPv4Address("10.9.9.9")
        servers[name] = RunningServer(name, 1, address, 80, 1, AdminState.READY, up=True, checked=True)
    return Running("2.6.12", 1, made_from.structure, {"nodes": servers}, {})


def situation(of: Blueprint, now: Desired, was: Desired, **changes: object) -> Situation:
    """Return the situation of a HAProxy that was made from one text and should run another."""
    made = Situation(desired=now, settings=of.settings, running=runs(was), text=text_of(was, 1), seen=Means())
    return replace(made, **changes)  # type: ignore[arg-type]


def details(plan: Plan | None) -> str:
    """Return the reasons to reload."""
    assert isinstance(plan, Reload)
    return "; ".join(reason.detail for reason in plan.reasons)


# --- text that depends on which servers there are ---------------------------------------------------------------


def test_a_join_that_leaves_other_lines_as_they_are_needs_no_reload() -> None:
    """The server is added with the options of its line."""
    of = blueprint(PLAIN)
    planned = next_plan(situation(of, desired(of, server(1), server(2)), desired(of, server(1))))
    assert isinstance(planned.plan, Runtime)
    assert (planned.lines, planned.left) == ((), ())


def test_a_second_writer_is_not_added_before_the_first_one_is_a_backup() -> None:
    """With a template that makes all but the first a backup, the newcomer comes first and the reload brings both."""
    of = blueprint(ONE_WRITER)
    planned = next_plan(situation(of, desired(of, server(1), server(2)), desired(of, server(2))))
    assert isinstance(planned.plan, Reload)
    assert planned.plan.actions == ()
    assert "nodes/web-2: options 'check' to 'check backup'" in details(planned.plan)


def test_a_backup_that_joins_is_added_at_run_time() -> None:
    """A new backup changes nothing of the servers that are there."""
    of = blueprint(ONE_WRITER)
    plan = next_plan(situation(of, desired(of, server(1), server(2)), desired(of, server(1)))).plan
    assert isinstance(plan, Runtime)
    (added,) = plan.actions
    assert isinstance(added, AddServer)
    assert "backup" in added.options


def test_the_writer_that_leaves_makes_another_one_the_writer() -> None:
    """The old one is drained at run time, and the reload makes the next one the writer."""
    of = blueprint(ONE_WRITER)
    planned = next_plan(situation(of, desired(of, server(2)), desired(of, server(1), server(2))))
    assert "nodes/web-2: options 'check backup' to 'check'" in details(planned.plan)


def test_options_that_are_computed_from_the_weight() -> None:
    """The weight follows at run time, the option by a reload."""
    of = blueprint(MAXCONN)
    planned = next_plan(situation(of, desired(of, server(1, 50)), desired(of, server(1, 100))))
    assert isinstance(planned.plan, Reload)
    assert [type(action).__name__ for action in planned.plan.actions] == ["SetWeight"]
    assert "maxconn 1000' to 'maxconn 500" in details(planned.plan)


@pytest.mark.parametrize("source", [ACL, USE_SERVER], ids=["acl", "use-server"])
def test_lines_that_name_the_members(source: str) -> None:
    """They are named with their section, also by a daemon that has just started."""
    of = blueprint(source)
    was, now = desired(of, server(1)), desired(of, server(1), server(2))
    started = text_on_disk([was.text], runs(was), template_servers_of(now, runs(was), of))
    for known in (text_of(was, 1), started):
        planned = next_plan(situation(of, now, was, text=known))
        assert isinstance(planned.plan, Reload)
        assert {reason.kind for reason in planned.plan.reasons} == {ReasonKind.TEXT}
        assert all(line.section == "backend nodes" for line in planned.plan.lines)
        assert any("web-2" in line.line or "10.0.0.2" in line.line for line in planned.plan.lines)
        assert any(isinstance(action, AddServer) for action in planned.plan.actions)


def test_a_difference_is_seen_although_the_text_that_runs_is_not_known() -> None:
    """HAProxy shows the digest of its frame."""
    of = blueprint(ACL)
    planned = next_plan(situation(of, desired(of, server(1)), desired(of, server(2)), text=RunningText(1)))
    assert "the text that HAProxy runs is not known" in details(planned.plan)


def test_unknown_options_count_where_servers_of_a_service_have_different_ones() -> None:
    """A daemon that was killed after it had added a server does not know how it was made."""
    for source, is_level in ((PLAIN, True), (ONE_WRITER, False)):
        of = blueprint(source)
        both = desired(of, server(1), server(2))
        known = RunningText(1, both.contents, both.text, {("nodes", "web-1"): ("check",)})
        plan = next_plan(situation(of, both, both, text=known)).plan
        assert isinstance(plan, Nothing) is is_level


def test_text_may_only_be_warned_of() -> None:
    """No reload is made for it, servers follow at run time, and an edit reloads all the same."""
    of = blueprint(ACL, on_text="warn")
    was, now = desired(of, server(1)), desired(of, server(1), server(2))
    planned = next_plan(situation(of, now, was))
    assert isinstance(planned.plan, Runtime)
    assert [reason.kind for reason in planned.left] == [ReasonKind.TEXT]
    assert len(planned.lines) == 2
    other = blueprint(USE_SERVER, on_text="warn")
    assert isinstance(next_plan(situation(other, desired(other, server(1)), was)).plan, Reload)


# --- edits ------------------------------------------------------------------------------------------------------


def test_an_edit_is_named_line_by_line() -> None:
    """With the section, and the options of servers together."""
    old, new = (
        blueprint(PLAIN),
        blueprint(PLAIN.replace("id {{", "inter 1s id {{").replace("global\n", "global\n    maxconn 9\n")),
    )
    was, now = desired(old, server(1), server(2)), desired(new, server(1), server(2))
    planned = next_plan(situation(new, now, was, on_trial=True))
    assert planned.plan == Reload(planned.plan.reasons, lines=planned.lines)  # type: ignore[union-attr]
    assert details(planned.plan) == "template or settings: 2 lines added, 1 line removed"
    assert planned.lines == (
        LineChange(True, "global", "maxconn 9"),
        LineChange(False, "servers of nodes", "server web-1, web-2 … check"),
        LineChange(True, "servers of nodes", "server web-1, web-2 … inter 1s check"),
    )


def test_an_edit_that_shows_in_no_line_of_now() -> None:
    """The edit is reloaded nevertheless, so that what comes later is as the file has it."""
    old, new = blueprint(PLAIN), blueprint(PLAIN.replace(" check", " check inter 1s"))
    planned = next_plan(situation(new, desired(new), desired(old), on_trial=True))
    assert details(planned.plan).endswith("no line that is there now differs")


# --- the template's own servers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("apply", ["runtime", "reload"])
def test_the_templates_own_servers_are_left_alone(apply: str) -> None:
    """They are not removed, and a member that joins or leaves makes no difference to them."""
    of = blueprint(SORRY, apply=apply)
    was = desired(of, server(1))
    assert next_plan(situation(of, was, was)).plan == Nothing()
    plan = next_plan(situation(of, desired(of), was)).plan
    assert isinstance(plan, Runtime if apply == "runtime" else Reload)
    assert {action.name for action in plan.actions} <= {"web-1"}


def test_a_server_that_stands_in_only_while_there_is_no_member() -> None:
    """The stand-in goes with the first member: the text does not have it then."""
    of = blueprint(SORRY_ALONE)
    plan = next_plan(situation(of, desired(of, server(1)), desired(of))).plan
    assert isinstance(plan, Reload)
    assert [(line.is_added, line.line) for line in plan.lines] == [(False, "server sorry 10.9.9.9:80")]


# --- what no reload can bring about -----------------------------------------------------------------------------


def test_a_server_that_the_text_leaves_out_is_no_reason_to_reload() -> None:
    """The omission is shown in `left`, and nothing is done for it."""
    of = blueprint(PLAIN.replace("service.servers %}", "service.servers if server.name != 'web-2' %}"))
    was = desired(of, server(1), server(2))
    planned = next_plan(situation(of, was, was, running=runs(was, without=["web-2"])))
    assert planned.plan == Nothing()
    assert [reason.detail for reason in planned.left] == ["nodes/web-2: the text has no server line for it"]


def test_a_difference_that_a_reload_has_left_is_no_reason_for_the_next_one() -> None:
    """The difference is shown in `left` as long as the text is the same."""
    of = blueprint(PLAIN.replace(" id {{ server.id }}", ""))
    was = desired(of, server(7))
    running = Running(
        "2.6.12", 1, was.structure, {"nodes": {"web-7": replace(runs(was).backends["nodes"]["web-7"], id=1)}}, {}
    )
    first = next_plan(situation(of, was, was, running=running)).plan
    assert isinstance(first, Reload)
    again = next_plan(situation(of, was, was, running=running, left=frozenset(first.reasons)))
    assert again.plan == Nothing()
    assert again.futile == again.left == first.reasons


# --- laws -------------------------------------------------------------------------------------------------------

SERVERS = st.lists(
    st.builds(server, st.integers(1, 6), st.sampled_from([10, 100])), max_size=5, unique_by=lambda each: each.id
)


def in_order(servers: Iterable[Server]) -> tuple[Server, ...]:
    """Return them as policy does."""
    return tuple(sorted(servers, key=lambda each: each.name))


@given(st.sampled_from(TEMPLATES), st.sampled_from(["runtime", "reload"]), st.sampled_from(["reload", "warn"]), SERVERS)
def test_what_was_made_from_a_text_is_level_with_it(
    source: str, apply: str, on_text: str, servers: list[Server]
) -> None:
    """Whatever the template: after a reload, and after a restart of the daemon, there is nothing to do or to say."""
    of = blueprint(source, apply=apply, on_text=on_text)
    now = desired(of, *in_order(servers))
    known = text_on_disk([None, now.text], runs(now), template_servers_of(now, runs(now), of))
    for text in (text_of(now, 1), known):
        planned = next_plan(situation(of, now, now, text=text))
        assert (planned.plan, planned.left, planned.lines) == (Nothing(), (), ())


@given(st.sampled_from(TEMPLATES), SERVERS, SERVERS)
def test_a_text_that_differs_in_more_than_servers_is_never_called_level(
    source: str, before: list[Server], after: list[Server]
) -> None:
    """Servers may all be there already, by the runtime socket; the lines that a reload alone brings are missed."""
    of = blueprint(source)
    was, now = desired(of, *in_order(before)), desired(of, *in_order(after))
    assert was.contents is not None
    assert now.contents is not None
    both = was.contents.options.keys() & now.contents.options.keys()
    differs = was.contents.frame != now.contents.frame or any(
        was.contents.options[key] != now.contents.options[key] for key in both
    )
    running = replace(runs(now), structure=was.structure)
    known = replace(text_of(was, 1), options={**now.contents.options, **was.contents.options})
    planned = next_plan(situation(of, now, was, running=running, text=known))
    assert isinstance(planned.plan, Reload) is differs
    if differs:
        assert planned.lines


def test_planning_twice_comes_to_the_same() -> None:
    """A plan depends on nothing but its situation."""
    for source in TEMPLATES:
        of = blueprint(source)
        here: Mapping[str, Situation] = {
            each: situation(of, desired(of, server(1), server(2)), desired(of, server(2))) for each in ("one", "two")
        }
        assert next_plan(here["one"]) == next_plan(here["two"])

"""Plans for the runtime socket, step after step, on a HAProxy in which checks are slow or fail and requests linger.

What `test_plan_runtime.py` does not vary: two services, servers that are down or were never checked, drains by hand,
first checks of any length, traffic that comes while there is weight, requests that end a moment after they were cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from hypothesis import event, given, settings
from hypothesis import strategies as st

from rosterd.model import (
    Action,
    AddServer,
    AdminState,
    Backend,
    CutSessions,
    Desired,
    Nothing,
    Plan,
    Reload,
    RemoveServer,
    Running,
    RunningServer,
    Runtime,
    Server,
    SetEndpoint,
    SetState,
    SetWeight,
)
from rosterd.observed import Observed
from rosterd.plan import Means, compare, is_settled

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
DRAIN_S = 10.0
CHECK_S = 3.0
SLOWEST_CHECK = 15
MOST_REQUESTS = 20
ENOUGH_STEPS = SLOWEST_CHECK + MOST_REQUESTS + 20
SERVICES = ("nodes", "cache")

Key = tuple[str, str]


def desired(wanted: Mapping[str, Sequence[Server]], balance: str = "roundrobin") -> Desired:
    """Return a desired state with the text that says so."""
    backends = tuple(Backend(service, tuple(wanted.get(service, ()))) for service in SERVICES)
    text = "".join(
        f"backend {backend.service}\n    balance {balance}\n"
        + "".join(f"    server {each.name} {each.address}:{each.port} id {each.id} check\n" for each in backend.servers)
        for backend in backends
    )
    return Desired("digest", backends, text)


@dataclass
class Proxy:
    """A HAProxy.

    `load` is how many requests a server has under way while it serves, `first_check_after` how many seconds its first
    check takes from when it was added, `passes` what its checks find. `put_off` are those whose check begins late
    unless they are added again; one that `is_coy` never says that a check is under way.
    """

    servers: dict[Key, RunningServer]
    load: Mapping[str, int]
    first_check_after: Mapping[str, int]
    passes: Mapping[str, bool]
    put_off: set[str] = field(default_factory=set)
    is_coy: bool = False
    now: float = 0.0
    requests: dict[Key, int] = field(default_factory=dict)
    cut: set[Key] = field(default_factory=set)
    added_at: dict[Key, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with requests under way on every server, those in maintenance too."""
        self.requests = {key: self.load.get(key[1], 0) for key in self.servers}

    def shows(self, *, with_sessions: bool) -> Running:
        """Return what it tells."""
        backends: dict[str, dict[str, RunningServer]] = {}
        for (service, name), server in self.servers.items():
            under_way = not server.checked and name not in self.put_off and not self.is_coy
            backends.setdefault(service, {})[name] = replace(server, checking=under_way)
        return Running("2.6.12", 1, "digest", backends, dict(self.requests) if with_sessions else {})

    def serving(self, service: str) -> set[str]:
        """Return who gets requests."""
        return {
            name
            for (where, name), server in self.servers.items()
            if where == service and server.weight > 0 and server.up and server.state is READY
        }

    def carry_out(self, action: Action) -> None:
        """Do what a HAProxy does, and refuse what it refuses; what it would answer with an error fails the test."""
        key = (action.service, action.name)
        assert isinstance(action, AddServer) is (key not in self.servers), f"no such server, or one too many: {action}"
        match action:
            case AddServer(_, server, _):
                self.servers[key] = RunningServer(
                    server.name, server.id, server.address, server.port, 0, READY, up=True, checked=False
                )
                self.requests[key] = 0
                self.added_at[key] = self.now
            case SetWeight(_, _, weight):
                self.servers[key] = replace(self.servers[key], weight=weight)
            case SetEndpoint(_, _, address, port):
                self.servers[key] = replace(self.servers[key], address=address, port=port)
            case SetState(_, _, state):
                self.servers[key] = replace(self.servers[key], state=state)
            case CutSessions():
                self.cut.add(key)
            case RemoveServer():
                assert self.servers[key].state is MAINT, "only servers in maintenance can be removed"
                if self.requests[key] == 0:
                    del self.servers[key], self.requests[key]
                    self.put_off.discard(action.name)

    def a_second_passes(self) -> None:
        """Checks speak, requests come and end."""
        self.now += 1.0
        for key, server in list(self.servers.items()):
            name = key[1]
            after = SLOWEST_CHECK if name in self.put_off else self.first_check_after[name]
            if server.state is not MAINT and self.now >= self.added_at.get(key, 0.0) + after:
                self.servers[key] = replace(server, checked=True, up=self.passes[name])
        for key, number in self.requests.items():
            serves = key[1] in self.serving(key[0])
            self.requests[key] = 0 if key in self.cut else self.load[key[1]] if serves else max(0, number - 1)
        self.cut.clear()


@dataclass
class Daemon:
    """Plans and acts as the daemon does, and watches what it does."""

    proxy: Proxy
    goal: Desired
    observed: Observed = field(default_factory=lambda: Observed(0.0))

    def step(self) -> Plan:
        """Look, plan, and do it."""
        running, now = self.proxy.shows(with_sessions=bool(self.observed.departed)), self.proxy.now
        self.observed.see(running)
        self.observed.note_passages(self.goal, now)
        means = Means(now, DRAIN_S, self.observed.departed, self.observed.unchecked, check_s=CHECK_S)
        plan = compare(self.goal, running, means)
        actions = plan.actions if isinstance(plan, Runtime | Reload) else ()
        self.watch(actions, running)
        self.observed.note_plan(plan)
        before = {service: self.proxy.serving(service) for service in SERVICES}
        for action in actions:
            self.proxy.carry_out(action)
        for backend in self.goal.backends:
            if before[backend.service] and list(waiting(backend, running)):
                assert self.proxy.serving(backend.service), "nobody serves, and somebody waits for the first check"
        return plan

    def watch(self, actions: Sequence[Action], running: Running) -> None:
        """Hold each action against what was known when it was planned."""
        asked = bool(running.sessions)
        wants_traffic = {
            (backend.service, server.name)
            for backend in self.goal.backends
            for server in backend.servers
            if server.state is READY
        }
        for action in actions:
            key = (action.service, action.name)
            found = running.backends.get(action.service, {}).get(action.name)
            match action:
                case SetWeight(_, _, weight) if weight > 0:
                    assert found is not None, "weight for a server that nobody has seen"
                    is_spoken_for = found.checked or found.weight > 0
                    assert is_spoken_for or key not in wants_traffic, "traffic before the first check"
                case CutSessions(_, _, sessions):
                    assert running.sessions[key] == sessions > 0
                    assert self.proxy.now >= self.observed.departed[key] + DRAIN_S, "cut before its time"
                case RemoveServer() if key in wants_traffic:
                    assert found is not None
                    assert (found.weight, found.checked, found.checking) == (0, False, False), "removed for nothing"
                    assert self.proxy.now >= self.observed.unchecked[key] + CHECK_S
                case RemoveServer():
                    assert asked, "removed without a look at what runs on it"
                    assert running.sessions[key] == 0 or self.proxy.now >= self.observed.departed[key] + DRAIN_S
                case _:
                    pass


def waiting(backend: Backend, running: Running) -> Iterator[str]:
    """Who is wanted and has not passed a first check yet."""
    found = running.backends.get(backend.service, {})
    for server in backend.servers:
        shown = found.get(server.name)
        if server.state is READY and server.weight > 0 and (shown is None or (shown.weight == 0 and not shown.checked)):
            yield server.name


# --- the law ----------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d")
numbers = st.sampled_from(range(len(NAMES)))


def server(number: int, weight: int, state: AdminState, port: int) -> Server:
    """Return one of ours; its name gives its id and address."""
    return Server(NAMES[number], number + 1, IPv4Address(f"10.0.0.{number + 1}"), port, weight, state)


# A tag that takes a server out takes its weight as well; one that is out with its weight was taken out by hand.
any_servers = st.builds(
    server,
    numbers,
    st.sampled_from([1, 2, 3, 0]),
    st.sampled_from([READY, READY, READY, DRAIN, MAINT]),
    st.integers(80, 81),
)
ready_servers = st.builds(server, numbers, st.integers(1, 3), st.just(READY), st.just(80))


def by_service(servers: st.SearchStrategy[Server], least: int = 0) -> st.SearchStrategy[dict[str, list[Server]]]:
    """Servers of each service, ordered by name."""
    some = st.lists(servers, min_size=least, max_size=len(NAMES), unique_by=lambda each: each.name)
    return st.fixed_dictionaries(
        dict.fromkeys(SERVICES, some.map(lambda found: sorted(found, key=lambda each: each.name)))
    )


def for_each_name(values: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    """One value for each name."""
    return st.fixed_dictionaries(dict.fromkeys(NAMES, values))


@st.composite
def proxies(draw: st.DrawFn, servers: st.SearchStrategy[Server], least: int = 0) -> Proxy:
    """Return a HAProxy with some of these servers, in any health."""
    found = {
        (service, each.name): RunningServer(
            each.name,
            each.id,
            each.address if draw(st.integers(0, 9)) else None,
            each.port,
            each.weight,
            each.state,
            up=bool(draw(st.integers(0, 4))),
            checked=bool(draw(st.integers(0, 4))),
        )
        for service, some in draw(by_service(servers, least)).items()
        for each in some
    }
    load = draw(for_each_name(st.integers(0, MOST_REQUESTS)))
    first_check_after = draw(for_each_name(st.integers(1, SLOWEST_CHECK)))
    passes = draw(st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 4).map(bool))))
    put_off = draw(st.sets(st.sampled_from(NAMES), max_size=2))
    return Proxy(found, load, first_check_after, passes, put_off, is_coy=draw(st.booleans()))


def as_it_should_be(wanted: Mapping[str, Sequence[Server]]) -> dict[Key, tuple[object, ...]]:
    """Return what HAProxy shows of each server at last. A drain of the tag is weight 0 and no state."""
    return {
        (service, each.name): (
            (each.address, each.port),
            each.weight,
            READY if each.state is DRAIN and each.weight == 0 else each.state,
        )
        for service, some in wanted.items()
        for each in some
    }


def as_it_is(proxy: Proxy) -> dict[Key, tuple[object, ...]]:
    """Return what HAProxy shows of each server, without health."""
    return {key: ((each.address, each.port), each.weight, each.state) for key, each in proxy.servers.items()}


def arrive(proxy: Proxy, wanted: Mapping[str, Sequence[Server]]) -> None:
    """Take steps until there is nothing to do."""
    daemon = Daemon(proxy, desired(wanted))
    plan: Plan = Nothing()
    for steps in range(ENOUGH_STEPS):
        plan = daemon.step()
        assert not isinstance(plan, Reload)
        if isinstance(plan, Nothing):
            event(f"steps: {steps // 5 * 5} and more")
            break
        proxy.a_second_passes()
    assert plan == Nothing()
    assert as_it_is(proxy) == as_it_should_be(wanted)
    running = proxy.shows(with_sessions=False)
    assert compare(daemon.goal, running, Means()) == compare(daemon.goal, running, None) == Nothing()


@settings(max_examples=200)
@given(proxies(any_servers), by_service(any_servers))
def test_the_steps_arrive_whatever_happens_meanwhile(proxy: Proxy, wanted: dict[str, list[Server]]) -> None:
    """In a bounded number of steps, without a reload; what must not happen on the way is in `Daemon` and `Proxy`."""
    arrive(proxy, wanted)


@settings(max_examples=200)
@given(proxies(ready_servers, least=1), by_service(ready_servers, least=1))
def test_the_steps_arrive_from_those_who_serve_to_others(proxy: Proxy, wanted: dict[str, list[Server]]) -> None:
    """The same where most of them serve, and most of them change."""
    arrive(proxy, wanted)


@given(proxies(any_servers), by_service(any_servers))
def test_a_plan_that_is_settled_leaves_those_as_they_are_who_are_wanted(
    proxy: Proxy, wanted: dict[str, list[Server]]
) -> None:
    """HAProxy runs what is desired, though somebody may still be on the way out."""
    plan = compare(desired(wanted), proxy.shows(with_sessions=True), Means(0.0, DRAIN_S))
    assert isinstance(plan, Nothing | Runtime)
    is_there = as_it_should_be(wanted).items() <= as_it_is(proxy).items()
    acts = isinstance(plan, Runtime) and bool(plan.actions)
    assert is_settled(plan) is (is_there and not acts)


# --- single steps -----------------------------------------------------------------------------------------------


def test_requests_may_finish_on_a_server_that_had_to_serve_for_long() -> None:
    """Who kept the traffic for want of another has the whole drain time from when it is let go."""
    old = RunningServer("a", 1, IPv4Address("10.0.0.1"), 80, 1, READY, up=True, checked=True)
    proxy = Proxy({("nodes", "a"): old}, {"a": 2, "b": 2}, {"a": 1, "b": int(DRAIN_S) + 5}, {"a": True, "b": True})
    daemon = Daemon(proxy, desired({"nodes": [server(1, 1, READY, 80)]}))
    let_go = None
    for _ in range(ENOUGH_STEPS):
        plan = daemon.step()
        for action in plan.actions if isinstance(plan, Runtime) else ():
            if action == SetWeight("nodes", "a", 0):
                let_go = proxy.now
            if isinstance(action, CutSessions):
                assert let_go is not None
                assert proxy.now >= let_go + DRAIN_S
        proxy.a_second_passes()


def test_an_empty_backend_does_not_wait_for_the_reload_of_another() -> None:
    """What HAProxy can be told does not wait: the structure is as desired, so the backend is there."""
    goal = desired({"nodes": [server(0, 1, READY, 80)], "cache": [server(1, 1, READY, 80)]})
    running = Running("2.6.12", 1, "digest", {}, {})
    refused = compare(goal, running, Means())
    assert isinstance(refused, Runtime)
    plan = compare(goal, running, Means(refused={refused.actions[0]: "no."}))
    assert isinstance(plan, Reload)
    assert [action.service for action in plan.actions] == ["cache"]

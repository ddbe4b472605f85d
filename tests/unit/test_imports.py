"""The rooms of the daemon: who may import whom, and who may end the process or catch everything.

The modules stand in layers. A module imports from its own layer and from those before it; nobody imports in a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "daemon" / "rosterd"

VOCABULARY = frozenset(
    {
        "rosterd",
        "rosterd.errors",
        "rosterd.model",
        "rosterd.model.desired",
        "rosterd.model.member",
        "rosterd.model.plan",
        "rosterd.model.running",
        "rosterd.model.server",
        "rosterd.model.text",
        "rosterd.places",
    }
)
PURE_CORE = frozenset(
    {
        "rosterd.answers",
        "rosterd.answers.members",
        "rosterd.answers.plan",
        "rosterd.answers.shapes",
        "rosterd.answers.states",
        "rosterd.answers.status",
        "rosterd.backoff",
        "rosterd.blueprint",
        "rosterd.config_lines",
        "rosterd.config_text",
        "rosterd.damping",
        "rosterd.debounce",
        "rosterd.exposition",
        "rosterd.generation",
        "rosterd.includes",
        "rosterd.observed",
        "rosterd.outcome",
        "rosterd.parse",
        "rosterd.plan",
        "rosterd.planner",
        "rosterd.policy",
        "rosterd.policy.admission",
        "rosterd.policy.candidate",
        "rosterd.policy.decision",
        "rosterd.policy.endpoint",
        "rosterd.policy.guard",
        "rosterd.policy.hold",
        "rosterd.policy.ids",
        "rosterd.policy.minimum",
        "rosterd.policy.place",
        "rosterd.policy.tenure",
        "rosterd.policy.view",
        "rosterd.proxy.actions",
        "rosterd.known_warnings",
        "rosterd.proxy.commands",
        "rosterd.proxy.first_line",
        "rosterd.proxy.server_state",
        "rosterd.proxy.needs",
        "rosterd.proxy.traffic",
        "rosterd.proxy.versions",
        "rosterd.reached",
        "rosterd.rejection",
        "rosterd.render",
        "rosterd.report",
        "rosterd.roster",
        "rosterd.routes",
        "rosterd.running_text",
        "rosterd.serf.endpoints",
        "rosterd.server_lines",
        "rosterd.serf.lookup",
        "rosterd.serf.protocol",
        "rosterd.serf.unpacking",
        "rosterd.serf.session",
        "rosterd.serf.state_change",
        "rosterd.settings",
        "rosterd.settings.load",
        "rosterd.settings.sections",
        "rosterd.settings.values",
        "rosterd.settling",
        "rosterd.template_rules",
        "rosterd.trace",
        "rosterd.words",
    }
)
ADAPTERS = frozenset(
    {
        "rosterd.addresses",
        "rosterd.stdlib_logs",
        "rosterd.log_writer",
        "rosterd.logs",
        "rosterd.proxy",
        "rosterd.proxy.apply",
        "rosterd.proxy.binds",
        "rosterd.proxy.config_file",
        "rosterd.proxy.kept_health",
        "rosterd.proxy.mirror",
        "rosterd.proxy.process",
        "rosterd.proxy.reload",
        "rosterd.proxy.runtime_relay",
        "rosterd.proxy.socket",
        "rosterd.proxy.start_check",
        "rosterd.proxy.stderr_tail",
        "rosterd.serf",
        "rosterd.serf.client",
        "rosterd.serf.errand",
        "rosterd.serf.exchange",
        "rosterd.serf.encryption",
        "rosterd.serf.join",
        "rosterd.serf.seeds",
        "rosterd.serf.tell",
        "rosterd.sources",
        "rosterd.usage",
        "rosterd.watch",
        "rosterd.notify",
    }
)
LOOP = frozenset(
    {
        "rosterd.actuator",
        "rosterd.admin",
        "rosterd.admin.client",
        "rosterd.admin.connections",
        "rosterd.admin.etag",
        "rosterd.admin.events",
        "rosterd.admin.insight",
        "rosterd.admin.metrics",
        "rosterd.admin.old_workers",
        "rosterd.admin.on_demand",
        "rosterd.admin.page",
        "rosterd.admin.server",
        "rosterd.admin.traffic",
        "rosterd.controller",
        "rosterd.decider",
        "rosterd.edits",
        "rosterd.history",
        "rosterd.journal",
        "rosterd.metrics",
        "rosterd.observer",
        "rosterd.plan_inputs",
        "rosterd.runtime",
    }
)
OUTSIDE = frozenset(
    {
        "rosterd.app",
        "rosterd.cli",
        "rosterd.whereabouts",
        "rosterd.commands",
        "rosterd.console",
        "rosterd.picture",
        "rosterd.preview",
        "rosterd.top",
        "rosterd.verdict",
    }
)
END = frozenset({"rosterd.__main__"})
LAYERS = (VOCABULARY, PURE_CORE, ADAPTERS, LOOP, OUTSIDE, END)

HARMLESS = frozenset(
    {
        "__future__",
        "bisect",
        "collections",
        "collections.abc",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "re",
        "types",
        "typing",
    }
)
"""What vocabulary and pure core may import: none of it reads a clock, rolls dice, waits, or speaks to anybody."""

NEEDED: Mapping[str, frozenset[str]] = {
    "rosterd.answers.shapes": frozenset({"typing_extensions"}),
    "rosterd.places": frozenset({"pathlib"}),
    "rosterd.includes": frozenset({"jinja2"}),
    "rosterd.render": frozenset({"jinja2"}),
    "rosterd.serf.protocol": frozenset({"msgpack"}),
    "rosterd.serf.unpacking": frozenset({"msgpack"}),
    # The settings are read from a file and the environment; once loaded, they are values.
    "rosterd.settings.load": frozenset({"os", "pathlib", "pydantic", "pydantic_settings", "tomllib"}),
    "rosterd.settings.sections": frozenset({"pathlib", "pydantic", "pydantic_settings"}),
    "rosterd.settings.values": frozenset({"pathlib", "pydantic"}),
    "rosterd.settling": frozenset({"pathlib"}),
}
"""What one of them may import besides."""

LATE: Mapping[str, frozenset[str]] = {
    # It takes a moment, in which signals come.
    "rosterd.__main__": frozenset({"rosterd.cli"}),
    # `rosterd --help` needs none of it, and a command only what is its own.
    "rosterd.cli": frozenset(
        {"asyncio", "rosterd.app", "rosterd.commands", "rosterd.console", "rosterd.preview", "rosterd.top"}
    ),
}
"""What one imports inside its functions."""


def module_name(path: Path) -> str:
    """Return the name under which a file is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
each_module = pytest.mark.parametrize("module", TREES)


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported in a module or function, wherever in its text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "ruff forbids relative imports"
            for alias in node.names:
                # `from rosterd.proxy import commands` is about the module, `from rosterd.model import Member` is not.
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in TREES else str(node.module)


def ours(module: str) -> frozenset[str]:
    """Return the modules of the daemon that a module imports."""
    return frozenset(name for name in imported(TREES[module]) if name.partition(".")[0] == "rosterd")


def layer_of(module: str) -> int:
    """Return the number of a module's layer."""
    (number,) = (number for number, layer in enumerate(LAYERS) if module in layer)
    return number


def test_every_module_has_its_layer() -> None:
    """A new file is put into a layer on purpose; one that is gone leaves the list."""
    assert frozenset(TREES) == frozenset().union(*LAYERS)
    assert sum(map(len, LAYERS)) == len(TREES)


@each_module
def test_imports_point_one_way(module: str) -> None:
    """From the outside to the core, never back."""
    outward = {name for name in ours(module) if layer_of(name) > layer_of(module)}
    assert not outward


def test_nobody_imports_in_a_circle() -> None:
    """Also within a layer."""
    order = list(TopologicalSorter({module: ours(module) for module in TREES}).static_order())
    assert set(order) == set(TREES)


@pytest.mark.parametrize("module", sorted(VOCABULARY))
def test_the_vocabulary_imports_nothing_else_of_ours(module: str) -> None:
    """Everybody speaks it."""
    assert ours(module) <= VOCABULARY


@pytest.mark.parametrize("module", sorted(VOCABULARY | PURE_CORE))
def test_the_pure_core_imports_only_what_is_harmless(module: str) -> None:
    """Time, chance and the world come in as arguments, and facts go out as values: pure modules do not even log."""
    others = {name for name in imported(TREES[module]) if name not in ours(module)}
    assert others <= HARMLESS | NEEDED.get(module, frozenset())


@pytest.mark.parametrize("module", sorted(NEEDED))
def test_no_exception_is_left_over(module: str) -> None:
    """What is allowed is what is used."""
    assert NEEDED[module] <= set(imported(TREES[module]))


@each_module
def test_serf_and_proxy_never_see_each_other(module: str) -> None:
    """Only the loop and the composition root know both."""
    for one, other in (("rosterd.serf", "rosterd.proxy"), ("rosterd.proxy", "rosterd.serf")):
        if module.startswith(one):
            assert not {name for name in ours(module) if name.startswith(other)}


@each_module
def test_imports_stand_at_the_top(module: str) -> None:
    """None hides in a function to dodge a circle; what is imported late is heavy, and at the front door alone."""
    functions = (node for node in ast.walk(TREES[module]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    assert {name for function in functions for name in imported(function)} == LATE.get(module, frozenset())


def test_threads_belong_to_the_watcher_and_the_log_writer() -> None:
    """No other module starts a thread, or a process that shares the daemon's memory."""
    threads = {"threading", "_thread", "concurrent.futures", "multiprocessing", "watchdog.observers"}
    assert {module for module in TREES if threads & set(imported(TREES[module]))} == {
        "rosterd.log_writer",
        "rosterd.watch",
    }


def test_only_main_ends_the_process() -> None:
    """The command line raises typer's exit with a code, and that is all."""
    names = {"sys.exit", "os._exit", "os.abort", "exit", "quit", "SystemExit"}
    ending = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in names
    }
    assert ending == END


def caught(handler: ast.ExceptHandler) -> frozenset[str]:
    """Return the names of what an `except` catches; a bare one catches everything."""
    if handler.type is None:
        return frozenset({"BaseException"})
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return frozenset(map(ast.unparse, kinds))


def handlers_of(kind: str) -> list[tuple[str, ast.ExceptHandler]]:
    """Return each `except` of the daemon that catches exactly this kind, with its module."""
    return [
        (module, node)
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and kind in caught(node)
    ]


def test_one_guard_catches_every_exception() -> None:
    """It is the loop's: a bug must not end the daemon. Everywhere else errors have names."""
    assert [module for module, _ in handlers_of("Exception")] == ["rosterd.controller"]


def test_whoever_catches_even_a_stop_passes_it_on() -> None:
    """Cleaning up is fine, swallowing is not."""
    for module, handler in handlers_of("BaseException"):
        last = handler.body[-1]
        assert isinstance(last, ast.Raise), module
        assert last.exc is None, module


def test_the_dependencies_are_installed() -> None:
    """The names in this file are real: a typing error would allow nothing and forbid nothing."""
    assert all(find_spec(name) for name in HARMLESS.union(*NEEDED.values()))

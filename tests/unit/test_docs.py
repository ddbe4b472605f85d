"""The documentation is true: complete where it lists, and what it names exists."""

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer import Typer

from compose.__main__ import app as compose_app
from rosterd import errors, journal
from rosterd.cli import app as rosterd_app
from rosterd.errors import RosterdError
from rosterd.model import Change, Server, Transition
from rosterd.render import ServiceView
from rosterd.settings import CheckSettings, Settings
from tests.documented import FLOWS, LANGUAGES, NOT_RUN, Command, to_run
from tests.documented import commands_of as shown_on
from tests.generated_docs import documents
from tests.logged_events import Logged, logged_events
from tests.markdown import Page, spans

TREE = Path(__file__).resolve().parents[2]
DAEMON = TREE / "daemon" / "rosterd"
README = Page(TREE / "README.md")
FOLDERS = (TREE / "docs", TREE / "examples")
PAGES = [
    README,
    Page(TREE / "CHANGELOG.md"),
    *(Page(path) for folder in FOLDERS for path in sorted(folder.rglob("*.md"))),
]
ANSWER_IS_NO, WRONG_USAGE = 1, 2

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.path.relative_to(TREE)))


def docs(name: str) -> Page:
    """One page of the folder docs."""
    return Page(TREE / "docs" / name)


# --- what is made from code -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(TREE)))
def test_generated_documents_are_up_to_date(path: Path) -> None:
    """What is made from code is what the code gives; `python -m tests.generated_docs` renews it."""
    assert path.read_text(encoding="utf-8") == documents()[path]


@pytest.mark.parametrize("reader", [("groff", "-man", "-ww", "-z", "-Tutf8"), ("mandoc", "-T", "lint", "-W", "error")])
def test_the_manual_page_is_clean(reader: tuple[str, ...]) -> None:
    """Neither of the two programs that set manual pages has anything to say against it."""
    if shutil.which(reader[0]) is None:
        pytest.skip(f"{reader[0]} is not installed")
    told = subprocess.run(
        [*reader, str(TREE / "docs" / "man" / "rosterd.1")], capture_output=True, text=True, check=True
    )
    assert (told.stdout, told.stderr) == ("", "")


def test_every_setting_has_a_meaning() -> None:
    """The settings page says something about each key."""
    rows = list(docs("settings.md").rows("key"))
    assert rows
    assert not [row["key"] for row in rows if not row["meaning"]]


# --- lists that a person keeps ----------------------------------------------------------------------------------


def test_exit_codes_are_complete() -> None:
    """Each kind of error stands beside its code, and no code or kind is listed that does not exist."""
    documented = {int(row["code"]): frozenset(spans(row["kinds"])) for row in docs("exit-codes.md").rows("code")}
    kinds: dict[int, set[str]] = {0: set(), ANSWER_IS_NO: set(), WRONG_USAGE: set()}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, RosterdError):
            kinds.setdefault(value.exit_code, set()).add(value.__name__)
    assert documented == kinds


def of_members() -> Iterator[Logged]:
    """The events of members, whose names the journal looks up: seen by having it tell each kind of change."""
    for transition in Transition:
        with capture_logs() as lines:
            journal.tell_changes([Change(transition, "web1-1a2b3c", "web1", "")])
        (line,) = lines
        fields = frozenset(line) - {"event", "log_level"}
        yield Logged(str(line["event"]), str(line["log_level"]), fields, f"{transition}")


def test_events_are_literals() -> None:
    """Every event's name stands at its call; only the journal looks names up, those of members."""
    found = [*logged_events(DAEMON), *logged_events(TREE / "webapp")]
    nameless = {Path(event.where.rpartition(":")[0]).name for event in found if event.name is None}
    assert nameless == {"journal.py"}


def test_log_events_are_complete() -> None:
    """Each event that may be logged is listed with its level and its fields, and no other is."""
    found = [*logged_events(DAEMON), *logged_events(TREE / "webapp"), *of_members()]
    logged = {event.name: (event.level, event.fields) for event in found if event.name is not None}
    listed = {
        spans(row["event"])[0]: (row["level"], frozenset(spans(row["fields"])))
        for row in docs("log-events.md").rows("event")
    }
    assert listed == logged


def test_template_variables_are_complete() -> None:
    """The template guide lists what a service, its check and a server have, and nothing else."""
    page = docs("template.md")
    of_service = {spans(row["service"])[0]: row["content"] for row in page.rows("service")}
    assert set(of_service) == {field.name for field in dataclasses.fields(ServiceView)}
    assert set(spans(of_service["check"])) == set(CheckSettings.model_fields)
    of_server = {spans(row["server"])[0] for row in page.rows("server")}
    assert of_server == {field.name for field in dataclasses.fields(Server)} | {"endpoint"}


def test_every_module_has_its_line() -> None:
    """The design lists each file of the daemon, and no other."""
    listed = {spans(row["file"])[0] for row in docs("design.md").rows("file")}
    files = {path.relative_to(DAEMON) for path in DAEMON.rglob("*.py") if not path.name.startswith("__")}
    assert listed == {str(path) for path in files}


# --- commands ---------------------------------------------------------------------------------------------------


@each_page
def test_each_code_block_says_what_it_is(page: Page) -> None:
    """Of the shell or not: what is a command has to be known."""
    assert {block.language for block in page.blocks} <= LANGUAGES


def test_every_command_is_run_or_says_why_not() -> None:
    """A command of a page is in a flow, which the integration tests run, or on the list of those that cannot be run."""
    listed = {text: reason for reason, texts in NOT_RUN.items() for text in texts}
    assert len(listed) == sum(len(texts) for texts in NOT_RUN.values())
    shown = {command for page in PAGES for command in shown_on(page)}
    run = {command for flow in FLOWS.values() for command in to_run(flow)}
    assert not {command for command in shown - run if command.text not in listed}
    assert not listed.keys() - {command.text for command in shown}, "no page shows them any more"
    assert len(run) > 50


def test_a_new_command_is_noticed(tmp_path: Path) -> None:
    """A page that nobody thought of has commands too, also over two lines."""
    page = TREE / "docs" / "no-such-page.md"
    text = "```sh\nrosterd \\\n  status\n\ntrue\n```\n```text\nno command\n```\n"
    path = tmp_path / page.relative_to(TREE)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert [command.text for command in shown_on(Page(path), tmp_path)] == ["rosterd   status", "true"]
    assert Command("docs/no-such-page.md", "true") not in {one for flow in FLOWS.values() for one in to_run(flow)}


# --- what the pages name ----------------------------------------------------------------------------------------


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    """Each link to a file, or to a heading in one, has its target."""
    broken = []
    for link in page.links:
        file, _, anchor = link.partition("#")
        target = page.path.parent / file if file else page.path
        if not target.exists() or (anchor and anchor not in Page(target).anchors):
            broken.append(link)
    assert not broken


def test_every_page_is_linked() -> None:
    """No page of the documentation is left out where others would lead to it."""
    linked = {(page.path.parent / link.partition("#")[0]).resolve() for page in PAGES for link in page.links}
    assert not {page.path for page in PAGES if page is not README} - linked


def make_targets() -> frozenset[str]:
    """What the Makefile explains in its help."""
    return frozenset(re.findall(r"^([a-z0-9]+):.*## ", (TREE / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def named(page: Page, command: str) -> frozenset[str]:
    """The first words behind a command wherever the page has it as code."""
    return frozenset(
        word for code in page.code for word in re.findall(rf"(?:^|[ =]){re.escape(command)} ([a-z0-9]+)\b", code)
    )


@each_page
def test_make_targets_exist(page: Page) -> None:
    """A page names only targets that the Makefile has."""
    assert named(page, "make") <= make_targets()


@each_page
def test_commands_exist(page: Page) -> None:
    """A page names only commands that rosterd and the local cluster have."""
    assert named(page, "rosterd") <= commands_of(rosterd_app)
    assert named(page, "-m compose") <= commands_of(compose_app)


def commands_of(app: Typer) -> frozenset[str]:
    """The commands of a command line made with typer, and its groups of commands."""
    infos = app.registered_commands
    groups = {info.name for info in app.registered_groups if info.name}
    return frozenset(info.name or info.callback.__name__ for info in infos if info.callback is not None) | groups


def test_readme_explains_each_command_and_target() -> None:
    """The README leaves out no command of rosterd and no target of the Makefile."""
    assert named(README, "rosterd") == commands_of(rosterd_app)
    assert named(README, "make") == make_targets()


@each_page
def test_settings_and_events_that_are_named_exist(page: Page) -> None:
    """`section.key` and `noun.verb` in a page is a setting or an event."""
    events = {spans(row["event"])[0] for row in docs("log-events.md").rows("event")}
    settings = {f"{section}.{key}" for section, keys in sections().items() for key in keys}
    nouns = {event.partition(".")[0] for event in events} | set(sections())
    words = {word for code in page.code for word in re.findall(r"^([a-z]+)\.([a-z_0-9]+)$", code)}
    unknown = {".".join(word) for word in words if word[0] in nouns} - events - settings
    assert not {word for word in unknown if not is_module(word)}


def sections() -> dict[str, frozenset[str]]:
    """The keys of each section of the settings."""
    shapes = Settings.model_json_schema()["$defs"]
    return {
        section: frozenset(shapes[field.annotation.__name__]["properties"])
        for section, field in Settings.model_fields.items()
        if field.annotation is not None and section != "services"
    }


def is_module(word: str) -> bool:
    """Whether a dotted word is the name of one of our modules or files."""
    path = DAEMON / word.replace(".", "/")
    return path.with_suffix(".py").exists() or (DAEMON / word).exists()

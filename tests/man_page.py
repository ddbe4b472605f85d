"""Makes the manual page of `rosterd` from its own help: `tests/generated_docs.py` writes it to `docs/man/rosterd.1`.

Names, options and their help come from the command line, files and their meaning from the settings, exit codes from
`docs/exit-codes.md`. What none of these says stands here. The text is roff with the macros of man(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from rosterd import __version__
from rosterd.cli import app
from rosterd.places import SETTINGS_FILE, SETTINGS_VARIABLE
from rosterd.settings import ENV_PREFIX, ProxySettings
from tests.markdown import Page

NAME: Final = "rosterd"
EXIT_CODES: Final = Page(Path(__file__).resolve().parents[1] / "docs" / "exit-codes.md")

ABOUT: Final = """\
`rosterd run` is a daemon beside HAProxy. It reads the member table of the local Serf agent and makes HAProxy serve
exactly the members that should be served: over HAProxy's runtime API, and by a checked and proven reload where only a
new worker will do. The other commands look into it, or try an edit of its settings and template before it is made.
Results go to standard output, errors with their remedy to standard error."""

SIGNALS: Final = (
    ("SIGTERM, SIGINT", "End the daemon; HAProxy goes on as it is."),
    ("SIGHUP", "Read settings and template again, also those that were rejected before."),
    ("SIGUSR1", "Override the isolation guard until it ends by itself, as `rosterd guard release` does."),
)

FILES: Final = ("template_file", "config_file", "state_dir", "master_socket", "runtime_socket")
"""The settings in the section `[proxy]` whose defaults an operator should know."""


def man_page() -> str:
    """The whole of `docs/man/rosterd.1`."""
    lines = [
        r".\" Made by `python -m tests.generated_docs`.",
        f'.TH {NAME.upper()} 1 "" "{NAME} {_roff(__version__)}" "User Commands"',
        *_section("NAME", f"{NAME} \\- keep HAProxy in step with a Serf cluster"),
        *_section("SYNOPSIS", f".B {NAME}", ".RI [ OPTIONS ]", ".I COMMAND", ".RI [ ARGS ]..."),
        *_section("DESCRIPTION", *_text(ABOUT)),
        *_section("OPTIONS", *_options(_ROOT)),
        *_section("COMMANDS", *_commands(_ROOT, NAME)),
        *_section("EXIT STATUS", *_terms((row["code"], row["when"]) for row in EXIT_CODES.rows("code"))),
        *_section("SIGNALS", *_terms(SIGNALS)),
        *_section("ENVIRONMENT", *_terms(_variables())),
        *_section("FILES", *_terms(_files())),
        *_section("SEE ALSO", ".BR haproxy (1)"),
    ]
    return "\n".join(lines) + "\n"


# --- from the command line --------------------------------------------------------------------------------------

_ROOT: Final = get_command(app)


def _commands(group: Any, path: str) -> Iterator[str]:  # noqa: ANN401  typer's own class, which it does not name
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
            continue
        yield f".SS {_roff(f'{path} {name}')}"
        yield from _text(command.help)
        yield from _options(command)


def _options(command: Any) -> Iterator[str]:  # noqa: ANN401  as above
    context = command.make_context(NAME, [], resilient_parsing=True)
    records = (parameter.get_help_record(context) for parameter in command.params)
    yield from _terms(record for record in records if record is not None)


# --- from the settings ------------------------------------------------------------------------------------------


def _variables() -> Iterator[tuple[str, str]]:
    yield SETTINGS_VARIABLE, "The settings file, for every command that takes `--settings`."
    yield f"{ENV_PREFIX}SECTION__KEY", "One setting, before the file: `ROSTERD_LOG__LEVEL=debug`. Lists are JSON."
    yield "NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd: whom the daemon tells how it is."


def _files() -> Iterator[tuple[str, str]]:
    yield str(SETTINGS_FILE), "The settings, where no other file is named. Without it every key has its default."
    for key in FILES:
        field = ProxySettings.model_fields[key]
        yield str(field.default), f"{field.description} (`proxy.{key}`)."


# --- roff -------------------------------------------------------------------------------------------------------


def _section(title: str, *lines: str) -> Iterator[str]:
    yield f".SH {title}"
    yield from lines


def _terms(terms: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A list of words with what they mean."""
    for term, meaning in terms:
        yield ".TP"
        yield rf"\fB{_roff(term)}\fR"
        yield from _text(meaning)


def _text(text: str) -> Iterator[str]:
    """Text with code in backquotes: a line for each of its own, none of which can be taken for a macro."""
    for line in text.splitlines():
        words = re.sub(r"`([^`]+)`", lambda code: rf"\fB{code[1]}\fR", _roff(line.strip()))
        yield rf"\&{words}" if words.startswith((".", "'")) else words


def _roff(text: str) -> str:
    """Text as roff takes it: what would be an escape, a hyphen or no ASCII is written as an escape."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return "".join(letter if letter.isascii() else rf"\[u{ord(letter):04X}]" for letter in plain)

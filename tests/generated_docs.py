"""Writes the parts of the documentation that are made from code: `python -m tests.generated_docs`.

- `docs/settings.md`, from the settings classes;
- `docs/metrics.md`, from the metrics themselves;
- `daemon/rosterd/admin/openapi.json`, from the shapes of the answers;
- the diagram of the Serf session in `docs/design.md`, from its transition table;
- the results in `docs/bench.md` and the figures in `docs/comparison.md`, from `docs/bench/results.json`;
- the templates in `examples/`, from the shipped one and the edits that `docs/template.md` shows;
- the faults in `docs/soak.md`, from `tests/soak/faults`, and its results, from `docs/soak/results.json`;
- the manual page `docs/man/rosterd.1`, from the help of the command line (`tests/man_page.py`).

`tests/unit/test_docs.py` holds all of them equal to the code. What a person has to explain is not made here.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rosterd.admin.metrics import Figures
from rosterd.exposition import Family
from rosterd.metrics import Metrics
from rosterd.serf.session import TRANSITIONS, State
from rosterd.settings import ENV_PREFIX, Settings, needs_restart
from rosterd.usage import usage
from tests import openapi
from tests.bench import comparison
from tests.bench import page as bench_page
from tests.man_page import man_page
from tests.markdown import Page
from tests.soak import page as soak_page
from tests.unit.test_report import at_work

TREE: Final = Path(__file__).resolve().parents[1]
DOCS: Final = TREE / "docs"
TEMPLATE: Final = TREE / "haproxy" / "haproxy.cfg.j2"
GUIDE: Final = DOCS / "template.md"
EXAMPLES: Final = {"tls": "tls", "sticky": "sticky-sessions"}
"""The examples with a template of their own, each with the chapter of the guide that says what is different in it."""

DIAGRAM: Final = re.compile(
    r"(?<=<!-- session diagram: begin)([^\n]*-->\n).*?(?=<!-- session diagram: end -->)", re.DOTALL
)
FIGURES: Final = re.compile(r"(?<=<!-- figures: begin)([^\n]*-->\n).*?(?=<!-- figures: end -->)", re.DOTALL)
RESULTS: Final = re.compile(r"(?<=<!-- results: begin)([^\n]*-->\n).*?(?=<!-- results: end -->)", re.DOTALL)
FAULTS: Final = re.compile(r"(?<=<!-- faults: begin)([^\n]*-->\n).*?(?=<!-- faults: end -->)", re.DOTALL)

Schema = dict[str, Any]

_KINDS: Final = {
    "array": "list of texts",
    "integer": "whole number",
    "number": "number",
    "object": "table of texts",
    "password": "text, secret",
    "path": "path",
    "string": "text",
}
"""What a type or format of JSON Schema is called."""

OPENING: Final = """\
# Settings

<!-- Made by `python -m tests.generated_docs` from daemon/rosterd/settings/sections.py: edit the descriptions there. -->

One TOML file: `--settings FILE`, the variable `ROSTERD_SETTINGS`, or `/etc/rosterd/rosterd.toml` where it exists.
Without a file every key has its default.

- Each key is also an environment variable, `ROSTERD_SECTION__KEY`, which goes before the file. Lists and tables are
  given as JSON: `ROSTERD_SERF__SEEDS='["10.0.0.1", "web.example.org:7946"]'`.
- Unknown keys, and variables that name no section, are refused. All mistakes are reported together, each with its key;
  `rosterd check` does that without starting anything.
- A key that ends in `_s` is a duration in seconds; fractions are fine.
- A relative path is relative to the working directory of the daemon.
- An edit of the file is in force within a moment, or says why not (`edit.rejected`). Keys marked "restart" keep their
  old value until the daemon is restarted, and `settings.restart_needed` says so. The environment is read at the start.
"""


METRICS_OPENING: Final = """\
# Metrics

<!-- Made by `python -m tests.generated_docs` from daemon/rosterd/metrics.py and daemon/rosterd/admin/metrics.py. -->

`/metrics` of the admin interface (`admin.listen`), as Prometheus reads it. Counters begin at zero with the process.
No name of a member or a server is a label: how many series there are is bounded by the settings alone. HAProxy's own
metrics (requests, sessions, errors, each server) are at `/metrics` of `proxy.stats_bind`, where it has an exporter.

[monitoring/](monitoring/) has what to scrape, alert rules with their tests, and a dashboard for Grafana.

| metric | type | labels | meaning |
|---|---|---|---|
"""

OPEN_LABELS: Final = {
    "service": "the services of the settings; empty for members that match none",
    "version": "of rosterd",
    "python": "of Python",
}


def settings_page() -> str:
    """The whole of `docs/settings.md`."""
    schema = Settings.model_json_schema()
    classes: Mapping[str, Schema] = schema["$defs"]
    parts = [OPENING]
    for section, shape in schema["properties"].items():
        if section != "services":
            parts.append(_section(section, classes[_class_of(shape)]))
    parts.append(_services(classes))
    return "\n".join(parts)


def _section(section: str, shape: Schema) -> str:
    lines = [f"## `[{section}]`", "", shape["description"], ""]
    lines += ["| key | value | default | an edit needs | meaning | variable |", "|---|---|---|---|---|---|"]
    for key, field in shape["properties"].items():
        edit = "restart" if needs_restart(f"{section}.{key}") else ""
        variable = f"{ENV_PREFIX}{section}__{key}".upper()
        lines.append(
            f"| `{key}` | {_value(key, field)} | {_default(field)} | {edit} | {_meaning(field)} | `{variable}` |"
        )
    return "\n".join([*lines, ""])


def _services(classes: Mapping[str, Schema]) -> str:
    service = classes["ServiceSettings"]
    lines = [
        "## `[[services]]`",
        "",
        f"{service['description']} The first one with mode `http` is the default. An edit needs no restart.",
        "",
        """As a variable, all of them: `ROSTERD_SERVICES='[{"name": "nodes", "match": {"role": "backend"}}]'`.""",
        "",
        *_table_of({key: field for key, field in service["properties"].items() if key != "check"}),
        "",
        "### `[services.check]`",
        "",
        f"{classes['CheckSettings']['description']} The table stands below the service that it belongs to.",
        "",
        *_table_of(classes["CheckSettings"]["properties"]),
        "",
    ]
    return "\n".join(lines)


def _table_of(fields: Mapping[str, Schema]) -> Iterator[str]:
    yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    for key, field in fields.items():
        yield f"| `{key}` | {_value(key, field)} | {_default(field)} | {_meaning(field)} |"


def _class_of(shape: Schema) -> str:
    reference: str = shape["$ref"]
    return reference.rpartition("/")[2]


def _value(key: str, field: Schema) -> str:
    """What may stand there: the kind of value, its unit and its bounds."""
    given = next((option for option in field.get("anyOf", ()) if option["type"] != "null"), field)
    if "enum" in given:
        return ", ".join(f"`{_literal(word)}`" for word in given["enum"])
    if "pattern" in given:
        return f"text like `{given['pattern'].strip('^$')}`"
    kind = _KINDS[given.get("format", given["type"])]
    return f"{'seconds' if key.endswith('_s') else kind}{_bounds(given)}"


def _bounds(given: Schema) -> str:
    bounds = [
        f"{word} {given[name]:g}" if name != "maximum" else f"{word} {given[name]:,}"
        for name, word in (("exclusiveMinimum", "over"), ("minimum", "from"), ("maximum", "to"))
        if name in given
    ]
    return f", {' '.join(bounds)}" if bounds else ""


def _default(field: Schema) -> str:
    if "default" not in field:
        return "required"
    default = field["default"]
    return "none" if default is None else f"`{_literal(default)}`"


def _literal(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, dict):
        pairs = (f"{key} = {_literal(member)}" for key, member in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def _meaning(field: Schema) -> str:
    description: str = field["description"]
    return description.replace("|", "\\|").replace("\n", " ")


def metrics_page() -> str:
    """The whole of `docs/metrics.md`."""
    families = sorted(Figures(Metrics(), at_work(), usage(), 0).families(), key=lambda family: family.name)
    return METRICS_OPENING + "".join(map(_metric_row, families))


def _metric_row(family: Family) -> str:
    kind = "process" if family.name.startswith("process_") else family.kind.value
    labels: dict[str, list[str]] = {}
    for sample in family.samples:
        for label in sample.labels.keys() - {"le"}:
            labels.setdefault(label, []).append(sample.labels[label])
    shown = "; ".join(f"`{label}`: {_label_values(label, values)}" for label, values in sorted(labels.items()))
    return f"| `{family.name}` | {kind} | {shown or '-'} | {family.text} |\n"


def _label_values(label: str, values: list[str]) -> str:
    if label in OPEN_LABELS:
        return OPEN_LABELS[label]
    return ", ".join(f"`{value}`" for value in dict.fromkeys(values))


def session_diagram() -> str:
    """The conversation with the agent as a Mermaid state diagram; signals with the same effect share an arrow."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.CLOSED.value}"]
    for state, steps in TRANSITIONS.items():
        arrows: dict[State, list[str]] = {}
        for signal, following in steps.items():
            arrows.setdefault(following, []).append(signal.value)
        lines += [f"    {state.value} --> {to.value}: {', '.join(signals)}" for to, signals in arrows.items()]
    return "\n".join([*lines, "```", ""])


def template_with(chapter: str) -> str:
    """The shipped template with all edits that a chapter of the guide shows, each a block of the language `diff`."""
    edits = [block.text for block in Page(GUIDE).blocks if block.language == "diff" and block.anchor == chapter]
    if not edits:
        raise ValueError(f"{GUIDE}: the chapter {chapter} shows no edit")
    text = TEMPLATE.read_text(encoding="utf-8")
    for edit in edits:
        text = _edited(text, edit)
    return text


def _edited(text: str, edit: str) -> str:
    """The text with one edit: lines that begin with a blank or `-` are there, those with a blank or `+` are to be.

    ValueError when the lines are not there, or more than once.
    """
    lines = edit.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    if text.count(f"\n{before}") != 1:
        raise ValueError(f"{TEMPLATE} does not have these lines once:\n{before}")
    return text.replace(f"\n{before}", f"\n{after}")


def documents() -> Mapping[Path, str]:
    """What each document should hold."""
    design, bench, beside, soak = (DOCS / f"{name}.md" for name in ("design", "bench", "comparison", "soak"))
    return {
        DOCS / "settings.md": settings_page(),
        DOCS / "metrics.md": metrics_page(),
        DOCS / "man" / "rosterd.1": man_page(),
        TREE / "daemon" / "rosterd" / "admin" / "openapi.json": openapi.text(),
        **{TREE / "examples" / name / TEMPLATE.name: template_with(chapter) for name, chapter in EXAMPLES.items()},
        design: _with(design.read_text(encoding="utf-8"), DIAGRAM, session_diagram()),
        bench: _with(bench.read_text(encoding="utf-8"), RESULTS, bench_page.section()),
        beside: _with(beside.read_text(encoding="utf-8"), FIGURES, comparison.section()),
        soak: _with(_with(soak.read_text(encoding="utf-8"), FAULTS, soak_page.faults()), RESULTS, soak_page.results()),
    }


def _with(page: str, marks: re.Pattern[str], made: str) -> str:
    """A page with what is made in between its two marks."""
    text, replaced = marks.subn(lambda begin: begin[1] + made, page)
    if replaced != 1:
        raise ValueError(f"{page[:40]!r} …: the two marks {marks.pattern} are not there once each")
    return text


def main() -> None:
    """Write what differs."""
    for path, text in documents().items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()

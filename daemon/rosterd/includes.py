"""The files that a template includes, imports or extends, as far as its text says.

Pure. Rules:

- The name of each such file is written out, so that all files of a template are known before it is rendered: they are
  watched, compared, and kept together with it.
- A name is a path below the template's own folder: relative, without `..`. Links there are followed.
- A file that is not there is a mistake, except for `{% include … ignore missing %}` and in a list of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, nodes

from rosterd.errors import TemplateError


@dataclass(frozen=True, slots=True)
class Reference:
    """One name in an `include`, `import` or `extends`, and the line that it stands in."""

    name: str
    line: int
    is_optional: bool


def references(environment: Environment, source: str, label: str) -> tuple[Reference, ...]:
    """The names in a template's text, in their order; TemplateError names the line of one that cannot be taken.

    The text has to be one that Jinja can parse.
    """
    return tuple(_references(environment.parse(source), label))


def _references(tree: nodes.Template, label: str) -> Iterator[Reference]:
    for node in tree.find_all((nodes.Extends, nodes.FromImport, nodes.Import, nodes.Include)):
        names, is_list = _names(node, f"{label}:{node.lineno}")
        for name in names:
            _check(name, f"{label}:{node.lineno}")
            may_be_absent = is_list or (isinstance(node, nodes.Include) and node.ignore_missing)
            yield Reference(name, node.lineno, may_be_absent)


def _names(node: nodes.Node, place: str) -> tuple[list[str], bool]:
    given = getattr(node, "template", None)
    items = given.items if isinstance(given, nodes.List | nodes.Tuple) else [given]
    names = [item.value for item in items if isinstance(item, nodes.Const) and isinstance(item.value, str)]
    if len(names) != len(items):
        raise TemplateError(
            f"{place}: the name of an included file has to be written out, such as "
            '{% include "parts/limits.cfg.j2" %}, so that rosterd knows which files to watch'
        )
    return names, items != [given]


def _check(name: str, place: str) -> None:
    steps = name.split("/")
    if any(step in ("", ".", "..") for step in steps) or "\\" in name or "\0" in name:
        raise TemplateError(
            f"{place}: {name!r} is not a path below the template's folder: "
            "put the file there, and write its name without a leading '/' and without '.' and '..'"
        )

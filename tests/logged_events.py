"""Which events a program may log, read from its source: each call of a logger, with level and fields."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LEVELS: Final = {name: name for name in ("debug", "info", "warning", "error")} | {"exception": "error"}


@dataclass(frozen=True, slots=True)
class Logged:
    """One kind of line. `name` is None where the source does not hold it as a literal."""

    name: str | None
    level: str
    fields: frozenset[str]
    where: str


def logged_events(folder: Path) -> Iterator[Logged]:
    """Every use of a level of the module's `log`, in every file below a folder.

    A level that is taken without being called (`write = log.info`) is found too, as one without a name.
    """
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in _LEVELS and _is_logger(node.value):
                yield _logged(node, called.get(id(node)), f"{path}:{node.lineno}")


def _is_logger(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "log"


def _logged(level: ast.Attribute, call: ast.Call | None, where: str) -> Logged:
    name = call.args[0] if call is not None and call.args else None
    literal = name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
    fields = _fields(call.keywords) if call is not None else ()
    return Logged(literal, _LEVELS[level.attr], frozenset(fields), where)


def _fields(keywords: list[ast.keyword]) -> Iterator[str]:
    """The fields of a line; with the standard library's logging they stand in `extra={"fields": {...}}`."""
    for keyword in keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            inner = (value for value in keyword.value.values if isinstance(value, ast.Dict))
            keys = (key for fields in inner for key in fields.keys)
            yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))
        elif keyword.arg is not None:
            yield keyword.arg

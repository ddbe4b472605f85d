"""The description of the admin interface, made from the shapes of its answers: `daemon/rosterd/admin/openapi.json`.

`python -m tests.generated_docs` writes it; tests hold it level with the shapes, and the answers of a real daemon to it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import get_original_bases, is_typeddict

from rosterd import __version__
from rosterd.answers import Alive, Members, Ready, Status, shapes

_SHAPES: Final = {"/healthz": Alive, "/readyz": Ready, "/v1/status": Status, "/v1/members": Members}
"""The answers that are JSON objects of a fixed shape, by their path."""


def _adapters(config: ConfigDict) -> dict[str, TypeAdapter[Any]]:
    """Each shape in a list: a TypedDict itself cannot be given a configuration, but is handed down that of the list."""
    return {path: TypeAdapter(list[shape], config=config) for path, shape in _SHAPES.items()}  # type: ignore[valid-type]


STRICT: Final = _adapters(ConfigDict(strict=True, extra="forbid"))
"""For tests: nothing may be there that is not described. Each takes a list of answers."""

_BASES: Final = (shapes.Side, shapes.Traffic)
"""What others have in common, and no answer is by itself."""

_WITH_MEANING: Final = ConfigDict(use_attribute_docstrings=True)
_DESCRIBED: Final = _adapters(_WITH_MEANING) | {
    base.__name__: TypeAdapter(list[base], config=_WITH_MEANING)  # type: ignore[valid-type]
    for base in _BASES
}

_REFERENCE: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"

_EVENT: Final = {
    "title": "Event",
    "description": "One event, with the fields that docs/log-events.md lists for its name.",
    "type": "object",
    "required": ["event", "level"],
    "properties": {
        "id": {"type": "string", "description": "Where a reader goes on from; `history.truncated` has none."},
        "time": {"type": "string", "format": "date-time", "description": "When, in UTC."},
        "event": {"type": "string", "description": "Its name, such as member.joined."},
        "level": {"type": "string", "enum": ["debug", "info", "warning", "error"]},
        "trace": {"type": "string", "description": "The change that it belongs to."},
    },
    "additionalProperties": True,
}
_LAST_SEEN: Final = {"in": "header", "name": "Last-Event-ID", "schema": {"type": "string"}}
_AFTER: Final = {"in": "query", "name": "after", "schema": {"type": "string"}}
_LIMIT: Final = {"in": "query", "name": "limit", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}}
_KNOWN: Final = {"in": "header", "name": "If-None-Match", "schema": {"type": "string"}}


def text() -> str:
    """The file's content."""
    return json.dumps(document(), indent=2) + "\n"


def document() -> dict[str, Any]:
    """The whole description, by OpenAPI 3.1."""
    references, definitions = TypeAdapter.json_schemas(
        [(path, "serialization", shape) for path, shape in _DESCRIBED.items()], ref_template=_REFERENCE
    )
    _inherit(definitions["$defs"])
    schema = {path: references[path, "serialization"]["items"] for path in _SHAPES}
    unchanged = {"304": {"description": "Nothing has changed but ages and traffic."}}
    not_ready = {"503": _said("Not ready, with the reasons.", _JSON, schema["/readyz"])}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rosterd",
            "version": __version__,
            "description": "Read-only. Fields may come, none changes or goes within /v1. Names in _s are seconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/": _get("The page for people.", _said("The page.", "text/html", {"type": "string"})),
            "/healthz": _get("Whether the daemon answers.", _said("It does.", _JSON, schema["/healthz"])),
            "/readyz": _get(
                "Whether the balancer is ready.", _said("It is.", _JSON, schema["/readyz"]), others=not_ready
            ),
            "/metrics": _get("Numbers for Prometheus.", _said("All metrics.", "text/plain", {"type": "string"})),
            "/v1/status": _get(
                "Everything worth knowing.",
                _said("The status.", _JSON, schema["/v1/status"]),
                parameters=[_KNOWN],
                others=unchanged,
            ),
            "/v1/members": _get(
                "The member table.",
                _said("The members.", _JSON, schema["/v1/members"]),
                parameters=[_KNOWN],
                others=unchanged,
            ),
            "/v1/events": _events(),
            "/v1/openapi.json": _get("This description.", _said("It.", _JSON, {"type": "object"})),
        },
        "components": {"schemas": {**definitions["$defs"], "Event": _EVENT}},
    }


def _inherit(definitions: dict[str, Any]) -> None:
    """Give inherited fields their meaning, which stands in the class that declares them; then forget those classes."""
    for name, shape in vars(shapes).items():
        for base in get_original_bases(shape) if is_typeddict(shape) and name in definitions else ():
            for field, inherited in definitions.get(base.__name__, {}).get("properties", {}).items():
                definitions[name]["properties"][field].setdefault("description", inherited["description"])
    for base in _BASES:
        del definitions[base.__name__]


def _events() -> dict[str, Any]:
    event = {"$ref": _REFERENCE.format(model="Event")}
    listed = {"type": "object", "required": ["events"], "properties": {"events": {"type": "array", "items": event}}}
    answer = _said("The newest events; or a stream, for who accepts text/event-stream.", _JSON, listed)
    answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    busy = {"503": {"description": "So many readers follow already; Retry-After says when to come back."}}
    wrong = {"400": {"description": "The limit is none."}}
    return _get("What happened.", answer, parameters=[_LIMIT, _AFTER, _LAST_SEEN], others=wrong | busy)


def _get(
    summary: str,
    answer: dict[str, Any],
    parameters: list[dict[str, Any]] | None = None,
    others: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": {"200": answer, **(others or {})}}}


def _said(description: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}

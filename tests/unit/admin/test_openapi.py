"""The description of the admin interface is whole, and the answers are as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from rosterd.admin.server import OPENAPI, application
from rosterd.answers import members_answer, ready_answer, status_answer
from tests.openapi import STRICT
from tests.unit.admin.insight import insight
from tests.unit.test_report import EARLY, at_work

DOCUMENT: dict[str, Any] = json.loads(OPENAPI.read_text(encoding="utf-8"))
ASSETS = frozenset({"/page.css", "/page.js", "/page.svg"})
"""Parts of the page, and of no interest to a program."""


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON text."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from objects(each)


def test_each_path_is_described() -> None:
    """And what is described is there; nothing but GET."""
    routes = {
        (route.resource.canonical, route.method)
        for route in application(insight(lambda: EARLY)).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert {path for path, _ in routes} - ASSETS == set(DOCUMENT["paths"])
    assert {method for _, method in routes} == {"GET"}
    assert {method for path in DOCUMENT["paths"].values() for method in path} == {"get"}


def test_every_reference_leads_somewhere() -> None:
    """And every shape is used."""
    named = {one["$ref"] for one in objects(DOCUMENT) if "$ref" in one}
    assert named == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


def test_every_field_has_a_meaning() -> None:
    """A name alone says too little."""
    schemas = DOCUMENT["components"]["schemas"]
    mute = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, shape in schema["properties"].items()
        if "description" not in shape and "$ref" not in shape and "enum" not in shape
    }
    # The syntax that a field called `for` needs has no place for one; its shape says what it is.
    assert mute == {"Wait.service", "Wait.server", "Wait.for"}


@pytest.mark.parametrize("report", [EARLY, at_work()])
def test_the_answers_are_as_described(report: Any) -> None:  # noqa: ANN401  a report
    """Of a daemon that has just started, and of one at work."""
    STRICT["/v1/status"].validate_python([status_answer(report)])
    STRICT["/v1/members"].validate_python([members_answer(report)])
    STRICT["/readyz"].validate_python([ready_answer(report)])


def test_a_field_that_is_not_described_would_be_found() -> None:
    """Also deep inside."""
    answer: dict[str, Any] = json.loads(json.dumps(status_answer(at_work())))
    answer["services"][0]["servers"][0]["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        STRICT["/v1/status"].validate_python([answer])

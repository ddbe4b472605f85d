"""JSON with an ETag: who asks again and again is told that nothing has changed, and spared the rest.

A tag says what is told but for ages, durations and traffic, which change by themselves: it is a weak one (`W/"..."`),
as RFC 9110 calls it. Whoever needs those asks without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

PASSING = "_s"
"""How the names of ages and durations end."""

TAGS = "tags"
"""The one object whose keys are not ours: members choose them."""

UNSTABLE = frozenset({"sessions", "queue", "rate_per_s", "errors", "departures"})
"""Figures that change all the time, and not because anybody has done anything."""


def tagged(request: web.Request, answer: Mapping[str, Any]) -> web.Response:
    """The answer with its tag; 304 without it where the reader has the same already."""
    tag = hashlib.sha256(json.dumps(_lasting(answer)).encode()).hexdigest()[:16]
    known = request.if_none_match or ()
    if any(each.value in (tag, "*") for each in known):
        response = web.Response(status=304)
    else:
        response = web.json_response(answer)
    response.headers["ETag"] = f'W/"{tag}"'
    response.headers["Cache-Control"] = "no-cache"
    return response


def _lasting(value: object) -> object:
    if isinstance(value, Mapping):
        return {
            key: each if key == TAGS else _lasting(each)
            for key, each in value.items()
            if key == TAGS or not _passes(key)
        }
    if isinstance(value, list):
        return [_lasting(each) for each in value]
    return value


def _passes(key: str) -> bool:
    return key.endswith(PASSING) or key in UNSTABLE

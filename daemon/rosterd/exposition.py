"""Counters, histograms and gauges, and the text in which Prometheus reads them. Pure.

Counts are kept by the values of their labels, in the order of the labels' names. All combinations that are given at the
start stand at zero, so that the first of a kind is seen as a rise.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, the text format 0.0.4. The library for it brings a
web server of its own, and OpenSSL for that: 7 MB in the memory of the daemon.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, product
from typing import TypeAlias

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Values: TypeAlias = Mapping[tuple[str, ...], float]
"""A number for each combination of the labels' values."""


class Kind(Enum):
    """What Prometheus may do with the numbers."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Sample:
    """One number; `suffix` comes behind the name of its family."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """The numbers of one name, and what they mean."""

    name: str
    kind: Kind
    text: str
    samples: tuple[Sample, ...]


class Counter:
    """Counts what happens."""

    def __init__(self, name: str, text: str, **labels: Sequence[str]) -> None:
        """Begin at zero; each label with all of its values."""
        self._name = f"{name}_total"
        self._text = text
        self._labels = tuple(labels)
        self._counts = dict.fromkeys(product(*labels.values()), 0)

    def add(self, *values: str, number: int = 1) -> None:
        """Count something with these values of the labels."""
        self._counts[values] += number

    def family(self) -> Family:
        """The counts so far."""
        return _family(self._name, Kind.COUNTER, self._text, self._labels, self._counts)


class Histogram:
    """Counts how often a number was how large."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], **label: Sequence[str]) -> None:
        """Begin at zero; one label with all of its values. Each bound counts what is not above it."""
        self._name = name
        self._text = text
        self._bounds = (*bounds, math.inf)
        ((self._label, values),) = label.items()
        self._counts = {value: [0] * len(self._bounds) for value in values}
        self._sums = dict.fromkeys(values, 0.0)

    def observe(self, value: str, number: float) -> None:
        """Count this number for this value of the label."""
        self._counts[value][bisect_left(self._bounds, number)] += 1
        self._sums[value] += number

    def family(self) -> Family:
        """The counts so far."""
        return Family(self._name, Kind.HISTOGRAM, self._text, tuple(self._samples()))

    def _samples(self) -> Iterator[Sample]:
        for value, counts in self._counts.items():
            labels = {self._label: value}
            for bound, count in zip(self._bounds, accumulate(counts), strict=True):
                yield Sample({**labels, "le": _number(bound)}, count, "_bucket")
            yield Sample(labels, sum(counts), "_count")
            yield Sample(labels, self._sums[value], "_sum")


def gauge(name: str, text: str, values: Values, *labels: str) -> Family:
    """Numbers that are so just now."""
    return _family(name, Kind.GAUGE, text, labels, values)


def _family(name: str, kind: Kind, text: str, labels: Sequence[str], values: Values) -> Family:
    samples = (Sample(dict(zip(labels, key, strict=True)), value) for key, value in values.items())
    return Family(name, kind, text, tuple(samples))


def exposition(families: Iterable[Family]) -> str:
    """The text; its content type is `CONTENT_TYPE`."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.text)}"
    yield f"# TYPE {family.name} {family.kind.value}"
    for sample in family.samples:
        pairs = ",".join(f'{label}="{_quoted(value)}"' for label, value in sample.labels.items())
        labels = f"{{{pairs}}}" if pairs else ""
        yield f"{family.name}{sample.suffix}{labels} {_number(sample.value)}"


def _number(value: float) -> str:
    return "+Inf" if value == math.inf else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")

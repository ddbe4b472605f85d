"""Metrics as text: what Prometheus' own parser reads in it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rosterd.exposition import Counter, Family, Histogram, exposition, gauge

Read = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(*families: Family) -> Read:
    """Return each number by its name and labels, as the parser of the library reads them."""
    found = text_string_to_metric_families(exposition(families))
    samples = (sample for family in found for sample in family.samples)
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    """Return labels as `read` has them."""
    return frozenset(pairs.items())


def test_a_counter_begins_at_zero_for_all_its_labels() -> None:
    """So that the first of a kind is seen as a rise."""
    counter = Counter("things", "Things.", kind=("a", "b"), result=("done", "failed"))
    counter.add("a", "done")
    counter.add("a", "done", number=2)
    assert read(counter.family()) == {
        ("things_total", labels(kind="a", result="done")): 3,
        ("things_total", labels(kind="a", result="failed")): 0,
        ("things_total", labels(kind="b", result="done")): 0,
        ("things_total", labels(kind="b", result="failed")): 0,
    }


def test_a_counter_without_labels() -> None:
    """One number."""
    assert read(Counter("things", "Things.").family()) == {("things_total", labels()): 0}


def test_a_histogram_counts_what_is_not_above_each_bound() -> None:
    """The buckets add up; the last one has all."""
    histogram = Histogram("seconds", "Seconds.", (0.1, 1.0), by=("run", "reload"))
    for number in (0.05, 0.1, 0.5, 7.0):
        histogram.observe("run", number)
    found = read(histogram.family())
    assert [found["seconds_bucket", labels(by="run", le=bound)] for bound in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert found["seconds_count", labels(by="run")] == 4
    assert math.isclose(found["seconds_sum", labels(by="run")], 7.65)
    assert found["seconds_bucket", labels(by="reload", le="+Inf")] == 0


def test_each_family_has_its_help_and_type() -> None:
    """Before its numbers."""
    text = exposition([gauge("up", "Whether it is.\nOr \\ not.", {(): 1})])
    assert text == "# HELP up Whether it is.\\nOr \\\\ not.\n# TYPE up gauge\nup 1.0\n"


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\r")), st.floats(allow_nan=False)))
def test_any_text_can_be_a_label(values: dict[str, float]) -> None:
    """Quotes, backslashes and line ends come back as they were, and any number."""
    assert read(gauge("some", "Some.", by_text(values), "text")) == {
        ("some", labels(text=text)): value for text, value in values.items()
    }


def by_text(values: dict[str, float]) -> dict[tuple[str, ...], float]:
    """Return the values with their text as the only label."""
    return {(text,): value for text, value in values.items()}


def test_families_follow_each_other() -> None:
    """In the order in which they are given."""

    def two() -> Iterable[Family]:
        yield gauge("b", "B.", {(): 1})
        yield gauge("a", "A.", {(): 2})

    assert [line for line in exposition(two()).splitlines() if not line.startswith("#")] == ["b 1.0", "a 2.0"]

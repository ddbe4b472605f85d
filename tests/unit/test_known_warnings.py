"""Which warnings of HAProxy are logged."""

from __future__ import annotations

from rosterd.known_warnings import KnownWarnings

ROOT = "HAProxy was started as root without any 'chroot' directive."


def test_warning_is_news_once() -> None:
    """Reload after reload has the same text."""
    known = KnownWarnings()
    assert known.of_reload([ROOT, "other"]) == (ROOT, "other")
    assert known.of_reload([ROOT, "other"]) == ()


def test_warning_that_returns_is_news_again() -> None:
    """The warning was gone after the second reload."""
    known = KnownWarnings()
    for warnings, news in (([ROOT], (ROOT,)), ([], ()), ([ROOT], (ROOT,))):
        assert known.of_reload(warnings) == news


def test_check_alone_takes_no_warning_for_gone() -> None:
    """A check does not warn of what only a start shows."""
    known = KnownWarnings()
    known.of_reload([ROOT])
    assert known.of_check(["missing timeouts"]) == ("missing timeouts",)
    assert known.of_reload([ROOT, "missing timeouts"]) == ()


def test_line_number_that_moves_is_no_news() -> None:
    """A server that comes moves every line below it."""
    known = KnownWarnings()
    known.of_reload(["parsing [/x/h.cfg:12] : as on line 3"])
    assert known.of_reload(["parsing [/x/h.cfg:13] : as on line 4"]) == ()
    assert known.of_reload(["parsing [/x/h.cfg:13] : port 80"]) != ()

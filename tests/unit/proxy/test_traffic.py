"""Traffic figures, as two versions of HAProxy give them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosterd.errors import ProxyGarbled
from rosterd.proxy.traffic import NOT_ASKED, Figures, Reading, Traffic, figures_in

RECORDED = Path(__file__).parents[2] / "fixtures" / "haproxy"
COLUMNS = "pxname,svname,qcur,scur,econ,eresp,lastchg,rate,check_status"


def said(*rows: str, columns: str = COLUMNS) -> str:
    """Return an answer with these rows."""
    return "\n".join((f"# {columns}", *rows, "", ""))


@pytest.mark.parametrize("version", ["2.6", "2.8", "3.0", "3.2", "3.4"])
def test_what_a_real_haproxy_says(version: str) -> None:
    """A line for each server and one for the service; who has no check has no result."""
    figures = dict(figures_in((RECORDED / version / "stat.txt").read_text(encoding="utf-8")))
    assert len(figures) == 9
    assert figures["nodes", "ready"] == Figures(0, 0, 0, 0, "L4CON", 0)
    assert figures["nodes", "drained"].check == "INI"
    assert figures["nodes", "v6"].check == ""
    assert figures["nodes", None] == Figures(0, 0, 0, 0, "", 0)


def test_each_figure() -> None:
    """Failed connections and failed answers count as one; a check under way does not hide the last result."""
    text = said("nodes,web-1,3,7,1,20,65,40,* L7OK", "nodes,BACKEND,5,12,1,20,99,80,", "other,web-1,0,0,0,0,0,0,")
    assert dict(figures_in(text)) == {
        ("nodes", "web-1"): Figures(sessions=7, queue=3, rate=40, errors=21, check="L7OK", since_s=65),
        ("nodes", None): Figures(sessions=12, queue=5, rate=80, errors=21, check="", since_s=99),
        ("other", "web-1"): Figures(0, 0, 0, 0, "", 0),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Unknown command\n\n",
        said(columns="pxname,svname,qcur,scur,econ,eresp,lastchg,rate"),
        said("nodes,web-1,0,0,0,0,0"),
        said("nodes,web-1,0,0,0,0,0,,"),
        said("nodes,web-1,0,-1,0,0,0,0,"),
        said("nodes,web-1,0,0,0,0,0,0,")[:-1],
    ],
)
def test_what_does_not_fit_is_garbled(text: str) -> None:
    """A column or a number is missing, or the answer was cut short."""
    with pytest.raises(ProxyGarbled, match="'show stat -1 6 -1'"):
        list(figures_in(text))


@given(st.text())
def test_any_text_is_figures_or_garbled(text: str) -> None:
    """Nothing but our own error, however odd it is."""
    try:
        found = list(figures_in(said(f"nodes,web-1,{text}")))
    except ProxyGarbled:
        return
    assert all(min(figures.sessions, figures.queue, figures.rate, figures.errors) >= 0 for _, figures in found)


def test_a_reading_knows_what_it_does_not_know() -> None:
    """Of a server or service that HAProxy did not name, or while it does not answer, there are no figures."""
    figures = Figures(1, 2, 3, 4, "L7OK", 5)
    reading = Reading(0.0, Traffic({"nodes": figures}, {("nodes", "web-1"): figures}), "")
    assert reading.of_server("nodes", "web-1") == reading.of_service("nodes") == figures
    assert reading.of_server("nodes", "web-2") is reading.of_service("other") is None
    assert NOT_ASKED.of_server("nodes", "web-1") is NOT_ASKED.of_service("nodes") is None

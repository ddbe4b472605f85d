"""The figures as pictures: a PNG for each kind of scenario, a panel in it for each figure, a bar for each contender.

A bar is labelled with its value, and its length is logarithmic where contenders differ by orders of magnitude. The same
figures give the same picture, to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from tests.bench.goals import OURS
from tests.bench.report import measured_in, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from tests.bench.figures import Figure, Figures

_OURS_COLOUR, _OTHER_COLOUR = "#1b6ca8", "#b8c4ce"
_WIDE = 20
_PANEL_WIDTH, _BAR_HEIGHT, _FRAME_HEIGHT = 4.2, 0.32, 1.1


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of one scenario, for all contenders that have it."""

    scenario: str
    figure: str
    title: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A file with some panels side by side."""

    name: str
    panels: tuple[Panel, ...]


PLOTS: tuple[Plot, ...] = (
    Plot(
        "join",
        (
            Panel("join_5", "p50_s", "start of the agent to first answer,\nmedian, 5 agents"),
            Panel("join_50", "p50_s", "the same, 50 agents"),
            Panel("join_50", "visible_p50_s", "visible to first answer,\nmedian, 50 agents"),
        ),
    ),
    Plot(
        "leave",
        (
            Panel("leave_5", "p50_s", "SIGINT to last request,\nmedian, 5 agents"),
            Panel("leave_50", "p50_s", "the same, 50 agents"),
        ),
    ),
    Plot(
        "crash",
        (
            Panel("crash", "failed", "a server dies: failed requests"),
            Panel("crash", "longest_s", "longest wait"),
        ),
    ),
    Plot(
        "churn",
        (
            Panel("churn", "failed", "two changes a second:\nfailed requests"),
            Panel("churn", "p99_s", "99 of 100 requests"),
            Panel("churn", "cpu_ms_per_event", "processor time of a change"),
        ),
    ),
    Plot("burst", (Panel("burst", "p50_s", "50 members at once:\nvisible to all serving, median"),)),
    Plot(
        "template",
        (
            Panel("template", "failed", "50 reloads: failed requests"),
            Panel("template", "p99_s", "99 of 100 requests"),
        ),
    ),
)


def draw(report: Mapping[str, Mapping[str, Figures]], folder: Path) -> list[Path]:
    """Write those plots for which there are figures, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plot in PLOTS:
        panels = {panel: bars for panel in plot.panels if (bars := _bars(report, panel))}
        if panels:
            drawn.append(folder / f"{plot.name}.png")
            _draw(panels, drawn[-1])
    return drawn


def _bars(report: Mapping[str, Mapping[str, Figures]], panel: Panel) -> dict[str, Figure]:
    measured = measured_in(report.get(panel.scenario, {}))
    return {name: figures[panel.figure] for name, figures in measured.items() if panel.figure in figures}


def _draw(panels: Mapping[Panel, Mapping[str, Figure]], path: Path) -> None:
    mpl.use("Agg")
    rows = max(map(len, panels.values()))
    size = (_PANEL_WIDTH * len(panels), _FRAME_HEIGHT + _BAR_HEIGHT * rows)
    picture = Picture(figsize=size, layout="constrained")
    axes = picture.subplots(1, len(panels), squeeze=False)[0]
    for one, (panel, bars) in zip(axes, panels.items(), strict=True):
        _draw_panel(one, panel, bars)
    picture.savefig(path, dpi=110, metadata={"Software": None})


def _draw_panel(axes: Axes, panel: Panel, bars: Mapping[str, Figure]) -> None:
    values = [float(value) for value in bars.values()]
    colours = [_OURS_COLOUR if name == OURS else _OTHER_COLOUR for name in bars]
    drawn = axes.barh(list(bars), values, color=colours)
    axes.bar_label(drawn, labels=[shown(panel.figure, value) for value in bars.values()], padding=3, fontsize=8)
    title = panel.title
    if min(values) > 0 and max(values) > _WIDE * min(values):
        axes.set_xscale("log")
        title += " (log)"
    axes.margins(x=0.35)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)

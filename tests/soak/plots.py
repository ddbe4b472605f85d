"""The report as one picture, from top to bottom: requests, memory, descriptors, processes, and which fault was when.

The same report gives the same picture, to the byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from tests.soak.options import PICTURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes


_COLOURS = {"rosterd": "#1b6ca8", "haproxy_worker": "#c8553d", "serf_agent": "#588157"}
_GOOD, _LOST, _EXCUSED = "#1b6ca8", "#d00000", "#e9a03b"
_WIDTH, _PANEL_HEIGHT, _ROW_HEIGHT = 12.0, 2.1, 0.19
_LEAST_BAR_MIN = 0.05
_Report = dict[str, Any]


def draw(report: _Report, folder: Path) -> Path:
    """Write the picture, and return its file."""
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    tried = [name for name, row in report["faults"].items() if row["tried"]]
    heights = [_PANEL_HEIGHT, _PANEL_HEIGHT, _PANEL_HEIGHT, _PANEL_HEIGHT / 2, max(1.0, _ROW_HEIGHT * len(tried))]
    picture = Picture(figsize=(_WIDTH, sum(heights) + 1), layout="constrained")
    requests, memory, descriptors, workers, faults = picture.subplots(5, 1, sharex=True, height_ratios=heights)
    _draw_requests(requests, report["seconds"])
    _draw_use(memory, report["samples"], "rss_mb", "memory, MB")
    _draw_use(descriptors, report["samples"], "descriptors", "descriptors")
    _draw_workers(workers, report["samples"])
    _draw_faults(faults, report["turns"], tried)
    path = folder / PICTURE
    picture.savefig(path, dpi=100, metadata={"Software": None})
    return path


def _draw_requests(axes: Axes, seconds: Mapping[str, Sequence[int]]) -> None:
    minutes = [second / 60 for second in range(len(seconds["requests"]))]
    axes.plot(minutes, seconds["requests"], color=_GOOD, linewidth=0.8, label="requests due")
    axes.bar(minutes, seconds["failed"], width=1 / 60, color=_LOST, label="failed")
    axes.bar(minutes, seconds["excused"], width=1 / 60, color=_EXCUSED, label="failed with an excuse")
    _finish(axes, "requests a second")


def _draw_use(axes: Axes, samples: Mapping[str, Sequence[float | None]], what: str, label: str) -> None:
    minutes = [at / 60 for at in samples["at_s"] if at is not None]
    for program, colour in _COLOURS.items():
        values = [float("nan") if value is None else value for value in samples[f"{program}_{what}"]]
        axes.plot(minutes, values, color=colour, linewidth=1, label=program.replace("_", " "))
    if what == "descriptors":
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    _finish(axes, label)


def _draw_workers(axes: Axes, samples: Mapping[str, Sequence[float]]) -> None:
    minutes = [at / 60 for at in samples["at_s"]]
    axes.step(minutes, samples["old_workers"], where="post", color="#888888", linewidth=1, label="old workers")
    axes.step(minutes, samples["orphans"], where="post", color=_LOST, linewidth=1, label="orphans")
    _finish(axes, "processes")


def _draw_faults(axes: Axes, turns: Sequence[_Report], names: Sequence[str]) -> None:
    """A bar for each fault from its beginning until all was well; red where a request failed without an excuse."""
    for turn in turns:
        length = max(_LEAST_BAR_MIN, (turn["took_s"] + (turn["heal_s"] or 0.0)) / 60)
        is_bad = turn["failed"] or turn["heal_s"] is None
        colour = _LOST if is_bad else _EXCUSED if turn["excused"] else _GOOD
        for name in turn["faults"]:
            axes.barh(names.index(name), length, left=turn["at_s"] / 60, height=0.7, color=colour)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("minutes; blue: nothing lost, yellow: lost with an excuse, red: lost, or not healed", fontsize=8)
    axes.grid(axis="both", linewidth=0.3)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _finish(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.005)

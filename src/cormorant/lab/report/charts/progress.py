"""Good pages over time: the slope of the for loop, and the plateau while a hung page holds everybody up."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

from cormorant.lab.comparison import Comparison, Phases, Trial
from cormorant.lab.report.charts.drawing import Picture, drawing, figure, look, to_svg
from cormorant.lab.report.ranking import Group, typical

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 800
_ZOOM_FROM = 3.0  # the longest over the usual length


def progress(comparison: Comparison) -> Picture:
    """Draw how many good pages the caller had at each instant, of the typical trial of each engine."""
    title = "Progress: good pages in the caller's hands over time"
    aid = (
        "Steeper is faster; a flat stretch is time in which the caller got nothing. Dotted: nothing but failures was "
        "still to come. One trial of each engine, at its greatest width."
    )
    pairs = typical(comparison)
    lengths = [_last(trial.phases) for _, trial in pairs if trial.phases]
    if not lengths:
        return Picture("progress", title, aid, None)
    usual = statistics.median(lengths)
    zoomed = max(lengths) > _ZOOM_FROM * usual
    with drawing("progress"):
        drawn, panels = figure(5.4 if zoomed else 3.2, rows=2 if zoomed else 1)
        for axes in panels:
            for group, trial in pairs:
                _line(axes, group, trial)
            axes.set_xlim(0, max(lengths) * 1.02)
            axes.set_ylim(bottom=0)
            axes.set_ylabel("good pages")
            axes.grid(True)
        if zoomed:
            aid += " Below, the first seconds of the same lines."
            panels[1].set_xlim(0, usual * 1.15)
        panels[-1].set_xlabel("seconds from the start of the trial")
        handles, names = panels[0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside right center")
        return Picture("progress", title, aid, to_svg(drawn, "progress", f"{title}, one line per engine."))


def _last(phases: Phases) -> float:
    return max(phases.handed_over_at, default=0.0)


def _line(axes: Axes, group: Group, trial: Trial) -> None:
    phases, looks = trial.phases or Phases(), look(group.engine)
    good = sorted(at for at, end in zip(phases.handed_over_at, phases.end, strict=True) if end == "ok")
    steps = [(0.0, 0), *((at, number) for number, at in enumerate(good, 1))]
    every = -(-len(steps) // _MOST_POINTS)
    kept = [*itertools.islice(steps, 0, None, every), steps[-1]]
    x, y = zip(*kept, strict=True)
    axes.step(x, y, where="post", color=looks.colour, linestyle=looks.dash, linewidth=1.5, label=group.label)
    if _last(phases) > x[-1]:
        axes.plot([x[-1], _last(phases)], [y[-1], y[-1]], color=looks.colour, linestyle=(0, (1, 2)), linewidth=1.0)

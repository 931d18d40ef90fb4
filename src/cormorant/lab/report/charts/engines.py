"""Engine beside engine: throughput, CPU, memory, and who waited. Every repeat is a point, the median a line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cormorant.lab.comparison import Comparison
from cormorant.lab.report.charts.drawing import GREY, Picture, drawing, figure, look, scaled, to_svg
from cormorant.lab.report.ranking import Group, groups, memory_measure
from cormorant.lab.report.words import capacity as said

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.27
_MIB = 1 << 20


def throughput(comparison: Comparison) -> Picture:
    """Draw pages a second of each group, every repeat a point."""
    title = "Throughput: good pages a second"
    aid = "Further right is faster. Each point is one repeat, the upright stroke their median; points far apart: noise."
    rows = groups(comparison)
    if not _measured(rows, "pages_per_second"):
        return Picture("throughput", title, aid, None)
    capacity = comparison.origin.capacity_pages_per_second
    with drawing("throughput"):
        drawn, (axes,) = figure(0.7 + _ROW_INCHES * len(rows))
        values = _points(axes, rows, "pages_per_second")
        if capacity is not None:
            aid += (
                " The dashed line is what the origin gave when nothing was late: near it, the origin was measured. It "
            )
            aid += f"is {said(comparison.origin)}."
            axes.axvline(capacity, color=GREY, linestyle="--", linewidth=1)
            axes.annotate(" origin", (capacity, 1.0), xycoords=("data", "axes fraction"), va="bottom", color=GREY)
            values.append(capacity)
        if not scaled(axes.xaxis, values, "good pages a second"):
            axes.set_xlim(left=0)
        return Picture("throughput", title, aid, to_svg(drawn, "throughput", f"{title}, per engine and width."))


def cpu(comparison: Comparison) -> Picture:
    """Draw CPU time a page of each group, split into user and system where the scale allows stacking."""
    title = "CPU: what one page costs"
    aid = "Further left is cheaper. Counted over the whole process tree and all its cores; each point is one repeat"
    rows = groups(comparison)
    if not _measured(rows, "cpu_seconds_per_page"):
        return Picture("cpu", title, f"{aid}.", None)
    with drawing("cpu"):
        drawn, (axes,) = figure(0.95 + _ROW_INCHES * len(rows))
        values = _points(axes, rows, "cpu_seconds_per_page", times=1e3)
        if scaled(axes.xaxis, values, "CPU time a page, ms"):
            aid += ", the upright stroke their median."
        else:
            aid += "; the bar is their median, the full part spent in the program (user), the pale part in the kernel."
            axes.set_xlim(left=0, right=max(values) * 1.05)
            _stacked(axes, rows)
        return Picture("cpu", title, aid, to_svg(drawn, "cpu", f"{title}, per engine and width."))


def memory(comparison: Comparison) -> Picture:
    """Draw peak memory against concurrency, one line for each engine."""
    rows = groups(comparison)
    measure = memory_measure(rows)
    title = "Memory: the peak against how many are under way"
    counted = "shared pages counted once (PSS)" if "pss" in measure else "shared pages counted in every process (RSS)"
    aid = f"The flatter the line, the less one more job under way costs. The whole process tree, {counted}; a point is "
    aid += "the median of the repeats, the stroke through it their range."
    if not _measured(rows, measure):
        return Picture("memory", title, aid, None)
    with drawing("memory"):
        drawn, (axes,) = figure(3.2)
        peaks = _lines(axes, rows, measure)
        scaled(axes.yaxis, peaks, "peak memory, MiB")
        if axes.get_yscale() == "linear":
            axes.set_ylim(bottom=0)
        scaled(axes.xaxis, [_in_flight(group) for group in rows], "jobs under way at once, at the most")
        widths = sorted({group.concurrency for group in rows})
        if len(widths) <= 6:
            axes.set_xticks(widths, [str(width) for width in widths])
            axes.set_xticks([], minor=True)
        axes.grid(True)
        drawn.legend(loc="outside right center")
        return Picture("memory", title, aid, to_svg(drawn, "memory", f"{title}, one line per engine."))


def waits(comparison: Comparison) -> Picture:
    """Draw how long good pages waited behind hung ones, and how late outcomes were handed over."""
    title = "Who waited: good pages behind hung ones, and outcomes for their caller"
    aid = (
        "Left: the longest stretch with a hung page under way and no good page handed over. Right: from the end of a "
        "page until its caller had it: filled the median page, hollow the slowest of a hundred. A point is one repeat."
    )
    rows = groups(comparison)
    if not _measured(rows, "waited_behind_hung_seconds") and not _measured(rows, "hand_over_p99_seconds"):
        return Picture("waits", title, aid, None)
    with drawing("waits"):
        drawn, (left, right) = figure(0.75 + _ROW_INCHES * len(rows), columns=2)
        behind = _points(left, rows, "waited_behind_hung_seconds")
        if not scaled(left.xaxis, behind, "waited behind hung pages, s"):
            left.set_xlim(left=0)
        lags = _points(right, rows, "hand_over_p50_seconds", times=1e3)
        lags += _points(right, rows, "hand_over_p99_seconds", times=1e3, filled=False)
        right.set_yticklabels([])
        if not scaled(right.xaxis, lags, "hand-over lag, ms"):
            right.set_xlim(left=0)
        return Picture("waits", title, aid, to_svg(drawn, "waits", f"{title}, per engine and width."))


def _measured(rows: Sequence[Group], measure: str) -> bool:
    return any(group.values(measure) for group in rows)


def _points(axes: Axes, rows: Sequence[Group], measure: str, *, times: float = 1.0, filled: bool = True) -> list[float]:
    """Draw one row for each group, from the top; returns all values drawn."""
    drawn: list[float] = []
    for row, group in enumerate(rows):
        colour = look(group.engine).colour
        values = [value * times for value in group.values(measure)]
        if not values:
            said = "broke off" if group.errors else "not measured"
            axes.annotate(
                said, (0.02, row), xycoords=("axes fraction", "data"), va="center", color=GREY, style="italic"
            )
            continue
        face = colour if filled else "none"
        looks: dict[str, Any] = {"facecolors": face, "edgecolors": colour, "linewidths": 1.0, "clip_on": False}
        axes.scatter(values, [row] * len(values), s=20, zorder=3, **looks)
        middle = statistics.median(values)
        axes.plot([middle, middle], [row - 0.36, row + 0.36], color=colour, linewidth=2.2 if filled else 1.0, zorder=2)
        drawn += values
    axes.set_yticks(range(len(rows)), [group.label for group in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x")
    return drawn


def _stacked(axes: Axes, rows: Sequence[Group]) -> None:
    """Put a bar behind the points: user and system share of the median cost."""
    from matplotlib.patches import Patch

    for row, group in enumerate(rows):
        cost, total = group.median("cpu_seconds_per_page"), group.median("cpu_seconds")
        user = group.median("cpu_user_seconds")
        if cost is None:
            continue
        colour = look(group.engine).colour
        share = user / total if user is not None and total else 1.0
        axes.barh(row, cost * share * 1e3, height=0.6, color=colour, alpha=0.75, zorder=1)
        axes.barh(row, cost * (1 - share) * 1e3, left=cost * share * 1e3, height=0.6, color=colour, alpha=0.3, zorder=1)
    legend = [Patch(color=GREY, alpha=0.75, label="user"), Patch(color=GREY, alpha=0.3, label="system")]
    axes.legend(handles=legend, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0)


def _in_flight(group: Group) -> float:
    """Return how many jobs were really under way at once; where nobody counted, how many might have been."""
    return group.median("most_in_flight") or float(group.concurrency)


def _lines(axes: Axes, rows: Sequence[Group], measure: str) -> list[float]:
    """Draw one line for each engine over its widths; returns all values drawn, in MiB."""
    drawn: list[float] = []
    for engine in dict.fromkeys((group.engine, group.workers) for group in rows):
        own = [group for group in rows if (group.engine, group.workers) == engine and group.values(measure)]
        if not own:
            continue
        own.sort(key=_in_flight)
        looks = look(engine[0])
        widths = [_in_flight(group) for group in own]
        values = [[value / _MIB for value in group.values(measure)] for group in own]
        middles = [statistics.median(each) for each in values]
        words: dict[str, Any] = {"color": looks.colour, "linestyle": looks.dash, "marker": looks.marker}
        axes.plot(widths, middles, markersize=5, label=own[0].line, **words)
        axes.vlines(widths, [min(each) for each in values], [max(each) for each in values], color=looks.colour)
        drawn += [value for each in values for value in each]
    return drawn

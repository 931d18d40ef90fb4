"""One row for each page: the for loop's staircase, the pool's lanes, the coroutines' fan, at one glance.

A page waits in the queue from the start of the trial until its job begins. The phases follow as libcurl timed them;
what they leave of the time until the page ended is drawn as its own phase: before a failure the wait for an answer that
did not come, otherwise earlier hops, retries, or the whole of a function of the user's, which nobody timed.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, TypeAlias

from cormorant.lab.comparison import Comparison, Phases, Trial
from cormorant.lab.report.charts.drawing import Picture, drawing, figure, to_svg
from cormorant.lab.report.ranking import Group, typical

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 120
_PANEL_INCHES = 1.95
_SAME_SCALE_UP_TO = 2.0  # a panel's length over the usual one
_CUT_FROM = 3.0  # the last answer over that of nine pages in ten

COLOURS = {
    "in the queue": "#ededed",
    "dns": "#EE7733",
    "connect": "#CCBB44",
    "tls": "#AA3377",
    "first byte": "#77AADD",
    "body": "#228833",
    "not split further": "#BBBBBB",
    "failed": "#CC3311",
    "waits for hand-over": "#332288",
}
_TIMED = {"dns": "dns", "connect": "connect", "tls": "tls", "first byte": "first_byte", "body": "body"}

_NO_ANSWER = ("in the queue", "failed", "waits for hand-over")

Bars: TypeAlias = dict[str, list[tuple[int, float, float]]]


def waterfall(comparison: Comparison) -> Picture:
    """Draw the first pages of the typical trial of each engine, one row for each in the order of their beginning."""
    title = "Waterfall: what each page did when"
    pairs = [(group, trial, bars(trial.phases or Phases())) for group, trial in typical(comparison)]
    lengths = [_lengths(each) for _, _, each in pairs]
    if not pairs:
        return Picture("waterfall", title, "", None)
    common = _common([shown for _, shown in lengths])
    odd = [group.engine for (group, _, _), (_, shown) in zip(pairs, lengths, strict=True) if shown > common]
    with drawing("waterfall"):
        rows = -(-len(pairs) // 2)
        drawn, panels = figure(0.9 + _PANEL_INCHES * rows, columns=min(2, len(pairs)), rows=rows)
        for axes, (group, trial, each), (length, shown) in zip(panels, pairs, lengths, strict=False):
            axes.set_xlim(0, max(shown, common) * 1.02 or 1.0)
            _label(axes, group, trial, length, " (own scale)" if shown > common else "")
            _panel(axes, each)
        for axes in panels[len(pairs) :]:
            axes.set_axis_off()
        _legend(drawn, [each for _, _, each in pairs])
        return Picture("waterfall", title, _aid(odd), to_svg(drawn, "waterfall", f"{title}, one panel per engine."))


def bars(phases: Phases) -> Bars:
    """Return for each phase its bars as (row, from, to) in seconds, of the first pages."""
    found: Bars = {phase: [] for phase in COLOURS}
    order = sorted(range(len(phases.began_at)), key=phases.began_at.__getitem__)[:ROWS]
    for row, page in enumerate(order):
        at = phases.began_at[page]
        found["in the queue"].append((row, 0.0, at))
        for phase, column in _TIMED.items():
            seconds = getattr(phases, column)[page]
            found[phase].append((row, at, at + seconds))
            at += seconds
        answered = phases.end[page] in ("ok", "http_error")
        found["not split further" if answered else "failed"].append((row, at, phases.ended_at[page]))
        found["waits for hand-over"].append((row, phases.ended_at[page], phases.handed_over_at[page]))
    return {phase: [bar for bar in each if bar[2] > bar[1]] for phase, each in found.items()}


def _lengths(found: Bars) -> tuple[float, float]:
    """Return when the last answer had come, and where to cut the axis so that a few slow pages do not hide the rest."""
    answered = [end for phase, each in found.items() if phase not in _NO_ANSWER for _, _, end in each]
    ends = sorted(answered or [end for _, _, end in found["failed"]] or [0.0])
    most = ends[int(0.9 * (len(ends) - 1))]
    return ends[-1], ends[-1] if ends[-1] <= _CUT_FROM * most else 1.5 * most


def _common(lengths: list[float]) -> float:
    """Return the length of the scale that most panels share."""
    usual = statistics.median_low(lengths)
    return max(length for length in lengths if length <= _SAME_SCALE_UP_TO * usual)


def _panel(axes: Axes, found: Bars) -> None:
    """Draw all bars of one phase as one path: small, and quick to show."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    for phase, each in found.items():
        if each:
            corners = [
                corner
                for row, start, end in each
                for corner in ((start, row), (end, row), (end, row + 0.9), (start, row + 0.9), (start, row))
            ]
            codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(each)
            axes.add_patch(PathPatch(Path(corners, codes), facecolor=COLOURS[phase], edgecolor="none"))
    limit = axes.get_xlim()[1]
    _mark(axes, [(end, row) for row, _, end in found["failed"] if end <= limit], "x", COLOURS["failed"])
    for phase, each in found.items():
        _mark(axes, [(limit, row) for row, start, end in each if start <= limit < end], ">", COLOURS[phase])


def _mark(axes: Axes, points: list[tuple[float, int]], marker: str, colour: str) -> None:
    """Mark rows, if any: where they failed, or that they go on beyond the edge."""
    if points:
        x, y = zip(*points, strict=True)
        middles = [row + 0.45 for row in y]
        axes.scatter(x, middles, s=9, marker=marker, color=colour, linewidths=0.9, zorder=3, clip_on=False)


def _label(axes: Axes, group: Group, trial: Trial, length: float, scale: str) -> None:
    pages = len(trial.phases.url) if trial.phases else 0
    shown = min(ROWS, pages)
    part = f"first {shown} of {pages} pages" if shown < pages else f"{pages} pages"
    axes.set_title(f"{group.label}\n{part}: {length:.3g} s{scale}", loc="left", fontsize=8)
    axes.set_ylim(max(shown, 1), 0)
    axes.set_yticks([0, shown], ["1", str(shown)])
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("seconds", labelpad=1)
    axes.set_ylabel("page", labelpad=-6)


def _legend(drawn: object, found: list[Bars]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    assert isinstance(drawn, Figure)
    seen = [phase for phase in COLOURS if any(each[phase] for each in found)]
    handles = [Patch(facecolor=COLOURS[phase], label=phase) for phase in seen]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5)


def _aid(odd: list[str]) -> str:
    said = (
        "Each row is one page, from the top in the order of their beginning; colours are its phases. Steps going down "
        "to the right are pages that wait for each other; bars under each other are pages under way at once; red is "
        "a page that failed, at the cross; an arrow is a page that ends far beyond the edge. "
        f"At most the first {ROWS} pages are shown, of one trial of each engine."
    )
    if odd:
        said += f" Mind the time axis, which differs for what took far longer: {', '.join(odd)}."
    return said

"""The trace as a picture: a row for each job and one for the loop. Needs matplotlib (extra `lab`)."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING, Any

from cormorant.errors import MissingPackage
from cormorant.lab.trace.events import Trace, What
from cormorant.lab.trace.slices import BACK, QUEUED, RUNNING, WIRE, Slice, runs, slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSTALL = "--svg draws with matplotlib; install it with: pip install 'cormorant[lab]'"
MOST_ROWS = 200
LONGEST_LABEL = 60

# Blue, orange, grey: told apart by colour-blind eyes too (Okabe and Ito).
COLOURS = {QUEUED: "#cccccc", WIRE: "#9ecae1", RUNNING: "#d55e00", BACK: "#888888"}
_WORDS = {
    QUEUED: "let go, not begun",
    WIRE: "waits for its page",
    RUNNING: "has a thread",
    BACK: "ended, not yet taken home",
}
_LOOP_COLOUR = "#56b4a0"


def require() -> None:
    """Raise MissingPackage, with the pip line, when there is nothing to draw with."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingPackage(INSTALL)


def svg(trace: Trace) -> bytes:
    """Draw the trace; returns the file's content. Raises MissingPackage without matplotlib."""
    require()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    jobs = [job.job for job in trace.jobs][:MOST_ROWS]
    has_loop = any(event.what is What.WAITED for event in trace.events)
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(11, 1.8 + 0.32 * (len(jobs) + has_loop)), layout="constrained")
        axes = figure.subplots()
        labels = _rows(axes, trace, jobs)
        if has_loop:
            _loop_row(axes, trace, len(jobs))
            labels.append("the loop")
        _finish(axes, trace, labels)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        return drawn.getvalue()


def _rows(axes: Axes, trace: Trace, jobs: list[int]) -> list[str]:
    """Draw the jobs' rows; return their labels."""
    row_of = {number: row for row, number in enumerate(jobs)}
    for state in (QUEUED, WIRE, BACK):
        _bars(axes, [piece for piece in slices(trace) if piece.state == state], row_of, state, 0.62)
    # Where nobody switches, a job has its thread for the whole time: drawn thin, the wait stays to be seen.
    _bars(axes, runs(trace), row_of, RUNNING, 0.3)
    return [_label(trace, row) for row in range(len(jobs))]


def _bars(axes: Axes, pieces: list[Slice], row_of: dict[int, int], state: str, height: float) -> None:
    shown = [piece for piece in pieces if piece.job in row_of]
    axes.barh(
        [row_of[piece.job] for piece in shown],
        [(piece.end - piece.start) * 1000 for piece in shown],
        left=[piece.start * 1000 for piece in shown],
        height=height,
        color=COLOURS[state],
        edgecolor=COLOURS[state],  # a run of microseconds is a line, not nothing
        linewidth=0.6,
        label=_WORDS[state],
    )


def _loop_row(axes: Axes, trace: Trace, row: int) -> None:
    waits = [event for event in trace.events if event.what is What.WAITED]
    starts = [(event.at - (event.seconds or 0.0)) * 1000 for event in waits]
    spans = [(event.seconds or 0.0) * 1000 for event in waits]
    axes.barh([row] * len(waits), spans, left=starts, height=0.3, color=_LOOP_COLOUR, label="the loop waits")
    returns = [event.at * 1000 for event in waits if event.ready]
    axes.vlines(returns, row - 0.4, row + 0.4, color="black", linewidth=0.8, label="the wait brought sockets")


def _label(trace: Trace, row: int) -> str:
    job = trace.jobs[row]
    name = f"{job.job}: {job.target.partition('://')[2]}"
    name = name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"
    return f"{name} ({job.end})" if job.end else name


def _finish(axes: Axes, trace: Trace, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a URL may hold $
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("ms since the start of the run")
    left_out = len(trace.jobs) - MOST_ROWS
    more = f"; {left_out:,} jobs more are not shown" if left_out > 0 else ""
    title: Any = axes.set_title(
        f"engine {trace.engine}, {trace.options['concurrency']} at once, {len(trace.jobs):,} jobs{more}", loc="left"
    )
    title.set_parse_math(False)
    axes.figure.legend(loc="outside lower center", ncols=6, frameon=False)

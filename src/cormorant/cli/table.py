"""A comparison as a table in the terminal: who is faster, at what cost, and which places are within the noise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cormorant.cli.destination import is_terminal
from cormorant.cli.terminal import neutral
from cormorant.lab.comparison import Comparison
from cormorant.lab.report import words
from cormorant.lab.report.ranking import LEAST_DIFFERENCE, Group, places, ranked

WIDTH_IN_A_PIPE = 200  # there the table keeps one line per engine
LOUD: Any = {"style": "bold white on red", "markup": False, "highlight": False}

LESSER = ("±", "proc", "first")
NARROW = 96  # columns of a terminal below which the lesser figures are left to the report

LEGEND = (
    "±: half the range between the quartiles of the repeats. CPU: of the whole process tree, for each page. first, "
    "99 %: when that share of the good pages was in hand. hung: the longest that good pages waited behind a hung one. "
    "lag: from the end of a page in its worker until it was in hand. Equal places cannot be told apart: their medians "
    f"differ by no more than their ± together, or than {LEAST_DIFFERENCE:.0%}."
)


def show(comparison: Comparison) -> None:
    """Print what is loud, the table, the claims and the caveats to stdout."""
    console = Console(width=None if is_terminal(sys.stdout) else WIDTH_IN_A_PIPE)
    for line in words.saturated(comparison):
        console.print(f"THE ORIGIN WAS SATURATED, its figures are not the engine's: {neutral(line)}", **LOUD)
    if order := ranked(comparison):
        console.print(_table(comparison, order, is_narrow=console.width < NARROW))
        console.print(LEGEND, style="dim", markup=False)
    if comparison.origin.is_ours:
        console.print(f"The origin gives, when nothing is late, {words.capacity(comparison.origin)}.", markup=False)
    console.print(neutral(words.result(comparison)), markup=False)
    for caveat in comparison.caveats:
        console.print(f"caveat: {neutral(caveat)}", markup=False, style="dim")
    for verdict in comparison.claims:
        console.print(f"{words.JUDGED[verdict.holds]:>14}  {verdict.claim}", markup=False)
        console.print(f"{'':>14}  {verdict.figure}", markup=False, style="dim")


def _table(comparison: Comparison, order: Sequence[Group], *, is_narrow: bool) -> Table:
    work = comparison.work
    title = f"{work.name}: {work.jobs} jobs, timeout {work.timeout_seconds:g} s; medians"
    table = Table(title=neutral(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    for heading in ("", "engine", *(name for name in _cells(order[0]) if not (is_narrow and name in LESSER))):
        table.add_column(heading, justify="left" if heading == "engine" else "right", no_wrap=True)
    for place, group in zip(places(order), order, strict=True):
        cells = _cells(group).items()
        table.add_row(str(place), group.engine, *(cell for name, cell in cells if not (is_narrow and name in LESSER)))
    return table


def _cells(group: Group) -> dict[str, str]:
    def seconds(measure: str) -> str:
        return words.seconds(group.median(measure)) if group.values(measure) else "-"

    speeds, middle = group.values("pages_per_second"), group.median("pages_per_second")
    peak = group.median("peak_pss_bytes") or group.median("peak_rss_bytes")
    return {
        "-c": str(group.concurrency),
        "pages/s": words.rate(middle) if middle else "broke" if group.errors else "none",
        "±": f"{group.spread('pages_per_second') / middle:.0%}" if middle and len(speeds) > 1 else "?",
        "CPU": seconds("cpu_seconds_per_page"),
        "memory": words.size(peak) if peak else "-",
        "thr": f"{group.median('threads') or 0:.0f}",
        "proc": f"{group.median('processes') or 0:.0f}",
        "first": seconds("first_seconds"),
        "99 %": seconds("ninety_nine_percent_seconds"),
        "hung": seconds("waited_behind_hung_seconds"),
        "lag": seconds("hand_over_p50_seconds"),
    }

"""Numbers and results in words, for readers: units said, what is not known called so, nothing decided beforehand."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from cormorant.lab.comparison import Comparison, Origin, Trial
from cormorant.lab.report.ranking import Group, ranked, within_noise

NOT_MEASURED = "not measured"
SATURATED_CORES = 0.9
SATURATED_SHARE = 0.8  # of the origin's capacity
JUDGED = {True: "holds", False: "does not hold", None: NOT_MEASURED}


def seconds(value: float | None) -> str:
    """Return a time in the unit in which it is readable."""
    if value is None:
        return NOT_MEASURED
    for unit, least in (("s", 1.0), ("ms", 1e-3), ("µs", 0.0)):
        if abs(value) >= least or unit == "µs":
            return f"{value / (least or 1e-6):.3g} {unit}" if value else "0 s"
    raise AssertionError("every time has a unit")


def rate(value: float | None) -> str:
    """Return pages a second."""
    return NOT_MEASURED if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def size(value: float | None) -> str:
    """Return bytes in the unit in which they are readable."""
    if value is None:
        return NOT_MEASURED
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB" if value < 1000 else f"{value:,.0f} GiB"


def span(least: str, most: str) -> str:
    """Return a range of two figures, the unit said once when it is the same."""
    if least == most:
        return f"all {most}"
    figure, _, unit = least.rpartition(" ")
    return f"{figure} to {most}" if figure and most.endswith(f" {unit}") else f"{least} to {most}"


def raw(value: object) -> str:
    """Return a field of a trial as it is, numbers to four places."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items()) or "none"
    return str(value)


def linked(source: str) -> list[tuple[str, bool]]:
    """Return the pieces of a source, each with whether it may be a link: http and https addresses, nothing else."""
    pieces = re.split(r"(https?://[^\s<>\"']*[^\s<>\"'.,;:)\]])", source)
    return [(piece, number % 2 == 1) for number, piece in enumerate(pieces) if piece]


def result(comparison: Comparison) -> str:
    """Say in a sentence or two who was fastest, who cannot be told from it, and what broke off."""
    ranking = ranked(comparison)
    if not ranking or ranking[0].median("pages_per_second") is None:
        return "No throughput was measured." + _broke_off(ranking)
    first = ranking[0]
    figure = f"{rate(first.median('pages_per_second'))} good pages a second"
    if len(ranking) == 1:
        return f"{first.name}: {figure}. One engine at one width: nothing to compare with.{_broke_off(ranking)}"
    equal = within_noise(ranking)
    said = f"The fastest was {first.name}: {figure} in the median. "
    if len(first.values("pages_per_second")) == 1:
        said += "It has one repeat, so nobody knows how much of its lead is noise."
    elif equal:
        said += f"Within its noise, so not to be told from it: {_listed([group.name for group in equal])}."
    else:
        said += "No other came within its noise."
    return said + _broke_off(ranking)


def is_at_least(origin: Origin) -> bool:
    """Tell whether the origin could have given more than its capacity says: it was not busy when that was measured."""
    return origin.capacity_cores is not None and origin.capacity_cores < SATURATED_CORES


def capacity(origin: Origin) -> str:
    """Return what the origin gives when nothing is late, and how sure that is."""
    if origin.capacity_pages_per_second is None:
        return NOT_MEASURED
    figure = f"{rate(origin.capacity_pages_per_second)} pages a second"
    if is_at_least(origin):
        return (
            f"at least {figure}: it used {origin.capacity_cores:.0%} of a core meanwhile, so its client was the limit"
        )
    return figure


def saturated(comparison: Comparison) -> list[str]:
    """Say which groups our origin may have held back, and how full it was: their figures are its, not theirs."""
    origin, found = comparison.origin, []
    if not origin.is_ours:
        return []
    capacity = math.inf if is_at_least(origin) else origin.capacity_pages_per_second or math.inf
    for group in ranked(comparison):
        cores = max(group.values("origin_cores"), default=0.0)
        share = max(group.values("pages_per_second"), default=0.0) / capacity
        if cores >= SATURATED_CORES:
            found.append(f"{group.name}: the origin used {cores:.0%} of a core")
        elif share >= SATURATED_SHARE:
            found.append(f"{group.name}: reached {share:.0%} of what the origin gives when nothing is late")
    return found


def fields(trial: Trial) -> list[str]:
    """Return the measures of a trial as words, in the order of `MEASURES`."""
    return [raw(getattr(trial, name)) for name in MEASURES]


MEASURES = [name for name in Trial.__struct_fields__ if name != "phases"]


def _broke_off(groups: Sequence[Group]) -> str:
    names = [group.name for group in groups if group.errors]
    return f" Broke off, so do not count on it: {_listed(names)}." if names else ""


def _listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them; each may hold a comma of its own."""
    return "; ".join(names)

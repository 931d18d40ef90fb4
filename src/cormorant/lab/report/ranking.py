"""The trials of one engine and width together: medians, spread, and who is within the noise of the fastest.

**Within the noise.** The spread of a group is half the range between the quartiles of its repeats, so that one repeat
that something disturbed does not decide. A group is within the noise of another when their medians differ by no more
than the spreads of both together, or by no more than `LEAST_DIFFERENCE` of the higher. Of one repeat no noise is known.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from cormorant import engines
from cormorant.lab.comparison import Comparison, Trial

LEAST_DIFFERENCE = 0.05  # a few repeats on one machine cannot tell less than this apart, however near they fall
_LONGEST_NAME = 24


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Every repeat of one engine at one width."""

    engine: str
    workers: int
    concurrency: int
    trials: list[Trial]

    @property
    def name(self) -> str:
        """What the rows of tables and pictures say."""
        return f"{self.engine}{self._workers}, {self.concurrency} at once"

    @property
    def line(self) -> str:
        """What a line over several widths is called."""
        return shortened(self.engine) + self._workers

    @property
    def label(self) -> str:
        """The name, short enough to stand beside a picture."""
        return f"{self.line}, {self.concurrency} at once"

    @property
    def _workers(self) -> str:
        return f" with {self.workers} workers" if self.workers > 1 else ""

    @property
    def errors(self) -> list[str]:
        """Why trials broke off."""
        return [trial.error for trial in self.trials if trial.error is not None]

    def values(self, measure: str) -> list[float]:
        """Return what the trials that went through measured, in the order of the repeats."""
        found = (getattr(trial, measure) for trial in self.trials if trial.error is None)
        return [float(value) for value in found if value is not None]

    def median(self, measure: str) -> float | None:
        """Return the median over the repeats, None when nothing was measured."""
        values = self.values(measure)
        return statistics.median(values) if values else None

    def spread(self, measure: str) -> float:
        """Return half the range between the quartiles of the repeats; 0 of fewer than two."""
        values = self.values(measure)
        if len(values) < 2:
            return 0.0
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        return (third - first) / 2

    def representative(self) -> Trial | None:
        """Return the trial with known phases whose throughput is nearest to the median."""
        able = [trial for trial in self.trials if trial.error is None and trial.phases and trial.phases.began_at]
        middle = self.median("pages_per_second") or 0.0
        return min(able, key=lambda trial: abs((trial.pages_per_second or 0.0) - middle), default=None)


def shortened(name: str) -> str:
    """Return a name with its end cut off when it is very long."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def groups(comparison: Comparison) -> list[Group]:
    """Return the groups in the order of the table of engines, the narrow before the wide."""
    found: dict[tuple[str, int, int], list[Trial]] = {}
    for trial in comparison.trials:
        found.setdefault((trial.engine, trial.workers, trial.concurrency), []).append(trial)
    known = {name: place for place, name in enumerate(engines.names())}
    order = sorted(found, key=lambda key: (known.get(key[0], len(known)), key))
    return [Group(*key, found[key]) for key in order]


def ranked(comparison: Comparison) -> list[Group]:
    """Return the groups by their median throughput, the fastest first; what was not measured comes last."""
    return sorted(groups(comparison), key=lambda group: -(group.median("pages_per_second") or 0.0))


def memory_measure(rows: Sequence[Group]) -> str:
    """Return the measure of memory that all have: PSS, which counts shared pages once, or else RSS."""
    has_pss = all(group.values("peak_pss_bytes") for group in rows if group.values("peak_rss_bytes"))
    return "peak_pss_bytes" if has_pss and any(group.values("peak_pss_bytes") for group in rows) else "peak_rss_bytes"


def within_noise(ranking: Sequence[Group]) -> list[Group]:
    """Return the groups that cannot be told from the fastest, which is not among them."""
    return [group for group, place in zip(ranking, places(ranking), strict=True) if place == 1][1:]


def places(ranking: Sequence[Group]) -> list[int]:
    """Return the place of each group of a ranking; those that cannot be told from the first of their place share it."""
    found: list[int] = []
    first: Group | None = None
    for number, group in enumerate(ranking, 1):
        if first is None or not _is_within(group, first):
            first = group
            found.append(number)
        else:
            found.append(found[-1])
    return found


def _is_within(group: Group, first: Group) -> bool:
    higher, lower = first.median("pages_per_second"), group.median("pages_per_second")
    if not higher or not lower:
        return False
    noise = first.spread("pages_per_second") + group.spread("pages_per_second")
    return higher - lower <= max(noise, LEAST_DIFFERENCE * higher)


def typical(comparison: Comparison) -> list[tuple[Group, Trial]]:
    """Return one group of each engine, its widest with known phases, and the trial that stands for it."""
    widest: dict[tuple[str, int], tuple[Group, Trial]] = {}
    for group in groups(comparison):
        if trial := group.representative():
            widest[group.engine, group.workers] = group, trial
    return list(widest.values())

"""How long good pages waited behind hung ones, taken from hand-over times alone, the same way for every engine.

The longest stretch in which at least one hung page was under way and no good page was handed over although another one
was still to come, less that next page's own time. The for loop waits the whole timeout; whoever overlaps waits hardly
at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeAlias

Spans: TypeAlias = list[tuple[float, float]]


def longest_wait(good: Sequence[tuple[float, float]], hung: Spans) -> float:
    """Return the seconds. `good` are (handed over at, own time) in order, `hung` when each hung one was under way."""
    stretches = _merged(hung)
    silences = [(before, after - own) for (before, _), (after, own) in itertools.pairwise([(0.0, 0.0), *good])]
    return max((_shared(silence, stretches) for silence in silences), default=0.0)


def _merged(spans: Spans) -> Spans:
    """Return the union of `spans` as spans that do not meet."""
    merged: Spans = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _shared(span: tuple[float, float], spans: Spans) -> float:
    """Return how much of `span` lies in `spans`, which do not meet."""
    return sum(max(0.0, min(span[1], end) - max(span[0], start)) for start, end in spans)

"""Which URLs a journal has seen: `SeenURLs` whose texts are the journal's own rows, so that none is kept twice.

A slot holds the row's number where `SeenURLs` holds an offset. After a restart all rows come in at once: they are
known to differ, so nothing is looked up; their slots are collected by part, sorted, and cut into runs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from cormorant.frontier.seen import OFFSET_BITS, PARTS, RUN_SLOTS, TAG_BITS, SeenURLs
from cormorant.frontier.spool import Spool

if TYPE_CHECKING:
    from cormorant.frontier.job_rows import Rows

_TAG = (1 << TAG_BITS) - 1
_hash = hash


class SeenRows(SeenURLs):
    """A set of URLs over `rows`, which keep a new key as their next row, and give a key by its row."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._spool = cast(Spool, rows.keys)

    def load(self, keys: Iterable[tuple[int, str]]) -> None:
        """Fill an empty set with keys, as (row, key), that all differ."""
        loading = [array("Q") for _ in range(PARTS)]
        for row, key in keys:
            bits = _hash(key)  # split as in `seen.py`
            loading[bits % PARTS].append((bits >> OFFSET_BITS & _TAG) << OFFSET_BITS | row)
        loading.reverse()
        for number in range(PARTS):  # one at a time, so that memory never holds them twice
            slots = sorted(loading.pop())
            self._parts[number] = _runs(slots)
            self._used[number] = len(slots)


def _runs(slots: list[int]) -> list[array[int]]:
    """Cut sorted slots into 2**k runs by their tags, as few as `RUN_SLOTS` allows."""
    count = 1
    while len(slots) > RUN_SLOTS * count:
        count *= 2
    firsts = [-(-(number << TAG_BITS) // count) << OFFSET_BITS for number in range(count)]
    edges = [bisect_left(slots, first) for first in firsts] + [len(slots)]
    return [array("Q", slots[begin:end]) for begin, end in pairwise(edges)]

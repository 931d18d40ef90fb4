"""Which URLs a journal has seen: `SeenURLs` whose texts are the journal's own rows, so that none is kept twice.

A slot holds the row's number where `SeenURLs` holds an offset. The hash is the job's own (`job_labels.py`), so that
slots can be stored: packed by chapter (`job_chapters.py`), sorted, five bytes each. After a restart they all come in at
once: they are known to differ, so nothing is looked up; they are collected by part, sorted, and cut into runs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate, pairwise

from cormorant.frontier.job_labels import Labels
from cormorant.frontier.job_rows import Row, Rows
from cormorant.frontier.job_store import little_endian
from cormorant.frontier.seen import OFFSET_BITS, PARTS, RUN_SLOTS, TAG_BITS, SeenURLs, as_bytes

LOW_BITS = 16  # of a row's number, which differ within a chapter
_HEAD_BYTES = 4 * PARTS
_TAG = (1 << TAG_BITS) - 1


class SeenRows(SeenURLs):
    """A set of URLs over `rows`, which keep a new key as their next row, and give a key by its row."""

    def __init__(self, rows: Rows, labels: Labels) -> None:
        super().__init__()
        self._rows, self._labels = rows, labels

    def load(self, chapters: Iterable[tuple[int, bytes]], others: Iterable[tuple[int, int]]) -> None:
        """Fill an empty set with keys that all differ: of chapters, as (any row, `packed`), and as (row, label)."""
        loading = [array("Q") for _ in range(PARTS)]
        for row, blob in chapters:
            counts, slots = _unpacked(row, blob)
            edges = accumulate(counts, initial=0)
            for part, (begin, end) in zip(loading, pairwise(edges), strict=True):
                part.extend(slots[begin:end])
        for row, label in others:
            loading[label >> TAG_BITS].append((label & _TAG) << OFFSET_BITS | row)
        loading.reverse()
        for number in range(PARTS):  # one at a time, so that memory never holds them twice
            slots_of_part = sorted(loading.pop())
            self._parts[number] = _runs(slots_of_part)
            self._used[number] = len(slots_of_part)

    def _split(self, url: str) -> tuple[int, int, bytes]:
        text = as_bytes(url)
        label = self._labels.of(text)
        return label >> TAG_BITS, label & _TAG, text

    def _keep(self, url: str, text: bytes, part: int, tag: int) -> int:
        return self._rows.append(Row(url, part << TAG_BITS | tag))

    def _text(self, offset: int) -> bytes:
        return as_bytes(self._rows.key(offset))


def packed(labels: array[int]) -> bytes:
    """Return the keys of a chapter for the file, from `label << LOW_BITS | low bits of the row` in any order.

    First how many each part has, 32 bits each; then, sorted by part and tag, the low byte of all rows, the high byte
    of all rows, the lowest byte of all tags, and so on.
    """
    entries = array("Q", sorted(labels))
    edges = [bisect_left(entries, part << TAG_BITS + LOW_BITS) for part in range(PARTS + 1)]
    counts = array("I", [end - begin for begin, end in pairwise(edges)])
    data = little_endian(entries).tobytes()
    return little_endian(counts).tobytes() + b"".join(data[place::8] for place in range(5))


def _unpacked(row: int, blob: bytes) -> tuple[array[int], array[int]]:
    """Return how many keys each part has, and the slots of all, in order; `row` is any row of the chapter."""
    many = (len(blob) - _HEAD_BYTES) // 5
    slots = bytearray(8 * many)
    for place, byte in enumerate((0, 1, 5, 6, 7)):  # low bits of the row, tag: see `seen.py` for a slot
        begin = _HEAD_BYTES + place * many
        slots[byte::8] = blob[begin : begin + many]
    for byte, value in enumerate((row >> LOW_BITS).to_bytes(3, "little"), 2):
        slots[byte::8] = bytes((value,)) * many
    return little_endian(array("I", blob[:_HEAD_BYTES])), little_endian(array("Q", slots))


def _runs(slots: list[int]) -> list[array[int]]:
    """Cut sorted slots into 2**k runs by their tags, as few as `RUN_SLOTS` allows."""
    count = 1
    while len(slots) > RUN_SLOTS * count:
        count *= 2
    firsts = [-(-(number << TAG_BITS) // count) << OFFSET_BITS for number in range(count)]
    edges = [bisect_left(slots, first) for first in firsts] + [len(slots)]
    return [array("Q", slots[begin:end]) for begin, end in pairwise(edges)]

"""Which URLs were seen: exact, and below 16 bytes a URL in memory (8.6 in the table; a set of strings: 140).

Theory of operation. The text of each URL lies in a `Spool`, on disk. In memory each has one slot of 64 bits: a tag
of 24 bits from the URL's hash, and the 40-bit offset of its text. A hash never decides alone: when the tags are
equal the texts are compared, so two URLs are one exactly when their texts are.

Ten other bits of the hash choose one of 1,024 parts. A part is cut by the tag into runs, 1 or 2 or 4 or 8 ... of them,
each a sorted array: the tag says which run, a binary search where in it, and a new slot moves half a run (2 KB) aside.
When a part has more than `RUN_SLOTS` slots a run, each of its runs is halved. That needs the tags and not the
texts, moves memory and computes nothing, and parts do it one at a time, so that growing neither stalls the run nor
doubles the memory. Sorted arrays are full but for the reserve of Python's arrays (6 %), where an open-addressing
table would have to stay a fifth to a half empty: measured, they take two thirds of its memory, and less time.

For a billion URLs: 8.6 GB; a part has a million slots in 2,048 runs and is halved in some 10 ms; a new URL meets
its own tag in its part (2**34 places) with a probability of 6 %, which costs the one read that a seen URL costs. At ten
million: 0.06 %.

Links that stand on every page would each cost a read every time. So the last URLs that were seen again are also held as
texts, in two generations: the younger fills up, becomes the older, and what is seen again moves back to the
younger. Python's own string hash (SipHash, keyed by process) makes the tags, so nobody can aim at one.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable

from cormorant.frontier.spool import Spool

PARTS = 1024
RUN_SLOTS = 512
TAG_BITS = 24
OFFSET_BITS = 40
RECENT = 65_536
RECENT_CHARACTERS = 512  # longer URLs are not held as texts: 65,536 of them could take half a gigabyte
_OFFSET = (1 << OFFSET_BITS) - 1
_TAG = (1 << TAG_BITS) - 1

_hash: Callable[[str], int] = hash


class SeenURLs:
    """A set of URLs that only grows. `recent` is how many of the last repeated ones are held as texts.

    Raises OutputError when the temporary file cannot be written or read.
    """

    def __init__(self, recent: int = RECENT) -> None:
        self._spool = Spool()
        self._parts = [[array("Q")] for _ in range(PARTS)]
        self._used = array("Q", bytes(8 * PARTS))
        self._generation = recent // 2
        self._younger: set[str] = set()
        self._older: set[str] = set()

    def add(self, url: str) -> bool:
        """Remember `url`; returns whether it is new."""
        if self._holds(url):
            return False
        part, tag, text = self._split(url)
        runs = self._parts[part]
        run = runs[tag * len(runs) >> TAG_BITS]
        place = self._place(run, tag, text)
        if place is None:
            self._hold(url)
            return False
        run.insert(place, tag << OFFSET_BITS | self._keep(url, text, part, tag))
        self._used[part] += 1
        if self._used[part] > RUN_SLOTS * len(runs):
            self._parts[part] = _halved(runs)
        return True

    def __contains__(self, url: str) -> bool:
        if self._holds(url):
            return True
        part, tag, text = self._split(url)
        runs = self._parts[part]
        if self._place(runs[tag * len(runs) >> TAG_BITS], tag, text) is not None:
            return False
        self._hold(url)
        return True

    def __len__(self) -> int:
        return sum(self._used)

    def __repr__(self) -> str:
        return f"<SeenURLs {len(self)} recent={len(self._younger) + len(self._older)} {self._spool}>"

    @property
    def bytes_held(self) -> int:
        """Bytes in the table: the slots with their reserve, and the heads of all arrays and lists."""
        runs_and_lists = sum(sys.getsizeof(runs) + sum(map(sys.getsizeof, runs)) for runs in self._parts)
        return runs_and_lists + sys.getsizeof(self._parts) + sys.getsizeof(self._used)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of text in the temporary file."""
        return self._spool.bytes_on_disk

    def _split(self, url: str) -> tuple[int, int, bytes]:
        """Return the part a URL belongs to, its tag, and its text as bytes, which are others for every other text."""
        bits = _hash(url)
        return bits % PARTS, bits >> OFFSET_BITS & _TAG, as_bytes(url)

    def _keep(self, url: str, text: bytes, part: int, tag: int) -> int:
        """Keep a new URL, as `_split` has split it; returns the offset of its text."""
        return self._spool.append(text)

    def _text(self, offset: int) -> bytes:
        """Return the text that `_keep` gave `offset` for."""
        return self._spool.read(offset)

    def _place(self, run: array[int], tag: int, text: bytes) -> int | None:
        """Return where in its run a new URL belongs, or None when it is there already."""
        place = bisect_left(run, tag << OFFSET_BITS)
        while place < len(run) and run[place] >> OFFSET_BITS == tag:
            if self._text(run[place] & _OFFSET) == text:
                return None
            place += 1
        return place

    def _holds(self, url: str) -> bool:
        """Return whether `url` is among the last repeated ones."""
        if url in self._younger:
            return True
        if url not in self._older:
            return False
        self._hold(url)
        return True

    def _hold(self, url: str) -> None:
        """Count a URL that was seen again among the last repeated ones."""
        if len(url) > RECENT_CHARACTERS:
            return
        if len(self._younger) >= self._generation:
            self._older, self._younger = self._younger, set()
        self._younger.add(url)


def as_bytes(url: str) -> bytes:
    """Return the text of a URL as bytes, which are others for every other text."""
    return url.encode("utf-8", "surrogatepass")


def _halved(runs: list[array[int]]) -> list[array[int]]:
    """Cut each run in two where the tags of its second half begin. Tags are shared out evenly: a run has 2**k."""
    halves = []
    for number, run in enumerate(runs):
        first_tag = (2 * number + 1 << TAG_BITS) // (2 * len(runs))
        middle = bisect_left(run, first_tag << OFFSET_BITS)
        halves += [run[:middle], run[middle:]]
    return halves

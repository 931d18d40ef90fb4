"""Which URLs were seen: 64-bit fingerprints in open-addressing tables, 10 to 15 bytes an URL.

A set of strings costs over 150 bytes an URL, a set of ints over 60; the law is 16. The table is cut into parts that
grow one at a time, so that growing neither stalls the run nor doubles the memory. Python's own string hash
(SipHash, keyed by process, so nobody can aim at it) is the fingerprint: two of ten million
URLs share one with a probability of 3 in a million.
"""

from __future__ import annotations

from array import array

PARTS = 256
FIRST_SLOTS = 16
FULL = 0.8
GROWTH = 1.5
_MASK = (1 << 64) - 1


class SeenURLs:
    """A set of URLs that only grows."""

    def __init__(self) -> None:
        self._tables = [array("Q", bytes(8 * FIRST_SLOTS)) for _ in range(PARTS)]
        self._used = [0] * PARTS

    def add(self, url: str) -> bool:
        """Remember `url`; returns whether it is new."""
        fingerprint = (hash(url) & _MASK) or 1  # 0 marks an empty slot
        part = fingerprint % PARTS
        table = self._tables[part]
        slot = (fingerprint // PARTS) % len(table)
        if table[slot]:  # taken: look on
            slot = _find(table, fingerprint)
            if table[slot]:
                return False
        table[slot] = fingerprint
        self._used[part] += 1
        if self._used[part] > FULL * len(table):
            self._tables[part] = _grown(table)
        return True

    def __len__(self) -> int:
        return sum(self._used)

    @property
    def bytes_held(self) -> int:
        """Bytes in the tables."""
        return sum(8 * len(table) for table in self._tables)


def _find(table: array[int], fingerprint: int) -> int:
    """Return the slot that holds `fingerprint`, or the empty one where it belongs."""
    size = len(table)
    slot = (fingerprint // PARTS) % size
    while (held := table[slot]) and held != fingerprint:
        slot = slot + 1 if slot + 1 < size else 0
    return slot


def _grown(table: array[int]) -> array[int]:
    larger = array("Q", bytes(8 * (int(len(table) * GROWTH) + 1)))
    for fingerprint in table:
        if fingerprint:
            larger[_find(larger, fingerprint)] = fingerprint
    return larger

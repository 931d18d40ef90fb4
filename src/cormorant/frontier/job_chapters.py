"""What going on with a job has to know of its rows, in short: a chapter for each 65,536 of them, so that few are read.

Theory of operation. Going on takes two things of each row: the label of its key (`job_labels.py`), and, while it is
open, its host and rank. To read and parse ten million rows for that takes over a minute. So a chapter notes both in
memory as its rows are committed, and the commit in which the next chapter begins writes it: the labels of its keys,
five bytes each, and the rows of it that are open by then, two bytes each, by host and rank. Of a list most have ended
by then, of a crawl few. Going on reads the chapters whole, and rows only of the last one, which is not written yet.

Laws:

* A chapter says nothing that the rows do not say. One that is missing (in a journal of format 1: all) is made from
  them, and written. So is the last one, whatever is written under its number.
* It is never written again. What becomes of its rows is found elsewhere: what has ended since, in `ended`; what waits
  again after it had ended (`reopen`) too, and those rows are read one by one.
* Rows with an owner are in none: they are written late, and deleted when their owner is tried again. Their labels
  stand in the index `owned`.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

import msgspec

from cormorant.frontier.job_labels import Labels
from cormorant.frontier.job_rows import LINE, NO_HOST, NO_KEY, Place, Row, place_of, redirected, stored
from cormorant.frontier.job_seen import LOW_BITS, packed
from cormorant.frontier.job_store import Store, little_endian
from cormorant.frontier.ranked import Rank
from cormorant.frontier.seen import as_bytes

CHAPTER_BITS = LOW_BITS  # of a row's number that differ within a chapter; at most LOW_BITS
_LOW = (1 << LOW_BITS) - 1
_QUICKLY = 1  # of zlib: hosts are alike, a third is left of them

_Queue: TypeAlias = tuple[str, Rank, Sequence[int]]  # host or NO_HOST, rank, rows or their low bits, ascending
_Columns: TypeAlias = tuple[list[str], list[Rank], list[int], list[int], bytes]  # see `_packed`
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Columns).decode


class _Chapter:
    """A chapter whose rows come in one by one, in their order."""

    __slots__ = ("_ended", "_labels", "_places", "_rows", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._labels = array("Q")
        self._rows = array("H")  # to be fetched, and where they wait
        self._places: list[Place] = []
        self._ended = bytearray(1 << LOW_BITS)

    def see(self, row: int, label: int) -> None:
        """Take in that a row has a key."""
        self._labels.append(label << LOW_BITS | row & _LOW)

    def queue(self, row: int, place: Place) -> None:
        """Take in an open row."""
        self._rows.append(row & _LOW)
        self._places.append(place)

    def end(self, row: int) -> None:
        """Take in that a row has ended."""
        self._ended[row & _LOW] = 1

    def columns(self) -> tuple[int, bytes, bytes]:
        """Return its row for the file."""
        queues = defaultdict[Place, list[int]](list)
        for row, place in zip(self._rows, self._places, strict=True):
            if not self._ended[row]:
                queues[place].append(row)
        return self.number, packed(self._labels), _packed(queues)


class Chapters:
    """The chapters of a journal. Call `load` before all else."""

    def __init__(self, store: Store, labels: Labels) -> None:
        self._store, self._labels = store, labels
        self._now = _Chapter(0)

    # --- commits ---

    def put(self, new: Iterable[tuple[int, Row]], ended: Collection[int]) -> None:
        """Take in the rows of a commit, and which have ended; to be called within its transaction."""
        now = self._now
        for number in ended:
            if number >> CHAPTER_BITS == now.number:
                now.end(number)
        for number, row in new:
            if number >> CHAPTER_BITS != now.number:
                self._write(now)
                now = self._now = _Chapter(number >> CHAPTER_BITS)
            if row.owner is not None:
                continue
            if row.label is not None:
                now.see(number, row.label)
            if row.request is not None and number not in ended:
                now.queue(number, row.place)

    def _write(self, chapter: _Chapter) -> None:
        self._store.db.execute("INSERT OR REPLACE INTO chapter (id, seen, open) VALUES (?, ?, ?)", chapter.columns())

    # --- going on ---

    def load(self, ended: bytearray) -> None:
        """Read the rows of the last chapter, and of those that are missing, which are written."""
        last = self._store.last_row() >> CHAPTER_BITS
        written = {number for (number,) in self._store.rows("SELECT id FROM chapter")}
        for number in range(last):
            if number not in written:
                chapter = self._made(number, ended)
                with self._store.transaction():
                    self._write(chapter)
        self._now = self._made(last, ended)

    def _made(self, number: int, ended: bytearray) -> _Chapter:
        """Make a chapter from its rows."""
        chapter = _Chapter(number)
        for row, url, key, owner, rest in stored(self._store, number << CHAPTER_BITS, number + 1 << CHAPTER_BITS):
            text = url if key is None else key
            if owner is None and isinstance(text, str) and text not in (NO_KEY, LINE):
                chapter.see(row, self._labels.of(as_bytes(text)))
            if url is not None and not ended[row]:
                chapter.queue(row, _place(url, key, rest))
        return chapter

    def seen(self) -> Iterator[tuple[int, bytes]]:
        """Yield the keys of all chapters, as (a row of it, `job_seen.packed`)."""
        number, seen, _ = self._now.columns()
        for earlier, blob in self._store.rows("SELECT id, seen FROM chapter WHERE id < ? ORDER BY id", number):
            yield earlier << CHAPTER_BITS, blob
        yield number << CHAPTER_BITS, seen

    def seen_by_redirects(self) -> Iterator[tuple[int, int]]:
        """Yield the keys that are in no chapter, as (row, label)."""
        for row, label in redirected(self._store):
            if label is None:  # of format 1
                (key,) = next(self._store.rows("SELECT key FROM url WHERE id = ?", row))
                label = self._labels.of(as_bytes(key))
            yield row, label

    def open(self, ended: bytearray) -> Iterator[_Queue]:
        """Yield the open rows by host and rank, in the order of finding: (host or NO_HOST, rank, rows)."""
        number, _, still_open = self._now.columns()
        again = [row for row in self._store.waiting_again() if not ended[row]]
        for earlier, blob in self._store.rows("SELECT id, open FROM chapter WHERE id < ? ORDER BY id", number):
            queues: Iterable[_Queue] = _unpacked(blob)
            begin, end = (bisect_left(again, chapter << CHAPTER_BITS) for chapter in (earlier, earlier + 1))
            if begin < end:
                queues = self._with(queues, again[begin:end])
            yield from _still_open(queues, earlier << CHAPTER_BITS, ended)
        yield from _still_open(_unpacked(still_open), number << CHAPTER_BITS, ended)

    def _with(self, queues: Iterable[_Queue], rows: Iterable[int]) -> Iterator[_Queue]:
        """Yield a chapter's queues with rows that wait again, where they would be if they had never ended."""
        lows = defaultdict[Place, set[int]](set, {(host, rank): set(lows) for host, rank, lows in queues})
        for row in rows:
            for url, key, rest in self._store.rows("SELECT url, key, rest FROM url WHERE id = ?", row):
                lows[_place(url, key, rest)].add(row & _LOW)
        for (host, rank), waiting in lows.items():
            yield host, rank, sorted(waiting)


def _place(url: str | bytes, key: str | None, rest: bytes | None) -> Place:
    if key == LINE:
        return NO_HOST, (0, 0)
    assert isinstance(url, str)
    return place_of(url, rest)


def _packed(queues: Mapping[Place, list[int]]) -> bytes:
    """Return the queues of a chapter for the file: their hosts; all ranks; which has which; their lengths; the rows."""
    ranks = {rank: number for number, rank in enumerate(dict.fromkeys(rank for _, rank in queues))}
    columns: _Columns = (
        [host for host, _ in queues],
        list(ranks),
        [ranks[rank] for _, rank in queues],
        [len(rows) for rows in queues.values()],
        little_endian(array("H", chain.from_iterable(queues.values()))).tobytes(),
    )
    return zlib.compress(_encode(columns), _QUICKLY)


def _unpacked(blob: bytes) -> Iterator[_Queue]:
    """Yield the queues of a chapter, with the low bits of their rows."""
    hosts, ranks, which, lengths, data = _decode(zlib.decompress(blob))
    lows, begin = little_endian(array("H", data)), 0
    for host, rank, length in zip(hosts, which, lengths, strict=True):
        yield host, ranks[rank], lows[begin : begin + length]
        begin += length


def _still_open(queues: Iterable[_Queue], row: int, ended: bytearray) -> Iterator[_Queue]:
    """Yield the queues without what has ended since; `row` is any row of the chapter."""
    high = row >> LOW_BITS << LOW_BITS
    here = ended[high : high + _LOW + 1]
    for host, rank, lows in queues:
        rows = [high | low for low in lows if not here[low]]
        if rows:
            yield host, rank, rows

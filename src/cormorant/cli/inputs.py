"""Lists of URLs or items, read lazily by a thread of its own, so that a slow stdin never stalls the run.

    file ─▶ chunks ─▶ lines ─▶ batches ─▶ [at most `BATCHES` waiting] ─▶ `Lines.__next__`, in the caller's thread

Laws: memory does not grow with the list; `next` never waits (None: nothing is here yet); a line that cannot be
decoded keeps its bytes as lone surrogates and becomes its own outcome; a file that breaks off loses nothing that
was read before. Only `_thread` and the C queue are used, taken at import: gevent's patching must not turn the
reader into a greenlet, which would stop the whole process in `read`.
"""

from __future__ import annotations

import os
from _queue import Empty, SimpleQueue
from _thread import start_new_thread
from collections.abc import Iterator, Sequence
from operator import length_hint
from stat import S_ISREG
from typing import Any, NamedTuple, TypeAlias

from cormorant.cli.sources import STDIN, check, opened
from cormorant.cli.splitter import SKIP, Read, Splitter
from cormorant.errors import UsageError

BATCHES = 16
CHUNK_BYTES = 64 * 1024
# How long the very first `next` may wait for a file on disk, so that a run does not begin with "nothing yet".
SECONDS_TO_FIRST_BATCH = 0.05
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Line: TypeAlias = tuple[Any, int | None]
"""A value and the number of its line in its file (None: it was given on the command line)."""


class _Batch(NamedTuple):
    lines: list[Line]
    fraction: float | None = None
    error: str | None = None


class Lines(Iterator[Line | None]):
    """The lines of several files in order. `next` gives a Line, or None when the reader is still waiting."""

    def __init__(self, sources: Sequence[str], read: Read, longest: int, *, first: Sequence[Any] = ()) -> None:
        """Check that every source can be read (UsageError otherwise) and start reading.

        `read` turns a line of at most `longest` bytes into a value, or SKIP; `first` are values that come before.
        """
        for source in sources:
            check(source)
        if list(sources).count(STDIN) > 1:
            raise UsageError("stdin ('-') can be read only once")
        self.errors: list[str] = []
        self._handed = 0
        self._fraction: float | None = None
        self._ended = not sources
        self._waiting: Iterator[Line] = iter([(value, None) for value in first])
        self._patience = 0.0 if STDIN in sources else SECONDS_TO_FIRST_BATCH
        self._filled: SimpleQueue[_Batch | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(BATCHES):
            self._room.put(None)
        if sources:
            start_new_thread(_Reader(sources, read, longest, self._filled, self._room).run, ())

    def __next__(self) -> Line | None:
        """Return the next line; None when none is here yet."""
        while True:
            for line in self._waiting:
                self._handed += 1
                return line
            if self._ended:
                raise StopIteration
            if not self._next_batch():
                return None

    @property
    def has_ended(self) -> bool:
        """Whether every line there is was handed over."""
        return self._ended and not length_hint(self._waiting)

    def expected(self) -> float | None:
        """Return how many lines there will be: exact at the end, else judged by the bytes read; None: unknown."""
        seen = self._handed + length_hint(self._waiting)
        if self._ended:
            return float(seen)
        return seen / self._fraction if self._fraction else None

    def values(self, nothing_yet: object) -> Iterator[Any]:
        """Yield the values alone, and `nothing_yet` where `next` gives None (a JSON item may be None itself)."""
        for line in self:
            yield nothing_yet if line is None else line[0]

    def _next_batch(self) -> bool:
        patience, self._patience = self._patience, 0.0
        try:
            batch = self._filled.get(timeout=patience) if patience else self._filled.get_nowait()
        except Empty:
            return False
        if batch is None:
            self._ended = True
            return True
        self._room.put(None)
        self._waiting = iter(batch.lines)
        self._fraction = batch.fraction
        if batch.error is not None:
            self.errors.append(batch.error)
        return True


class _Reader:
    """The thread's side of `Lines`. Never raises: what goes wrong travels in a batch."""

    def __init__(
        self,
        sources: Sequence[str],
        read: Read,
        longest: int,
        filled: SimpleQueue[_Batch | None],
        room: SimpleQueue[None],
    ) -> None:
        self._sources = sources
        self._read = read
        self._longest = longest
        self._filled = filled
        self._room = room
        self._sizes = [_size(source) for source in sources]

    def run(self) -> None:
        """Read all sources; one that breaks off does not hold up the next."""
        for position, source in enumerate(self._sources):
            try:
                self._read_source(position, source)
            # A broken disk, a cut .gz, a line that is no JSON: the user's file, whatever its decoder raises.
            except Exception as error:
                self._hand(_Batch([], error=f"{_name(source)}: {error or type(error).__name__}"))
        self._filled.put(None)

    def _read_source(self, position: int, source: str) -> None:
        splitter, number = Splitter(self._longest), 0
        with opened(source) as (stream, where):
            while chunk := stream.read1(CHUNK_BYTES):
                number = self._take(splitter.feed(chunk), number, self._progress(position, where()))
        self._take(splitter.end(), number, self._progress(position, self._sizes[position]))

    def _take(self, raw_lines: list[bytes], number: int, fraction: float | None) -> int:
        """Read lines that follow line `number` and hand them over; returns the number of the last one."""
        lines: list[Line] = []
        try:
            for raw in raw_lines:
                number += 1
                value = self._read(raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw)
                if value is not SKIP:
                    lines.append((value, number))
        except ValueError as error:
            raise UsageError(f"line {number}: {error}") from None
        finally:
            if lines:
                self._hand(_Batch(lines, fraction))
        return number

    def _hand(self, batch: _Batch) -> None:
        self._room.get()
        self._filled.put(batch)

    def _progress(self, position: int, offset: int | None) -> float | None:
        sizes = [size for size in self._sizes if size is not None]
        if offset is None or len(sizes) < len(self._sizes) or not sum(sizes):
            return None
        return min(1.0, (sum(sizes[:position]) + offset) / sum(sizes))


def _size(source: str) -> int | None:
    try:
        status = os.fstat(0) if source == STDIN else os.stat(source)
    except OSError:
        return None
    return status.st_size if S_ISREG(status.st_mode) else None


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source

"""Lists of URLs or items, read lazily by a thread of its own, so that a slow stdin never stalls the run.

    file ─▶ chunks ─▶ lines ─▶ batches ─▶ [at most `BATCHES` waiting] ─▶ `Lines.__next__`, in the caller's thread

Laws: memory does not grow with the list; `next` never waits (None: nothing is here yet); a line that cannot be
decoded keeps its bytes as lone surrogates and becomes its own outcome; a file that breaks off loses nothing that
was read before; `position` follows what `next` gave, however far the thread has read ahead. Only `_thread` and the C
queue are used, taken at import: gevent's patching must not turn the reader into a greenlet, which would stop the
whole process in `read`.
"""

from __future__ import annotations

from _queue import Empty, SimpleQueue
from _thread import start_new_thread
from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Any, NamedTuple, TypeAlias

import msgspec

from cormorant.cli.sources import STDIN, check, is_compressed, opened, size
from cormorant.cli.splitter import SKIP, Read, Splitter
from cormorant.errors import UsageError
from cormorant.frontier.job_lists import Position

BATCHES = 16
CHUNK_BYTES = 64 * 1024
# How long the very first `next` may wait for a file on disk, so that a run does not begin with "nothing yet".
SECONDS_TO_FIRST_BATCH = 0.05
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BEGINNING = Position()

Line: TypeAlias = tuple[Any, int | None]
"""A value and the number of its line in its file (None: it was given on the command line)."""


class _Batch(NamedTuple):
    """Lines of one source, and the position before the first of them."""

    lines: list[Line]
    begins: Position = BEGINNING
    fraction: float | None = None
    error: str | None = None


class Lines(Iterator[Line | None]):
    """The lines of several files in order. `next` gives a Line, or None when the reader is still waiting."""

    def __init__(
        self,
        sources: Sequence[str],
        read: Read,
        longest: int,
        *,
        first: Sequence[Any] = (),
        start: Position = BEGINNING,
        ends_where_broken: bool = False,
    ) -> None:
        """Check that every source still to be read can be (UsageError otherwise) and start reading.

        `read` turns a line of at most `longest` bytes into a value, or SKIP; `first` are values that come before.
        `start` is the `position` of an earlier run over the same values and sources, which this one goes on from.
        A source that breaks off does not hold up the next, unless it `ends_where_broken`: then a later run goes on.
        """
        for source in sources[start.source :]:
            check(source)
        if list(sources).count(STDIN) > 1:
            raise UsageError("stdin ('-') can be read only once")
        self.errors: list[str] = []
        self._start, self._ends_where_broken = start, ends_where_broken
        self._given = len(first)
        self._handed = start.handed
        self._fraction: float | None = None
        self._ended = start.source >= len(sources)
        self._batch = _Batch([(value, None) for value in first[start.given :]], start)
        self._waiting: Iterator[Line] = iter(self._batch.lines)
        self._patience = 0.0 if STDIN in sources else SECONDS_TO_FIRST_BATCH
        self._filled: SimpleQueue[_Batch | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(BATCHES):
            self._room.put(None)
        if not self._ended:
            reader = _Reader(sources, read, longest, self._filled, self._room)
            start_new_thread(reader.run, (start, ends_where_broken))

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

    @property
    def position(self) -> Position:
        """Exactly behind the line that was handed over last. At the end only lines that are skipped lie behind it.

        So what the last list has grown by, when a later run begins, is read.
        """
        lines, begins = self._batch.lines, self._batch.begins
        taken = len(lines) - length_hint(self._waiting)
        number = lines[taken - 1][1] if taken else None
        return msgspec.structs.replace(
            begins,
            line=begins.line if number is None else number,
            given=min(self._given, self._start.given + self._handed - self._start.handed),
            handed=self._handed,
            is_broken=self._ends_where_broken and bool(self.errors),
        )

    def expected(self) -> float | None:
        """Return how many lines there will be, with those handed over before `start`.

        Exact at the end, else judged by the bytes read; None: unknown.
        """
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
        self._fraction = batch.fraction
        if batch.error is None:
            self._batch, self._waiting = batch, iter(batch.lines)
        else:
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
        self._sizes = [size(source) for source in sources]

    def run(self, begins: Position, ends_where_broken: bool) -> None:
        """Read what comes after `begins`, all or up to where a source breaks off."""
        for number in range(begins.source, len(self._sources)):
            try:
                self._read_source(begins if number == begins.source else Position(source=number))
            # A broken disk, a cut .gz, a line that is no JSON: the user's file, whatever its decoder raises.
            except Exception as error:
                name = _name(self._sources[number])
                self._hand(_Batch([], error=f"{name}: {error or type(error).__name__}"))
                if ends_where_broken:
                    break
        self._filled.put(None)

    def _read_source(self, begins: Position) -> None:
        number = begins.source
        splitter = Splitter(self._longest, begins.offset)
        with opened(self._sources[number], begins.offset) as (stream, where):
            while chunk := stream.read1(CHUNK_BYTES):
                raw_lines = splitter.feed(chunk)
                self._take(raw_lines, begins, self._progress(number, where()))
                begins = _behind(begins, len(raw_lines), splitter.offset)
        self._take(splitter.end(), begins, self._progress(number, self._sizes[number]))

    def _take(self, raw_lines: list[bytes], begins: Position, fraction: float | None) -> None:
        """Read the lines from `begins.offset` on and hand them over, without those up to `begins.line`."""
        lines: list[Line] = []
        left_out = begins.line - begins.offset_line
        try:
            for number, raw in enumerate(raw_lines[left_out:], begins.line + 1):
                value = self._read(raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw)
                if value is not SKIP:
                    lines.append((value, number))
        except ValueError as error:
            raise UsageError(f"line {number}: {error}") from None
        finally:
            if lines:
                self._hand(_Batch(lines, self._entered(begins), fraction))

    def _entered(self, begins: Position) -> Position:
        """Return `begins` as a later run can go there: in what is compressed, from the beginning."""
        if is_compressed(self._sources[begins.source]):
            return msgspec.structs.replace(begins, offset=0, offset_line=0)
        return begins

    def _hand(self, batch: _Batch) -> None:
        self._room.get()
        self._filled.put(batch)

    def _progress(self, number: int, offset: int | None) -> float | None:
        sizes = [size for size in self._sizes if size is not None]
        if offset is None or len(sizes) < len(self._sizes) or not sum(sizes):
            return None
        return min(1.0, (sum(sizes[:number]) + offset) / sum(sizes))


def _behind(begins: Position, count: int, offset: int) -> Position:
    """Return where the line begins that follows the next `count`, at `offset`."""
    number = begins.offset_line + count
    return Position(source=begins.source, line=max(begins.line, number), offset=offset, offset_line=number)


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source

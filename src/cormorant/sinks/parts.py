"""An output of one file, or of several of a size: grows by whole pieces, and is cut back to what was committed.

Pieces are kept until there are `BUFFER_BYTES` of them, or until `FLUSH_SECONDS` have passed when the next one comes;
what goes to the file together is a block, compressed as one where the output is compressed by blocks. What is
compressed is so in a thread, and written there: two blocks may be under way, then the writer waits. A part that has
grown to `rotate_bytes` is sealed between two blocks. Files and names are those of `naming.py`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from cormorant.errors import OutputError
from cormorant.interfaces import Committed, Part
from cormorant.sinks import files
from cormorant.sinks.behind import Behind
from cormorant.sinks.lines import BUFFER_BYTES, FLUSH_SECONDS
from cormorant.sinks.naming import Naming, cut_back_sealed
from cormorant.sinks.packing import Pack

MOST_UNSYNCED = 8  # sealed parts that nobody has had synced: what is older is on disk long since

Head = Callable[[str], bytes]  # the name of a part, to what it begins with
Piece = bytes | Callable[[str, int], bytes]  # or what makes it, of the part's name and its own place there


class Parts:
    """Appends to the last part of `target`. `pack` compresses blocks, `head` returns what every part begins with.

    `aside`: pieces are made in the thread that `pack` has.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        rotate_bytes: int | None = None,
        resume: Committed | None = None,
        pack: Pack | None = None,
        head: Head | None = None,
        aside: bool = False,
    ) -> None:
        self._naming = Naming(target)
        self._pack, self._head = pack, head
        self._rotate_bytes = rotate_bytes
        self._waiting: list[Piece] = []
        self._size = 0
        self._flushed_at = time.monotonic()
        self._sealed: list[Part] = []
        self._unsynced: list[files.OutputFile] = []
        self._is_folder_synced = False
        self._closed = False
        self._trouble: OutputError | None = None
        self._behind = Behind("cormorant-sink") if aside or pack is not None else None
        self._number = 0
        self._file = self._begin(overwrite) if resume is None else self._go_on(resume)

    def __repr__(self) -> str:
        return f"<Parts {self.name} {'closed' if self._closed else f'{self._size} bytes to flush'}>"

    @property
    def name(self) -> str:
        """The path of the part that is written to."""
        return str(self._file.path)

    def append(self, piece: Piece, size: int | None = None) -> None:
        """Take one whole piece. `size` (bytes) is about that of a piece that is still to be made."""
        self._check()
        self._waiting.append(piece)
        self._size += len(piece) if isinstance(piece, bytes) else size or 0
        if self._size >= BUFFER_BYTES or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand every piece to the operating system; what is to be compressed, to the thread that is about to do it.

        Raises OutputError, also for what was handed over before. What reaches the file are whole pieces.
        """
        if self._closed:
            return
        self._check()
        waiting, self._waiting, self._size = self._waiting, [], 0
        self._flushed_at = time.monotonic()
        if not waiting:
            return
        with self._told():
            if self._behind is not None:
                self._behind.do(self._write, waiting)
            else:
                self._write(waiting)

    def sync(self) -> Committed:
        """Flush, and put all parts on stable storage; returns what they hold. Raises OutputError, then for ever."""
        self._check()
        self._finish()
        with self._told():
            while self._unsynced:
                self._let_go()
            self._file.sync()
            if not self._is_folder_synced:
                files.sync_path(self._naming.folder)
                self._is_folder_synced = True
        return Committed((*self._sealed, Part(self._file.path.name, self._file.length, False, self._file.tail)))

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        if self._closed:
            return
        try:
            if self._trouble is None:
                self._finish()
                if self._pack is not None and not self._file.length:
                    self._file.append([self._pack(b"")])  # tools take a file of no bytes for a broken one
        finally:
            self._closed = True
            if self._behind is not None:
                self._behind.close()
            for file in (*self._unsynced, self._file):
                file.close()

    def _finish(self) -> None:
        """Have everything written, and wait until it is."""
        self.flush()
        if self._behind is not None:
            with self._told():
                self._behind.wait()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Remember trouble: nothing is written after it."""
        try:
            yield
        except OutputError as error:
            self._trouble = error
            raise

    def _write(self, waiting: list[Piece]) -> None:
        """Make what is still to be made, compress what is to be compressed, and write the block."""
        pieces: list[bytes] = []
        place = self._file.length
        for piece in waiting:
            pieces.append(piece if isinstance(piece, bytes) else piece(self._file.path.name, place))
            place += len(pieces[-1])
        self._file.append([self._pack(b"".join(pieces))] if self._pack else pieces)
        if self._rotate_bytes is not None and self._file.length >= self._rotate_bytes:
            self._rotate()

    def _check(self) -> None:
        if self._closed:
            raise OutputError(f"{self.name} is closed; nothing more can be written")
        if self._trouble is not None:
            raise OutputError(str(self._trouble)) from self._trouble

    def _begin(self, overwrite: bool) -> files.OutputFile:
        self._naming.make_room(overwrite)
        return self._open(0, overwrite)

    def _go_on(self, resume: Committed) -> files.OutputFile:
        """Cut everything back to what was committed, and open the part that is written to."""
        self._naming.keep_only(resume)
        self._sealed = cut_back_sealed(self._naming.folder, resume.parts)
        for part in resume.parts:
            if not part.is_sealed:
                self._number = self._naming.number(part.name)
                file = files.cut_back(part, self._naming.folder)
                self._begin_part(file)
                return file
        return self._open(self._naming.next_number(resume))

    def _open(self, number: int, overwrite: bool = False) -> files.OutputFile:
        self._number = number
        self._is_folder_synced = False
        file = files.create(self._naming.path(number), overwrite)
        self._begin_part(file)
        return file

    def _begin_part(self, file: files.OutputFile) -> None:
        """Write what a new part begins with, as a block of its own."""
        if self._head is not None and not file.length:
            head = self._head(file.path.name)
            file.append([self._pack(head) if self._pack else head])

    def _rotate(self) -> None:
        self._unsynced.append(self._file)  # open still: a closed file may forget what could not be written
        if len(self._unsynced) > MOST_UNSYNCED:
            self._let_go()
        self._sealed.append(Part(self._file.path.name, self._file.length, True, self._file.tail))
        self._file = self._open(self._number + 1)

    def _let_go(self) -> None:
        """Sync and close the oldest sealed part."""
        self._unsynced[0].sync()
        self._unsynced.pop(0).close()

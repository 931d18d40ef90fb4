"""What need not be in memory, in an unnamed temporary file: records are appended, and read back by their offset.

The file is private (mode 0600), has no name and is gone with its owner. It is made when the first block is
full, so a small run never touches the disk. A block waits in memory until it is whole. Reads and writes name their
place (`os.pread`, `os.pwrite`), so the position that a forked child shares with its parent is never used.
"""

from __future__ import annotations

import os
import weakref
from io import FileIO
from typing import NoReturn

import msgspec

from cormorant.errors import OutputError, UsageError
from cormorant.messages import Request

BLOCK_BYTES = 256 * 1024
MOST_BYTES = (1 << 40) - BLOCK_BYTES  # so that every offset fits 40 bits
READ_BYTES = 512  # what one read asks for: most records whole
LENGTH_BYTES = 4  # before each record, little-endian
encode = msgspec.msgpack.Encoder().encode  # a request as a record
decode = msgspec.msgpack.Decoder(Request).decode
FOR_LARGE_FILES = "/var/tmp"  # /tmp is often kept in memory: https://systemd.io/TEMPORARY_DIRECTORIES/


class Spool:
    """Appends records to a temporary file in $TMPDIR (not set: /var/tmp). For one process and one thread.

    Raises OutputError, naming the folder, when the file cannot be made, written or read.
    """

    def __init__(self) -> None:
        self._file: FileIO | None = None
        self._owner = 0
        self._flushed = 0
        self._tail = bytearray()

    def append(self, record: bytes) -> int:
        """Keep `record`, of less than 4 GiB; returns the offset to read it by, below 2**40."""
        tail = self._tail
        offset = self._flushed + len(tail)
        tail += len(record).to_bytes(LENGTH_BYTES, "little")
        tail += record
        if len(tail) >= BLOCK_BYTES:
            self._flush()
        return offset

    def read(self, offset: int) -> bytes:
        """Return the record that `append` gave `offset` for."""
        start = offset - self._flushed
        if start >= 0:
            begin = start + LENGTH_BYTES
            return bytes(self._tail[begin : begin + int.from_bytes(self._tail[start:begin], "little")])
        data = self._pread(READ_BYTES, offset)
        end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
        while len(data) < end:
            more = self._pread(end - len(data), offset + len(data))
            if not more:
                raise OutputError(f"the temporary file in {folder()} was cut short by somebody else; run again")
            data += more
        return data[LENGTH_BYTES:end]

    @property
    def bytes_on_disk(self) -> int:
        """The size of the file."""
        return self._flushed

    def __repr__(self) -> str:
        return f"<Spool on_disk={self._flushed} in_memory={len(self._tail)}>"

    def _pread(self, size: int, offset: int) -> bytes:
        assert self._file is not None
        try:
            return os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            _fail("read", error)

    def _flush(self) -> None:
        """Write the tail. When that fails it stays in memory, and the next `append` tries again."""
        try:
            if self._file is None:
                self._make()
            self._write_tail()
        except OSError as error:
            _fail("write", error)
        self._flushed += len(self._tail)
        self._tail.clear()
        if self._flushed >= MOST_BYTES:
            raise OutputError(f"the temporary file in {folder()} has 1 TiB, the most there may be; fetch a part of it")

    def _make(self) -> None:
        import tempfile  # with all it imports, only where a run is large

        self._file = tempfile.TemporaryFile(buffering=0, dir=folder())  # noqa: SIM115 - open as long as the spool is
        self._owner = os.getpid()
        weakref.finalize(self, self._file.close)

    def _write_tail(self) -> None:
        assert self._file is not None
        if os.getpid() != self._owner:
            raise UsageError("a forked child cannot write its parent's temporary file; start workers by forkserver")
        descriptor, written = self._file.fileno(), 0
        with memoryview(self._tail) as view:
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], self._flushed + written)


def folder() -> str:
    """Return the folder for large files: $TMPDIR, $TEMP or $TMP as it is, else /var/tmp, else what Python finds.

    Raises OSError when there is none.
    """
    for name in ("TMPDIR", "TEMP", "TMP"):
        if named := os.environ.get(name):
            return named
    if os.access(FOR_LARGE_FILES, os.W_OK | os.X_OK):
        return FOR_LARGE_FILES
    import tempfile

    return tempfile.gettempdir()


def _fail(what: str, error: OSError) -> NoReturn:
    try:
        place = folder()
    except OSError:  # that is what `error` says
        place = "any folder"
    raise OutputError(
        f"cannot {what} the temporary file in {place}: {error.strerror or error}; "
        "make room there, or set TMPDIR to a folder on a larger disk"
    ) from error

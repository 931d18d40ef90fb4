"""A file that grows by whole lines: after `flush` or `close` it ends with one, even on a full disk. For sinks."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO

from cormorant.errors import OutputError, UsageError

BUFFER_BYTES = 256 * 1024
FLUSH_SECONDS = 0.5


class LineFile:
    """Appends lines to a new file, or to a stream that somebody else owns and closes.

    Lines are kept until there are `BUFFER_BYTES` of them, or until `FLUSH_SECONDS` have passed when the next one
    comes. BrokenPipeError passes unchanged: whoever reads has had enough. Every other OSError becomes an
    OutputError that names the file.
    """

    def __init__(self, target: str | os.PathLike[str] | BinaryIO, overwrite: bool = False) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._flushed_at = time.monotonic()
        self._closed = False
        if isinstance(target, str | os.PathLike):
            self.name = os.fspath(target)
            self._own, self._file = True, _open(Path(target), overwrite)
        else:
            name = getattr(target, "name", None)
            self.name = name if isinstance(name, str) else "stdout" if isinstance(name, int) else "the output stream"
            self._own, self._file = False, target

    def __repr__(self) -> str:
        return f"<LineFile {self.name} {'closed' if self._closed else f'{self._size} bytes to flush'}>"

    def append(self, line: bytes) -> None:
        """Take one whole line, line feed included."""
        if self._closed:
            raise OutputError(f"{self.name} is closed; nothing more can be written")
        self._lines.append(line)
        self._size += len(line)
        if self._size >= BUFFER_BYTES or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand every line to the operating system. Raises OutputError; what was handed over are whole lines."""
        if self._closed:
            return
        waiting, self._lines, self._size = b"".join(self._lines), [], 0
        self._flushed_at = time.monotonic()
        try:
            self._write_whole_lines(waiting)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write {self.name}: {error.strerror or error}") from error

    def close(self) -> None:
        """Flush, and close the file if it is ours. Safe to call twice."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            if self._own:
                self._close_file()

    def _close_file(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # a network file system may tell us only now
            raise OutputError(f"cannot write {self.name}: {error.strerror or error}") from error

    def _write_whole_lines(self, waiting: bytes) -> None:
        """Write all of `waiting`; when that fails half way, take back the line that was cut."""
        written = 0
        view = memoryview(waiting)
        try:
            while written < len(waiting):
                count = self._file.write(view[written:])  # less than all, where the file or `python -u` is unbuffered
                if count is None:
                    raise BlockingIOError(errno.EAGAIN, "it does not wait for its reader (O_NONBLOCK)")
                written += count
        except OSError:
            self._cut_back(written - (waiting.rfind(b"\n", 0, written) + 1))
            raise

    def _cut_back(self, surplus: int) -> None:
        with contextlib.suppress(OSError):  # a pipe or a device has no length to mend
            if self._own and surplus and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                self._file.truncate(self._file.seek(-surplus, os.SEEK_END))


def _open(path: Path, overwrite: bool) -> BinaryIO:
    """Open a new file for writing, unbuffered. Devices and pipes are opened as they are."""
    try:
        special = path.exists() and not path.is_file() and not path.is_dir()
        return path.open("wb" if overwrite or special else "xb", buffering=0)
    except FileExistsError:
        raise UsageError(f"{path} exists; pass --overwrite (overwrite=True) to replace it, or name another") from None
    except FileNotFoundError:
        raise OutputError(f"cannot write {path}: its folder is missing; make it: mkdir -p {path.parent}") from None
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error

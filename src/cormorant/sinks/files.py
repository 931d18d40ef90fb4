"""One file of an output that grows by whole pieces, even on a full disk. For the sinks that can be resumed.

Laws: after an error the file ends where a piece ends; `length` counts only bytes that the operating system took; every
error is an OutputError that names the file and the reason. As long as it is open no other run may write to it: it is
locked (flock), and who comes later is refused before a byte is touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from cormorant.errors import OutputError, UsageError
from cormorant.forks import held_alone
from cormorant.interfaces import Part

TAIL_BYTES = 4096


class OutputFile:
    """Appends pieces to a file that was just made, or to one cut back to `length` bytes."""

    def __init__(self, file: io.FileIO, path: Path, length: int = 0) -> None:
        self._file = file
        self.path = path
        self.length = length

    def __repr__(self) -> str:
        return f"<OutputFile {self.path} of {self.length:,} bytes{', closed' if self._file.closed else ''}>"

    @property
    def tail(self) -> str:
        """A digest of its last bytes. Raises OutputError."""
        try:
            return _tail(self._file.fileno(), self.length)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write all pieces; when that fails half way, take back the piece that was cut, and raise OutputError."""
        view = memoryview(b"".join(pieces))
        written = 0
        try:
            while written < len(view):
                written += self._file.write(view[written:])
        except OSError as error:
            ends = itertools.accumulate(map(len, pieces))
            self._cut_back(self.length + max((end for end in ends if end <= written), default=0))
            raise cannot_write(self.path, error) from error
        self.length += written

    def sync(self) -> None:
        """Put everything on stable storage. Raises OutputError; then no byte of the file may be trusted."""
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        try:
            self._file.close()
        except OSError as error:  # a network file system may tell us only now
            raise cannot_write(self.path, error) from error

    def _cut_back(self, length: int) -> None:
        self.length = length
        with contextlib.suppress(OSError):
            self._file.truncate(length)
            self._file.seek(length)


def create(path: Path, overwrite: bool = False) -> OutputFile:
    """Make a file. Raises UsageError when there is one and `overwrite` is not set, OutputError when it cannot."""
    try:
        file = _locked(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if overwrite else os.O_EXCL), 0o666), path
        )
        file.truncate(0)
        return OutputFile(file, path)
    except FileExistsError:
        raise exists(path) from None
    except FileNotFoundError:
        raise OutputError(f"cannot write {path}: its folder is missing; make it: mkdir -p {path.parent}") from None
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def cut_back(part: Part, folder: Path) -> OutputFile:
    """Open a file of an earlier run at its committed length.

    Raises OutputError when it does not hold that much, or other bytes; UsageError when somebody else writes to it.
    """
    path, length = folder / part.name, part.length
    try:
        file = _locked(os.open(path, os.O_RDWR | os.O_CLOEXEC), path)
        found = file.seek(0, os.SEEK_END)
        is_ours = found >= length and part.tail in ("", _tail(file.fileno(), length))
        if is_ours:
            file.truncate(file.seek(length))
            return OutputFile(file, path, length)
        file.close()
    except FileNotFoundError:
        raise changed(path, f"{length:,} bytes", "is not there") from None
    except OSError as error:
        raise cannot_write(path, error) from error
    raise changed(path, f"{length:,} bytes", f"holds {found:,}" if found < length else "holds others")


def refuse_while_written(path: Path) -> None:
    """Raise UsageError where another run writes to a file of ours, OutputError where it cannot be opened."""
    try:
        _locked(os.open(path, os.O_RDWR | os.O_CLOEXEC), path).close()
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(path, error) from error


def _locked(descriptor: int, path: Path) -> io.FileIO:
    """Return the file that is open there, if no other run writes to it. Raises UsageError if one does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"{path} is being written by another run; wait for its end, or name another output") from None
    except OSError:
        pass  # a file system without locks
    return held_alone(descriptor)


def _tail(descriptor: int, length: int) -> str:
    """Return a digest of the last bytes before `length`."""
    begin = max(0, length - TAIL_BYTES)
    return hashlib.blake2b(os.pread(descriptor, length - begin, begin), digest_size=8).hexdigest()


def sync_path(path: Path) -> None:
    """Put a file or a folder's list of names on stable storage. Raises OutputError."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove(path: Path) -> None:
    """Remove a file of ours, if it is there. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: object, error: Exception) -> OutputError:
    """Return the error that names the file and the reason."""
    fix = "; make room" if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) else ""
    return OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}{fix}")


def exists(path: object) -> UsageError:
    """Return the error for an output that is there already."""
    return UsageError(f"{path} exists; pass --overwrite (overwrite=True) to replace it, or name another")


def changed(path: object, committed: str, found: str) -> OutputError:
    """Return the error for an output that holds less than was committed."""
    return OutputError(
        f"cannot go on with {path}: {committed} of it were committed and it {found}, so it was changed by "
        "somebody else; put it back, or begin a new job with a new output"
    )

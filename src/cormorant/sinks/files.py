"""One file of an output that grows by whole pieces, even on a full disk. For the sinks that can be resumed.

Laws: after an error the file ends where a piece ends; `length` counts only bytes that the operating system took; every
error is an OutputError that names the file and the reason.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from cormorant.errors import OutputError, UsageError


class OutputFile:
    """Appends pieces to a file that was just made, or to one cut back to `length` bytes."""

    def __init__(self, file: io.FileIO, path: Path, length: int = 0) -> None:
        self._file = file
        self.path = path
        self.length = length

    def __repr__(self) -> str:
        return f"<OutputFile {self.path} of {self.length:,} bytes{', closed' if self._file.closed else ''}>"

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
        return OutputFile(io.FileIO(path, "wb" if overwrite else "xb"), path)
    except FileExistsError:
        raise exists(path) from None
    except FileNotFoundError:
        raise OutputError(f"cannot write {path}: its folder is missing; make it: mkdir -p {path.parent}") from None
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def cut_back(path: Path, length: int) -> OutputFile:
    """Open a file of an earlier run at its committed length. Raises OutputError when it does not hold that much."""
    try:
        file = io.FileIO(path, "r+b")
        found = file.seek(0, os.SEEK_END)
        if found >= length:
            file.truncate(file.seek(length))
            return OutputFile(file, path, length)
        file.close()
    except FileNotFoundError:
        found = 0
    except OSError as error:
        raise cannot_write(path, error) from error
    raise changed(path, f"{length:,} bytes", f"{found:,}")


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
    return OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")


def exists(path: object) -> UsageError:
    """Return the error for an output that is there already."""
    return UsageError(f"{path} exists; pass --overwrite (overwrite=True) to replace it, or name another")


def changed(path: object, committed: str, found: str) -> OutputError:
    """Return the error for an output that holds less than was committed."""
    return OutputError(
        f"cannot go on with {path}: {committed} of it were committed and it holds {found}, so it was changed by "
        "somebody else; put it back, or begin a new job with a new output"
    )

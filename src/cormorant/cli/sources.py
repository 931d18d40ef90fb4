"""Where lists come from: a file, an object of a store by its URL, or stdin when told `-`.

What ends in .gz or .zst is decoded as it is read.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import importlib.util
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from cormorant import stores
from cormorant.errors import MissingPackage, UsageError

STDIN = "-"


class Stream(Protocol):
    """What a list is read from."""

    def read1(self, size: int, /) -> bytes:
        """Return what is there, at most `size` bytes, waiting only when nothing is; empty at the end."""
        ...


def matching(source: str) -> list[str]:
    """Return the sources that a pattern (`*`, `?`, `[`) stands for, in order; itself where it is none, or names a file.

    Raises UsageError and MissingPackage for a store that cannot be asked, or has no such object.
    """
    if stores.is_url(source):
        return stores.matching(source)
    return [source] if os.path.exists(source) else sorted(glob.glob(source)) or [source]


def check(source: str) -> None:
    """Raise UsageError when `source` cannot be read, MissingPackage when its decoder is not installed.

    Nothing is opened: a named pipe (`<(…)` in the shell) can be opened only once.
    """
    if source.endswith(".zst") and sys.version_info < (3, 14) and importlib.util.find_spec("backports.zstd") is None:
        raise MissingPackage(f"{source!r} needs a zstd decoder: pip install backports.zstd")
    if stores.is_url(source):
        stores.check(source)
        return
    if stores.is_page(source):
        raise UsageError(f"{source} is a page; pipe the list that stands there: curl -s {source} | cormorant ... -i -")
    if source == STDIN:
        if sys.stdin is None:
            raise UsageError("cannot read the list from stdin: it is closed")
        return
    try:
        os.stat(source)
    except (OSError, ValueError) as error:
        what = "no file here matches it" if glob.has_magic(source) else getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the list {source!r}: {what}") from None
    if os.path.isdir(source):
        raise UsageError(f"cannot read the list {source!r}: it is a folder")
    if not os.access(source, os.R_OK):
        raise UsageError(f"cannot read the list {source!r}: no permission")


def size(source: str) -> int | None:
    """Return how many bytes a list has, None where that is not known before it is read."""
    if stores.is_url(source):
        return stores.size(source)
    try:
        status = os.fstat(0) if source == STDIN else os.stat(source)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def is_compressed(source: str) -> bool:
    """Whether `source` is decoded as it is read, so that it can be entered only at its beginning."""
    return source.endswith((".gz", ".zst"))


@contextlib.contextmanager
def opened(source: str, offset: int = 0) -> Iterator[tuple[Stream, Callable[[], int]]]:
    """Open `source` for reading; also gives a function that says up to which of its bytes it has been read.

    Reading begins at `offset` (bytes), which is 0 for what is compressed and for what cannot be entered in the middle.
    """
    with _raw(source) as raw, contextlib.ExitStack() as stack:
        if offset:
            raw.seek(offset)
        stream: Any = raw
        if source.endswith(".gz"):
            stream = stack.enter_context(gzip.GzipFile(fileobj=raw))
        elif source.endswith(".zst"):
            stream = stack.enter_context(_zstd(raw))
        yield stream, raw.tell if raw.seekable() else lambda: 0


def _raw(source: str) -> Any:
    if stores.is_url(source):
        return stores.Reading(source)
    return open(0, "rb", closefd=False) if source == STDIN else open(source, "rb")


def _zstd(raw: Any) -> Any:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile
    else:
        from backports.zstd import ZstdFile
    return ZstdFile(raw)

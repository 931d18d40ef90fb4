"""The files of a folder of pages: written whole, put on stable storage together, removed only where they are ours."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from cormorant.sinks import files

OURS = re.compile(r"[a-z0-9_][a-z0-9_.-]*/[a-z0-9_][a-z0-9_.-]*")
_PAGE = re.compile(r"[a-z0-9_][a-z0-9_.-]*/[a-z0-9_][a-z0-9_.-]*-[0-9a-f]{20}(?:-\d+)?\.[a-z0-9]+")
SYNCFS_REPORTS_ERRORS = (5, 8)  # Linux, see syncfs(2)


class Disk:
    """Puts what was written below `root` on stable storage.

    On Linux with one syncfs(2): to sync thousands of small files one by one takes many times as long. It waits
    for what others wrote to the same file system, too. Elsewhere every new file and its folder is synced.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._synced = 0  # bytes of the index whose bodies are safe
        self._descriptor = os.open(root, os.O_RDONLY)  # held: errors are told to those who had it open
        self._syncfs = _syncfs()

    def sync(self, index: str) -> None:
        """Make the bodies safe that the index names since the last call. Raises OutputError."""
        if self._syncfs is None:
            self._sync_each(self._root / index)
            return
        if self._syncfs(self._descriptor) != 0:
            error = ctypes.get_errno()
            raise files.cannot_write(self._root, OSError(error, os.strerror(error)))

    def close(self) -> None:
        """Let go of the folder. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _sync_each(self, index: Path) -> None:
        folders = {self._root}
        with index.open("rb") as lines:
            lines.seek(self._synced)
            for name in _names(lines):
                files.sync_path(self._root / name)
                folders.add((self._root / name).parent)
            end = lines.tell()
        for folder in folders:
            files.sync_path(folder)
        self._synced = end


def write_new(path: str, body: bytes) -> None:
    """Write `body` to a file that must not exist yet; leave nothing behind when that fails. Raises OSError."""
    with _create(path) as file:
        try:
            view = memoryview(body)
            while view:
                view = view[file.write(view) :]
        except OSError:
            os.unlink(path)
            raise


def remove_pages(root: Path, index: str) -> None:
    """Remove the files that the index of an earlier run names, and none that it did not write itself."""
    if not (root / index).is_file():
        return
    with (root / index).open("rb") as lines:
        for name in _names(lines):
            path = root / name
            if OURS.fullmatch(name) and not path.parent.is_symlink():
                path.unlink(missing_ok=True)


def remove_orphans(root: Path, index: str) -> None:
    """Remove the bodies that the index does not name. Takes about 70 bytes a page for so long. Raises OutputError."""
    try:
        with (root / index).open("rb") as lines:
            named = {hash(name) for name in _names(lines)}  # 64 bits, keyed anew in every process
        for name in _pages(root):
            if hash(name) not in named:
                os.unlink(f"{root}/{name}")
    except OSError as error:
        raise files.cannot_write(root, error) from error


def _pages(root: Path) -> Iterator[str]:
    """Name the files below `root` whose names are such as we give to bodies."""
    with os.scandir(root) as hosts:
        for host in hosts:
            if not host.is_dir(follow_symlinks=False):
                continue
            with os.scandir(host.path) as pages:
                names = [f"{host.name}/{page.name}" for page in pages if page.is_file(follow_symlinks=False)]
            yield from filter(_PAGE.fullmatch, names)


def _names(index: Iterator[bytes] | io.BufferedReader) -> Iterator[str]:
    for line in index:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            name = json.loads(line)["file"]
            if name is not None:
                yield str(name)


def _create(path: str) -> io.FileIO:
    try:
        return io.FileIO(path, "xb")
    except FileNotFoundError:  # the first page of its host
        os.mkdir(os.path.dirname(path))
        return io.FileIO(path, "xb")


def _syncfs() -> Callable[[int], int] | None:
    """Return syncfs(2) where it exists and reports what could not be written."""
    if sys.platform != "linux":
        return None
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or tuple(map(int, release.groups())) < SYNCFS_REPORTS_ERRORS:
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)

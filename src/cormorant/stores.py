"""Object stores, and whatever else fsspec knows by a URL: `s3://bucket/urls.txt`, `gs://`, `file:///mnt/shared/x`.

For lists of input and for the output of a fleet. fsspec is imported when such a URL is named, never else. A store is
taken for no more than this: an object that was put whole is there for whoever asks later, and names can be listed.
Nothing is locked, appended to or renamed. That an object is put whole or not at all is not relied on, for a folder
behind `file://` does not promise it. What fails is asked again, a few times: stores are busy now and then.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from cormorant.errors import MissingPackage, OutputError, UsageError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PAGES = ("http", "https")  # what is fetched, not where things are kept
_WITHOUT_FOLDERS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "tos")
_CHUNK_BYTES = 4 * 1024 * 1024
_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)  # before a call that failed is made again
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_DRIVERS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "sftp": "paramiko",
}

Answer = TypeVar("Answer")


def is_url(name: str | os.PathLike[str]) -> bool:
    """Whether this names something in a store, rather than a file by its path."""
    match = _SCHEME.match(os.fspath(name))
    return match is not None and match[1].lower() not in _PAGES


def is_page(name: str) -> bool:
    """Whether this is the URL of a page, which is no place to read a list from, or to write to."""
    match = _SCHEME.match(name)
    return match is not None and match[1].lower() in _PAGES


def absolute(name: str | os.PathLike[str]) -> str:
    """Return a name that means the same from every folder: a path's, which keeps its closing slash, or a URL."""
    path = os.fspath(name)
    return path if is_url(path) else os.path.abspath(path) + ("/" if path.endswith("/") else "")


def refuse(name: str, what: str) -> None:
    """Raise UsageError when `name` lies in a store, or is a page; `what` says why it may not, and the way out."""
    if is_page(name):
        raise UsageError(
            f"{name} is a page; name a path, or a store by its own scheme, such as s3://bucket/pages.jsonl.gz"
        )
    if is_url(name):
        raise UsageError(f"{name} is no path of a file: {what}")


class Place:
    """One URL of a store, and what lies below it. Raises UsageError and MissingPackage when the store is not known.

    What is asked of it later raises OutputError, which names the object.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._path = _opened(self.url)
        self._is_local = any(kind.__name__ == "LocalFileSystem" for kind in type(self._files).__mro__)
        self._has_folder = url.partition(":")[0].lower() in _WITHOUT_FOLDERS

    def __repr__(self) -> str:
        return f"<Place {self.url}>"

    def names(self) -> list[str]:
        """Return the names of all objects below it, relative to it."""
        before = len(self._path.rstrip("/")) + 1

        def found() -> list[str]:
            self._files.invalidate_cache()
            try:
                return [path[before:] for path in self._files.find(self._path) if len(path) >= before]
            except FileNotFoundError:
                return []

        return _asked("list", self.url, found)

    def put(self, name: str, data: bytes) -> None:
        """Store bytes as an object."""
        self._write(name, lambda at: self._files.pipe_file(at, data))

    def put_file(self, name: str, path: Path) -> None:
        """Store a local file as an object."""
        self._write(name, lambda at: self._files.put_file(str(path), at))

    def _write(self, name: str, write: Callable[[str], object]) -> None:
        """Write an object; where it is a local file, it is on the disk then."""

        def written() -> None:
            self._make_folder()
            write(self._at(name))
            if self._is_local:
                _sync(self._at(name))

        _asked("write", f"{self.url}/{name}", written)

    def get(self, name: str) -> bytes:
        """Return an object."""
        return _asked("read", f"{self.url}/{name}", lambda: bytes(self._files.cat_file(self._at(name))))

    def get_file(self, name: str, path: Path) -> None:
        """Write an object to a local file."""
        url = f"{self.url}/{name}" if name else self.url
        _asked("read", url, lambda: self._files.get_file(self._at(name), str(path)))

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        self._remove(f"{self.url}/{name}" if name else self.url, lambda: self._files.rm_file(self._at(name)))

    def remove_all(self) -> None:
        """Remove all that lies below."""
        self._remove(self.url, lambda: self._files.rm(self._path, recursive=True))

    @staticmethod
    def _remove(url: str, remove: Callable[[], object]) -> None:
        def removed() -> None:
            with contextlib.suppress(FileNotFoundError):
                remove()

        _asked("remove", url, removed)

    def is_object(self) -> bool:
        """Whether the URL itself names an object."""

        def looked_at() -> bool:
            self._files.invalidate_cache()
            return bool(self._files.isfile(self._path))

        return _asked("look at", self.url, looked_at)

    def lacks_folder(self) -> bool:
        """Whether the folder in which it would lie is missing, where there are such things."""
        if self._has_folder:
            return False
        above = os.path.dirname(self._path.rstrip("/"))
        return not _asked("look at", self.url, lambda: bool(self._files.isdir(above)))

    def is_folder(self) -> bool:
        """Whether the URL itself names a folder, where there are such things."""
        return not self._has_folder and _asked("look at", self.url, lambda: bool(self._files.isdir(self._path)))

    def _make_folder(self) -> None:
        """Make the folder, once, where there are such things: of an object store it might make a bucket."""
        if not self._has_folder:
            self._files.makedirs(self._path, exist_ok=True)
            self._has_folder = True

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else str(self._path)


class Reading:
    """An object that is read from its beginning, or from anywhere: `read`, `seek`, `tell`. A context manager.

    Raises UsageError where there is none.
    """

    def __init__(self, url: str) -> None:
        files, path = _opened(url)
        try:
            files.invalidate_cache()
            self.size = int(files.size(path) or 0)
            self.modified_ns = _modified_ns(files, path)
            self._file = files.open(path, "rb", block_size=_CHUNK_BYTES)
        except Exception as error:  # each driver raises what it likes
            raise UsageError(f"cannot read the list {url}: {_words(error)}") from error
        self.read, self.seek, self.tell = self._file.read, self._file.seek, self._file.tell

    def read1(self, size: int, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        data: bytes = self._file.read(size)
        return data

    def seekable(self) -> bool:
        """Whether it can be entered in the middle."""
        return bool(self._file.seekable())

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def matching(pattern: str) -> list[str]:
    """Return the URLs of all objects whose names match a pattern (`*`, `?`, `[`), in order; a URL without one: itself.

    Raises MissingPackage or UsageError for a store that is not known or does not answer, or where nothing matches.
    """
    if not any(sign in pattern for sign in "*?["):
        return [pattern]
    files, path = _opened(pattern)
    with reading():
        found = _asked("list", pattern, lambda: sorted(str(files.unstrip_protocol(name)) for name in files.glob(path)))
    if not found:
        raise UsageError(f"cannot read the list {pattern}: no object there has such a name")
    return found


def size(url: str) -> int | None:
    """Return how many bytes an object has; None where the store does not say."""
    with contextlib.suppress(Exception):  # each driver raises what it likes
        files, path = _opened(url)
        return int(files.size(path))
    return None


def check(url: str) -> None:
    """Raise MissingPackage or UsageError for a store that is not known, or where no object has this name."""
    with reading():
        is_there = Place(url).is_object()
    if not is_there:
        raise UsageError(f"cannot read the list {url}: there is no such object")


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    scheme = url.partition(":")[0]
    try:
        import fsspec
    except ImportError:
        raise MissingPackage(f"{url} needs the package fsspec: pip install {_packages(scheme)}") from None
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        words = str(error).splitlines()[0] if str(error) else "its driver is not installed"
        raise MissingPackage(f"{url} needs a driver ({words}): pip install {_packages(scheme)}") from None
    except Exception as error:  # each driver raises what it likes, also for credentials
        known = "Protocol not known" in str(error)
        fix = "; known are s3://, gs://, abfs://, file:// and what fsspec.available_protocols() lists" if known else ""
        raise UsageError(f"cannot open {url}: {_words(error)}{fix}") from error
    return files, str(path)


def _packages(scheme: str) -> str:
    driver = _DRIVERS.get(scheme.lower())
    return f"fsspec {driver}" if driver is not None else "'cormorant[ray]', or fsspec and the driver of this store"


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn the OutputError of a store into a UsageError: what was named cannot be read."""
    try:
        yield
    except OutputError as error:
        raise UsageError(str(error)) from error


def _asked(what: str, url: str, call: Callable[[], Answer]) -> Answer:
    """Return what a call answers, which may be made more than once. Raises OutputError, which names the object."""
    pauses = iter(_PAUSES_SECONDS)
    while True:
        try:
            return call()
        except Exception as error:  # there is no common root of what drivers raise
            pause = None if isinstance(error, _FINAL) else next(pauses, None)
            if pause is None:
                _fail(what, url, error)
            time.sleep(pause)


def _sync(path: str) -> None:
    """Put a file, and its name, on stable storage."""
    for one in (path, os.path.dirname(path)):
        descriptor = os.open(one, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _fail(what: str, url: str, error: Exception) -> NoReturn:
    if what == "write" and isinstance(error, FileNotFoundError):
        raise OutputError(f"cannot write {url}: its bucket or folder is missing; make it first") from error
    raise OutputError(f"cannot {what} {url}: {_words(error)}") from error


def _words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such object"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _modified_ns(files: Any, path: str) -> int:
    """Return when an object was written (ns since 1970); 0 where the store does not say."""
    try:
        return int(files.modified(path).timestamp() * 1e9)
    except Exception:  # NotImplementedError, KeyError: as it likes
        return 0

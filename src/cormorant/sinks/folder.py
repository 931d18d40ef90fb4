"""A folder of pages: each body a file of its own, and `index.jsonl` with every record.

Laws: a file's name comes from the URL, in characters that every file system takes, and ends with a hash of the
whole URL, so that two URLs never share one, whatever the case or the length; nothing is written outside the
folder; a file is complete before the index names it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
from pathlib import Path

from cormorant.content import charset
from cormorant.errors import OutputError, UsageError
from cormorant.messages import Outcome, Result
from cormorant.sinks import records
from cormorant.sinks.lines import LineFile

INDEX = "index.jsonl"
LONGEST_SLUG = 60
LONGEST_HOST = 120

_PARTS = re.compile(r"https?://(?:[^/?#]*@)?([^/?#]*)(.*)\Z", re.DOTALL)
_UNSAFE = re.compile(r"[^a-z0-9_.]+")
_OURS = re.compile(r"[a-z0-9_][a-z0-9_.-]*/[a-z0-9_][a-z0-9_.-]*")
_SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".xhtml",
    "text/plain": ".txt",
    "text/css": ".css",
    "text/csv": ".csv",
    "text/markdown": ".md",
    "text/javascript": ".js",
    "application/javascript": ".js",
    "application/json": ".json",
    "application/ld+json": ".json",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/rss+xml": ".xml",
    "application/atom+xml": ".xml",
    "image/svg+xml": ".svg",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/x-icon": ".ico",
    "image/vnd.microsoft.icon": ".ico",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/gzip": ".gz",
    "application/wasm": ".wasm",
    "audio/mpeg": ".mp3",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "font/woff2": ".woff2",
}


class Folder:
    """Writes bodies to `HOST/PATH-HASH.SUFFIX` and records, without their body but with `file`, to the index.

    The folder is made when missing and refused when something is in it, unless `overwrite`: then the files that
    its index names are removed first. Results of `map` go to the index alone.
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        self._root = Path(path)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            used = any(self._root.iterdir())
            if used and overwrite:
                _remove_pages(self._root)
        except (OSError, ValueError) as error:
            raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
        if used and not overwrite:
            raise UsageError(f"{path} is not empty; pass --overwrite (overwrite=True), or name another folder")
        self._index = LineFile(self._root / INDEX, overwrite)

    def __repr__(self) -> str:
        return f"<Folder {self._root} with {self._index!r}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Write the body to its file and the record to the index."""
        if isinstance(outcome, Result):
            self._index.append(records.line(outcome))
            return
        record = records.without_body(outcome)
        record.charset = records.charset_of(outcome)
        record.file = self._write_body(outcome) if outcome.body else None
        self._index.append(records.encode(record))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._index.flush()

    def close(self) -> None:
        """Flush and close the index. Safe to call twice."""
        self._index.close()

    def _write_body(self, outcome: Outcome) -> str:
        """Write the body to a new file and return its path in the folder."""
        suffix = _suffix(outcome)
        stem = _stem(outcome.url, suffix)
        for number in itertools.count(1):  # a URL may come more than once: each page keeps its file
            name = f"{stem}-{number}{suffix}" if number > 1 else stem + suffix
            try:
                _write_new(f"{self._root}/{name}", outcome.body)
                break
            except FileExistsError:
                continue
            except OSError as error:
                raise OutputError(f"cannot write {self._root / name}: {error.strerror or error}") from error
        return name


def _stem(url: str, suffix: str) -> str:
    """Return `HOST/SLUG-HASH` for `url`: readable by its first half, unique by its second."""
    parts = _PARTS.match(url)
    host, rest = parts.groups() if parts else ("", url)
    slug = _safe(rest.lower().removesuffix(suffix), LONGEST_SLUG) or "index"
    digest = hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    folder = _safe(host, LONGEST_HOST) or "_"
    return f"{folder if folder != INDEX else '_' + INDEX}/{slug}-{digest}"


def _safe(text: str, longest: int) -> str:
    return _UNSAFE.sub("-", text.lower())[:longest].strip("-.")


def _suffix(outcome: Outcome) -> str:
    """Return the file suffix for the page's media type."""
    content_type = outcome.header("content-type")
    essence = (content_type or "").partition(";")[0].strip().lower()
    return _SUFFIXES.get(essence) or (".txt" if charset.is_text(outcome.body, content_type) else ".bin")


def _write_new(path: str, body: bytes) -> None:
    """Write `body` to a file that must not exist yet; leave nothing behind when that fails."""
    with _create(path) as file:
        try:
            view = memoryview(body)
            while view:
                view = view[file.write(view) :]
        except OSError:
            os.unlink(path)
            raise


def _create(path: str) -> io.FileIO:
    try:
        return io.FileIO(path, "xb")
    except FileNotFoundError:  # the first page of its host
        os.mkdir(os.path.dirname(path))
        return io.FileIO(path, "xb")


def _remove_pages(root: Path) -> None:
    """Remove the files that the index of an earlier run names, and none that it did not write itself."""
    if not (root / INDEX).is_file():
        return
    with (root / INDEX).open("rb") as index:
        for line in index:
            try:
                name = str(json.loads(line)["file"])
            except (ValueError, TypeError, KeyError):
                continue
            path = root / name
            if _OURS.fullmatch(name) and not path.parent.is_symlink():
                path.unlink(missing_ok=True)

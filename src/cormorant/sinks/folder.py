"""A folder of pages: each body a file of its own, and `index.jsonl` with every record.

Laws: a file's name comes from the URL, in characters that every file system takes, and ends with a hash of the
whole URL, so that two URLs never share one, whatever the case or the length; nothing is written outside the
folder; a file is complete before the index names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cormorant.content import charset
from cormorant.errors import OutputError, UsageError
from cormorant.interfaces import Committed
from cormorant.messages import Outcome, Result
from cormorant.sinks import folder_files, records
from cormorant.sinks.files import cannot_write
from cormorant.sinks.naming import of_shards
from cormorant.sinks.parts import Parts

INDEX = "index.jsonl"
LONGEST_SLUG = 60
LONGEST_HOST = 120

_PARTS = re.compile(r"https?://(?:[^/?#]*@)?([^/?#]*)(.*)\Z", re.DOTALL)
_UNSAFE = re.compile(r"[^a-z0-9_.]+")
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
    its index names are removed first. Results of `map` go to the index alone. It has no parts: `rotate_bytes` is
    refused.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        overwrite: bool = False,
        *,
        rotate_bytes: int | None = None,
        resume: Committed | None = None,
    ) -> None:
        if rotate_bytes is not None:
            raise UsageError(f"{path} is a folder, which has no parts; leave --rotate (rotate_bytes) out")
        self._root = Path(path)
        if resume is None:
            make_ready(path, overwrite)
        self._index = Parts(self._root / INDEX, overwrite=overwrite, resume=resume)
        if resume is not None:
            folder_files.remove_orphans(self._root, INDEX)
        self._trouble: OutputError | None = None
        self._disk = folder_files.Disk(self._root)

    def __repr__(self) -> str:
        return f"<Folder {self._root} with {self._index!r}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Write the body to its file and the record to the index."""
        self._check()
        if isinstance(outcome, Result):
            self._index.append(records.line(outcome))
            return
        record = records.without_body(outcome)
        record.charset = records.charset_of(outcome)
        record.file = self._write_body(outcome) if outcome.body else None
        self._index.append(records.encode(record))

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._check()
        self._index.flush()

    def sync(self, complete: bool = False) -> Committed:
        """Put the index and every body it names on stable storage, and say how much of the index there is."""
        self._check()
        committed = self._index.sync()
        try:
            self._disk.sync(INDEX)
        except OutputError as error:
            self._trouble = error
            raise
        return committed

    def close(self) -> None:
        """Flush and close the index. Safe to call twice."""
        self._disk.close()
        self._index.close()

    def _check(self) -> None:
        if self._trouble is not None:
            raise OutputError(str(self._trouble)) from self._trouble

    def _write_body(self, outcome: Outcome) -> str:
        """Write the body to a new file and return its path in the folder."""
        suffix = _suffix(outcome)
        stem = _stem(outcome.url, suffix)
        for number in itertools.count(1):  # a URL may come more than once: each page keeps its file
            name = f"{stem}-{number}{suffix}" if number > 1 else stem + suffix
            try:
                folder_files.write_new(f"{self._root}/{name}", outcome.body)
                break
            except FileExistsError:
                continue
            except OSError as error:
                self._trouble = cannot_write(self._root / name, error)
                raise self._trouble from error
        return name


def read(path: str) -> Iterator[Outcome]:
    """Yield each outcome of a folder. Raises ValueError or KeyError for a line that is no record of ours."""
    with open(f"{path}/{INDEX}", "rb") as index:
        for line in index:
            record = json.loads(line)
            name = record["file"]
            if name is not None and not folder_files.OURS.fullmatch(name):
                raise ValueError(f"{name!r} is no name of ours")
            yield records.outcome(record, None if name is None else Path(path, name).read_bytes())


def make_ready(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Make the folder, or remove the pages of an earlier run if that is allowed."""
    root = Path(path)
    try:
        root.mkdir(parents=True, exist_ok=True)
        used = any(root.iterdir())
        if used and overwrite:
            folder_files.remove_pages(root, INDEX)
            for shard in of_shards(os.path.join(path, "")):
                folder_files.remove_pages(Path(shard), INDEX)
                os.unlink(os.path.join(shard, INDEX))
                for folder, _, _ in os.walk(shard, topdown=False):
                    with contextlib.suppress(OSError):  # somebody's own file is in it
                        os.rmdir(folder)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error
    if used and not overwrite:
        raise UsageError(f"{path} is not empty; pass --overwrite (overwrite=True), or name another folder")


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

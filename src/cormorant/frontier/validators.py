"""What an earlier run knew of its pages: ETag and Last-Modified by URL, to ask only for what has changed.

They lie in an unnamed database on disk (SQLite makes it in its temporary folder, and removes it with the process), so
that memory does not grow with the earlier run. A validator counts for the URL that sent it: where the earlier run was
redirected there is none. Nor is there one of a page that failed (was cut, say): it would never be had whole.
"""

from __future__ import annotations

import gzip
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from cormorant.errors import UsageError
from cormorant.messages import Headers, first_value

INDEX = "index.jsonl"
KNOWN_STATUSES = (200, 304)


class _Record(msgspec.Struct):
    """The fields of a record that matter here."""

    url: str
    final_url: str
    ok: bool
    status: int | None
    headers: Headers


class Validators:
    """Looks up what makes a request conditional (RFC 9110 13.1). Used from one thread at a time."""

    def __init__(self, records: Iterator[_Record]) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute("CREATE TABLE known (url TEXT PRIMARY KEY, etag TEXT, modified TEXT) WITHOUT ROWID")
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", _rows(records))

    @classmethod
    def of_run(cls, *paths: str) -> Validators:
        """Read the JSON Lines (.gz too) or the folders that an earlier run wrote, in this order. Raises UsageError."""
        return cls(record for path in paths for record in _read(Path(path)))

    def conditions(self, url: str) -> Headers:
        """Return the headers that make a request for `url` conditional; none where nothing is known."""
        row = self._database.execute("SELECT etag, modified FROM known WHERE url = ?", (url,)).fetchone()
        if row is None:
            return ()
        pairs = (("If-None-Match", row[0]), ("If-Modified-Since", row[1]))
        return tuple((name, value) for name, value in pairs if value)


def _read(source: Path) -> Iterator[_Record]:
    if source.is_dir():
        source = source / INDEX
    try:
        with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as lines:
            yield from _records(lines, os.fspath(source))
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"since: cannot read {source}: {reason}; name the .jsonl of an earlier run") from error


def _records(lines: IO[bytes] | gzip.GzipFile, name: str) -> Iterator[_Record]:
    decode = msgspec.json.Decoder(_Record).decode
    torn: int | None = None
    for number, line in enumerate(lines, 1):
        if torn is not None:
            raise UsageError(f"since: line {torn} of {name} is no record of ours; name the .jsonl of an earlier run")
        try:
            yield decode(line)
        except msgspec.MsgspecError:
            torn = number  # forgiven at the end of the file: the earlier run was killed
    if torn == 1:
        raise UsageError(f"since: {name} holds no record of ours; name the .jsonl of an earlier run")


def _rows(records: Iterator[_Record]) -> Iterator[tuple[str, str | None, str | None]]:
    for record in records:
        if record.ok and record.status in KNOWN_STATUSES and record.final_url == record.url:
            etag, modified = first_value(record.headers, "etag"), first_value(record.headers, "last-modified")
            if etag or modified:
                yield record.url, etag, modified

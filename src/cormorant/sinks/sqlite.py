"""SQLite: a table `outcomes`, a row an outcome, in the order written. Bodies are BLOBs, the rest as in `rows.py`.

Laws: one connection; a committed length counts rows, and cutting back deletes those behind it. The journal is a
write-ahead log: `flush` commits without waiting for the disk, `sync` waits for it. Rows are inserted in a thread, for
now and then SQLite moves its log into the database and waits for the disk.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from cormorant.errors import OutputError
from cormorant.interfaces import Committed, Part
from cormorant.messages import Outcome, Result
from cormorant.sinks import files, rows
from cormorant.sinks.behind import Behind
from cormorant.sinks.lines import BUFFER_BYTES
from cormorant.sinks.naming import Naming

WAL = "-wal"
ROW_BYTES = 1_000  # of a row without its body, roughly
_TYPES = {**dict.fromkeys(rows.NUMBERS, "INTEGER"), "ok": "INTEGER", "truncated": "INTEGER"}
_COLUMNS = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in rows.COLUMNS)
_TABLE = f"CREATE TABLE outcomes (id INTEGER PRIMARY KEY, {_COLUMNS}, body BLOB)"
_INSERT = f"INSERT INTO outcomes VALUES (NULL, {', '.join('?' * (len(rows.COLUMNS) + 1))})"


class Sqlite:
    """Writes a row an outcome. A path is opened at once and refused when it exists, unless `overwrite`.

    Results of `map` are refused: their items and values are no columns.
    """

    def __init__(
        self,
        target: str | os.PathLike[str],
        overwrite: bool = False,
        *,
        rotate_bytes: int | None = None,
        resume: Committed | None = None,
    ) -> None:
        self._naming = Naming(target)
        self._rotate_bytes = rotate_bytes
        self._sealed: list[Part] = []
        self._unsynced: list[Path] = []
        self._is_new = True
        self._number = self._count = self._waiting_bytes = 0
        self._waiting: list[tuple[Any, ...]] = []
        self._behind = Behind("cormorant-sqlite")
        self._closed = False
        self._trouble: OutputError | None = None
        with self._told():
            self._database = self._begin(overwrite) if resume is None else self._go_on(resume)

    def __repr__(self) -> str:
        return f"<Sqlite {self._path} {'closed' if self._closed else f'of {self._count} rows'}>"

    def write(self, outcome: Outcome | Result) -> None:
        """Append one outcome."""
        self._check()
        rows.refuse(outcome, str(self._path))
        outcome = cast(Outcome, outcome)
        self._waiting.append((*rows.of(outcome).values(), outcome.body))
        self._waiting_bytes += ROW_BYTES + len(outcome.body)
        if self._waiting_bytes >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Have everything written so far committed, in the thread: readers see it, and it outlives this process."""
        if self._closed:
            return
        self._check()
        group, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if group:
            with self._told():
                self._behind.do(self._insert, group)

    def sync(self, complete: bool = False) -> Committed:
        """Commit everything written so far and wait until it is on stable storage."""
        self._check()
        self._finish()
        with self._told():
            for path in self._unsynced:
                files.sync_path(path)
            self._unsynced.clear()
            if (wal := self._path.with_name(self._path.name + WAL)).exists():
                files.sync_path(wal)  # not the database: closing it here would drop SQLite's own locks
            if self._is_new:
                files.sync_path(self._naming.folder)
                self._is_new = False
        return Committed((*self._sealed, Part(self._path.name, self._count, False)))

    def close(self) -> None:
        """Commit and close. Safe to call twice."""
        if self._closed:
            return
        try:
            if self._trouble is None:
                self._finish()
                with self._told():
                    self._database.close()
        finally:
            self._closed = True
            self._behind.close()
            with contextlib.suppress(sqlite3.Error):
                self._database.close()

    @property
    def _path(self) -> Path:
        return self._naming.path(self._number)

    def _check(self) -> None:
        if self._closed:
            raise OutputError(f"{self._path} is closed; nothing more can be written")
        if self._trouble is not None:
            raise OutputError(str(self._trouble)) from self._trouble

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into ours; after one of them nothing is written any more."""
        try:
            yield
        except OutputError as error:
            self._trouble = error
            raise
        except sqlite3.Error as error:
            self._trouble = files.cannot_write(self._path, error)
            raise self._trouble from error

    def _finish(self) -> None:
        self.flush()
        with self._told():
            self._behind.wait()

    def _insert(self, group: list[tuple[Any, ...]]) -> None:
        """Insert and commit rows, and begin the next part when this one has grown to its size. In the thread."""
        with self._database:
            self._database.executemany(_INSERT, group)
        self._count += len(group)
        if self._rotate_bytes is not None and self._bytes() >= self._rotate_bytes:
            self._rotate()

    def _bytes(self) -> int:
        pages, size = (self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return int(pages * size)

    def _rotate(self) -> None:
        self._database.close()  # which moves the write-ahead log into the database
        self._unsynced.append(self._path)
        self._sealed.append(Part(self._path.name, self._count, True))
        self._number += 1
        self._database = self._make()

    def _begin(self, overwrite: bool) -> sqlite3.Connection:
        self._naming.make_room(overwrite)
        return self._make(overwrite)

    def _make(self, overwrite: bool = False) -> sqlite3.Connection:
        files.create(self._path, overwrite).close()  # says better than SQLite why it cannot
        self._is_new, self._count = True, 0
        database = _connect(self._path)
        with database:
            database.execute(_TABLE)
        return database

    def _go_on(self, resume: Committed) -> sqlite3.Connection:
        self._naming.keep_only(resume)
        for part in resume.parts:
            self._number = self._naming.number(part.name)
            database = _cut_back(self._path, part.length)
            if not part.is_sealed:
                self._count = part.length
                return database
            database.close()
            self._sealed.append(part)
        self._number = self._naming.next_number(resume)
        return self._make()


def read(path: str) -> Iterator[Outcome]:
    """Yield each outcome of one database. Raises ValueError or KeyError for a row that is none of ours."""
    with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        for row in database.execute("SELECT * FROM outcomes ORDER BY id"):
            yield rows.outcome(dict(row), row["body"])


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    return database


def _cut_back(path: Path, length: int) -> sqlite3.Connection:
    """Open the database of an earlier run with its first `length` rows. Raises OutputError when it has fewer."""
    if not path.exists():
        raise files.changed(path, f"{length:,} rows", "holds none")
    database = _connect(path)
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS " + _TABLE.removeprefix("CREATE TABLE "))
        database.execute("DELETE FROM outcomes WHERE id > ?", (length,))
        (found,) = database.execute("SELECT count(*) FROM outcomes").fetchone()
    if found < length:
        database.close()
        raise files.changed(path, f"{length:,} rows", f"holds {found:,}")
    return database

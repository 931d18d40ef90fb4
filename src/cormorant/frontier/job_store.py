"""The one file of a job, `journal.sqlite`: how it is opened, what its tables are, and what its errors mean.

Laws: one connection for everything, which holds the file exclusively (SQLite before 3.51.3 can corrupt a WAL that
two connections write or checkpoint at once: https://www.sqlite.org/wal.html#walresetbug); a commit is on the disk when
it returns (synchronous=FULL); after a write that failed nothing more is written by this process, because what the
kernel dropped it will not say a second time (https://wiki.postgresql.org/wiki/Fsync_Errors). The tables `url` and
`ended` grow at their end, but for rows that waited for their owner, so a commit writes little and never reads:

    url     what was found, in order of finding: to be fetched (url), or seen and nothing more (url is NULL)
    ended   for each commit the rows that ended, 64 bits each: the row's number, and in the low byte how (`job_ends.py`)
    chapter what the rows say that going on has to know, in short (`job_chapters.py`); may be missing
    part    the files of the output, and how much of each is committed
    robots  what hosts answered to the question for their robots.txt
    book    single values by name, as JSON: options, lists, position, counters
    outbox  of a share of a fleet: what it has handed over to others, until they have committed it
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from cormorant.errors import OutputError, UsageError
from cormorant.interfaces import Committed, Part, RobotsAnswer

FILE = "journal.sqlite"
FORMAT = 3
APPLICATION = 0x636F726D  # "corm": so that `file` and we know the file again
HAS_OUTPUT = "has output"  # a name in the book
CHECKPOINT_PAGES = 4_000  # 16 MB of WAL, so that moving it into the file is seldom

_LATER = (  # since format 2
    "CREATE INDEX owned ON url (owner, label) WHERE owner IS NOT NULL",
    "CREATE TABLE chapter (id INTEGER PRIMARY KEY, seen BLOB NOT NULL, open BLOB NOT NULL)",
)
_OUTBOX = (
    "CREATE TABLE outbox (dest INTEGER, first INTEGER, items BLOB NOT NULL, PRIMARY KEY (dest, first)) WITHOUT ROWID"
)
SCHEMA = (
    "CREATE TABLE url (id INTEGER PRIMARY KEY, url TEXT, key TEXT, owner INTEGER, rest BLOB, label INTEGER)",
    *_LATER,
    "CREATE TABLE ended (id INTEGER PRIMARY KEY, rows BLOB NOT NULL)",
    "CREATE TABLE part (name TEXT PRIMARY KEY, length INTEGER NOT NULL, is_sealed INTEGER NOT NULL, place INTEGER, "
    "tail TEXT)",
    "CREATE TABLE robots (origin TEXT PRIMARY KEY, fetched_at REAL NOT NULL, url TEXT, file BLOB)",
    "CREATE TABLE book (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    _OUTBOX,
)
# From an older format to the next: statements, run in one transaction.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE url ADD COLUMN label INTEGER",
        "ALTER TABLE part ADD COLUMN tail TEXT",
        "DROP INDEX owned",
        *_LATER,
    ),
    2: (_OUTBOX,),
}


class Mail(NamedTuple):
    """What one commit of a share changes in its outbox: batches that are new, and those that others have by now.

    A batch is (dest, number of its first item, items encoded); it is known by the first two.
    """

    new: Sequence[tuple[int, int, bytes]]
    done: Sequence[tuple[int, int]]


class Store:
    """The open file. For one thread at a time. Raises OutputError, naming the file, when it cannot be written.

    One that is not `is_lasting` survives its process alone. Opening it raises UsageError for a file that is no journal,
    or one of a newer cormorant.
    """

    def __init__(self, folder: Path, is_lasting: bool = True) -> None:
        self.is_lasting = is_lasting
        self.path = folder / FILE
        self._is_broken = False
        self._parts: dict[str, Part] = {}
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it may hold credentials
            self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            self.fail("open", error)
        try:
            self._prepare()
            committed = self.committed()
            self._parts = {part.name: part for part in committed.parts} if committed is not None else {}
        except BaseException:
            self.db.close()
            raise

    def _prepare(self) -> None:
        try:
            self.db.execute("PRAGMA locking_mode=EXCLUSIVE")
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            application = self.db.execute("PRAGMA application_id").fetchone()[0]
            is_blank = not version and not application and not self._has_tables()
            if not is_blank and application != APPLICATION:
                raise UsageError(f"{self.path} is a database of another program; name another job folder")
            if self.db.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":  # it fails without an error
                raise sqlite3.OperationalError("disk I/O error")
            self.db.execute(f"PRAGMA synchronous={'FULL' if self.is_lasting else 'OFF'}")
            self.db.execute("PRAGMA fullfsync=ON")  # macOS: fsync alone leaves data in the drive's cache
            self.db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            # What an earlier process committed is written again, to the file itself: its own fsync may have failed.
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self.fail("open", error)
        self._bring_up_to_date(version)

    def _bring_up_to_date(self, version: int) -> None:
        if not version:
            self._migrate(FORMAT, SCHEMA, f"PRAGMA application_id={APPLICATION}")
            return
        if version > FORMAT:
            raise UsageError(
                f"{self.path} was written by a newer cormorant (format {version}, this one knows {FORMAT}); "
                "upgrade cormorant to go on with it"
            )
        for older in range(version, FORMAT):
            self._migrate(older + 1, MIGRATIONS[older])

    def _has_tables(self) -> bool:
        return self.db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None

    def _migrate(self, version: int, statements: Iterable[str], *more: str) -> None:
        with self.transaction():
            for statement in (*statements, *more, f"PRAGMA user_version={version}"):
                self.db.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all that is written inside, durably, or nothing. After one that failed there is no other."""
        if self._is_broken:
            raise OutputError(f"{self.path} could not be written before; run the same command again: it goes on")
        try:
            self.db.execute("BEGIN IMMEDIATE")
            yield self.db
            self.db.execute("COMMIT")
        except BaseException as error:
            self._is_broken = True
            with suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                self.fail("write", error)
            raise

    def copy_to(self, path: Path) -> None:
        """Write all that is committed to a new file, which is a journal by itself. Raises OutputError."""
        try:
            self.db.execute("VACUUM INTO ?", (os.fspath(path),))
        except sqlite3.Error as error:
            self.fail("copy", error)

    def fail(self, what: str, error: Exception) -> NoReturn:
        """Raise what an error of SQLite means, with the way out."""
        name = getattr(error, "sqlite_errorname", "")
        if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            raise UsageError(f"{self.path} is no journal of cormorant, or is damaged ({error})") from error
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot {what} {self.path}: {reason}; {_way_out(name, error)}") from error

    def rows(self, query: str, *values: Any) -> Iterator[Any]:
        """Yield what a query finds."""
        try:
            yield from self.db.execute(query, values)
        except sqlite3.Error as error:
            self.fail("read", error)

    def last_row(self) -> int:
        """Return the number of the last row that is committed; 0: there is none."""
        return int(next(self.rows("SELECT coalesce(max(id), 0) FROM url"))[0])

    # --- single values ---

    def value(self, name: str, default: Any = None) -> Any:
        """Return a value of the book."""
        for (value,) in self.rows("SELECT value FROM book WHERE name = ?", name):
            return msgspec.json.decode(value)
        return default

    def put(self, values: Mapping[str, Any]) -> None:
        """Set values of the book; to be called within a transaction."""
        pairs = [(name, msgspec.json.encode(value)) for name, value in values.items()]
        self.db.executemany("INSERT OR REPLACE INTO book VALUES (?, ?)", pairs)

    def committed(self) -> Committed | None:
        """Return what of the output is committed; None: it was never begun."""
        if self.value(HAS_OUTPUT) is None:
            return None
        rows = self.rows("SELECT name, length, is_sealed, tail FROM part ORDER BY place")
        return Committed(
            tuple(Part(name, length, bool(is_sealed), tail or "") for name, length, is_sealed, tail in rows)
        )

    def put_committed(self, committed: Committed) -> None:
        """Remember what of the output is committed; to be called within a transaction."""
        known = self._parts
        now = {part.name: (part, place) for place, part in enumerate(committed.parts)}
        gone = [(name,) for name in known.keys() - now.keys()]
        rows = [
            (part.name, part.length, part.is_sealed, place, part.tail)
            for part, place in now.values()
            if known.get(part.name) != part
        ]
        self.db.executemany("DELETE FROM part WHERE name = ?", gone)
        self.db.executemany("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?)", rows)
        if not known:
            self.put({HAS_OUTPUT: True})
        self._parts = {part.name: part for part in committed.parts}

    def forget_output(self) -> None:
        """Take back that an output was begun; to be called within a transaction."""
        self.db.execute("DELETE FROM part")
        self.forget(HAS_OUTPUT)
        self._parts = {}

    def forget(self, name: str) -> None:
        """Take a value out of the book; to be called within a transaction."""
        self.db.execute("DELETE FROM book WHERE name = ?", (name,))

    # --- mail ---

    def put_mail(self, mail: Mail) -> None:
        """Change the outbox; to be called within a transaction."""
        self.db.executemany("INSERT INTO outbox VALUES (?, ?, ?)", mail.new)
        self.db.executemany("DELETE FROM outbox WHERE dest = ? AND first = ?", mail.done)

    def outbox(self) -> list[tuple[int, int, bytes]]:
        """Return the batches that others may not have yet, in the order of their numbers."""
        return list(self.rows("SELECT dest, first, items FROM outbox ORDER BY dest, first"))

    # --- robots.txt ---

    def put_robots(self, answers: Iterable[RobotsAnswer]) -> None:
        """Remember what hosts answered; to be called within a transaction."""
        rows = ((one.origin, one.fetched_at, one.url, one.file) for one in answers)
        self.db.executemany("INSERT OR REPLACE INTO robots VALUES (?, ?, ?, ?)", rows)

    def robots(self, at_most: int, keep_seconds: float) -> Iterator[RobotsAnswer]:
        """Yield the answers of the last `keep_seconds`, the latest `at_most` of them, the oldest first."""
        now = time.time()
        rows = self.rows(
            "SELECT * FROM (SELECT origin, fetched_at, url, file FROM robots WHERE fetched_at BETWEEN ? AND ? "
            "ORDER BY fetched_at DESC LIMIT ?) ORDER BY fetched_at",
            *(now - keep_seconds, now, at_most),  # from the future: the clock was set back, and their age is unknown
        )
        for origin, fetched_at, url, file in rows:
            yield RobotsAnswer(origin=origin, fetched_at=fetched_at, url=url, file=file)

    # --- what ended ---

    def put_ended(self, rows: array[int]) -> None:
        """Append rows that ended, `number << 8 | how`; to be called within a transaction.

        Or rows that wait again (how: 0), and none of the others with them.
        """
        if rows:
            self.db.execute("INSERT INTO ended (rows) VALUES (?)", (little_endian(rows).tobytes(),))

    def ended(self) -> bytearray:
        """Return for each row how it ended, by its number; 0: not yet. A byte a row."""
        how = bytearray(self.last_row() + 1)
        for (blob,) in self.rows("SELECT rows FROM ended ORDER BY id"):
            for row in little_endian(array("Q", blob)):
                how[row >> 8] = row & 0xFF
        return how

    def waiting_again(self) -> list[int]:
        """Return the rows that were ended once and had to wait again, whatever became of them since."""
        blobs = self.rows("SELECT rows FROM ended WHERE substr(rows, 1, 1) = x'00'")
        return sorted({row >> 8 for (blob,) in blobs for row in little_endian(array("Q", blob))})

    def close(self) -> None:
        """Close the file. Never raises: what is not committed is not missed. Safe to call twice.

        SQLite then moves what was committed from its log to the file, also after a write that failed; opening it again
        does so once more, from the log if that is still there.
        """
        with suppress(sqlite3.Error):
            self.db.close()


def little_endian(numbers: array[int]) -> array[int]:
    """Turn numbers of this machine into those of a file, or back."""
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers


def _way_out(name: str, error: Exception) -> str:
    if name == "SQLITE_FULL":
        return "make room, then run the same command again: it goes on"
    if name.startswith("SQLITE_READONLY") or isinstance(error, PermissionError):
        return "make the job's folder writable, or name another"
    if name.startswith("SQLITE_BUSY"):
        return "another program has it open; close that first"
    return "see to the disk, then run the same command again: it goes on"

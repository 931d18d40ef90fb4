"""The rows of a journal: each URL found, in order of finding. The latest wait in memory for the next commit.

A row says what to fetch (its request), or which key was seen, or both. It is written once, by the first commit after
it was found, and never again. One that has an owner (a request that was redirected to its key) waits for the commit
in which the owner ends. What every request of a run has in common (its headers, its
deadline) is not stored, so that a run that goes on may have others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, TypeAlias

import msgspec

from cormorant import urls
from cormorant.frontier.job_store import Store
from cormorant.frontier.ranked import Rank
from cormorant.messages import Found, Headers, Purpose, Redirect, Request

NO_KEY = ""  # of a row that is fetched though its URL was seen (`keep_duplicates`), or was seen in a row of its own
LINE = "line"  # of a row for a line that is no URL; no key of a URL looks like it
NO_HOST = ""  # where such a line waits

Place: TypeAlias = tuple[str, Rank]

_encode = msgspec.msgpack.Encoder().encode


class Rest(msgspec.Struct, array_like=True, frozen=True):
    """What a request is besides its URL, shortest first: a row ends with the last that is not as usual."""

    input: str | None = None
    line: int | None = None
    depth: int | None = None  # None: not found by a crawl
    source: str = ""
    text: str = ""
    lastmod: str | None = None
    priority: int = 0
    purpose: str = Purpose.PAGE.value
    headers: Headers | None = None
    target: str | None = None
    max_body: int | None = None
    method: str = "GET"
    body: bytes | None = None
    redirects: tuple[Redirect, ...] = ()  # made by another share of a fleet
    ending: bytes | None = None


USUAL = msgspec.structs.astuple(Rest())
_decode = msgspec.msgpack.Decoder(Rest).decode
_NOTHING = Rest()


class Row(msgspec.Struct, gc=False):
    """A row as it waits for its commit. `owner` is the row of the request that was redirected to `key`.

    `label` is that of the key (`job_labels.py`), where it is one that was not seen before; `place` are the host and the
    rank that the request waits in.
    """

    key: str
    label: int | None = None
    owner: int | None = None
    request: Request | None = None
    place: Place = (NO_HOST, (0, 0))


class Rows:
    """Rows by number, from 1 on. `headers` and `seconds` are those that requests usually have."""

    def __init__(self, store: Store, headers: Headers, seconds: float) -> None:
        self._store, self._db = store, store.db
        self._headers, self._seconds = headers, seconds
        self._waiting: list[Row] = []
        self._held: dict[int, Row] = {}  # by number: owned, and the owner has not ended
        self._written = store.last_row()

    def __len__(self) -> int:
        return self._written + len(self._waiting)

    @property
    def waiting(self) -> int:
        """How many wait for their commit."""
        return len(self._waiting)

    def append(self, row: Row) -> int:
        """Take a row; returns its number."""
        self._waiting.append(row)
        return self._written + len(self._waiting)

    def attach(self, request: Request, place: Place) -> int:
        """Take a request: into the last row if that is a key alone, which then is its own; returns the number."""
        waiting = self._waiting
        last = waiting[-1] if waiting else None
        if last is None or last.request is not None or last.owner is not None:
            return self.append(Row(NO_KEY, request=request, place=place))
        last.request, last.place = request, place
        return self._written + len(waiting)

    def own(self, number: int, owner: int) -> None:
        """Make a row that waits for its commit the property of another."""
        self._waiting[number - self._written - 1].owner = owner

    def request(self, number: int) -> Request:
        """Return the request of a row that has one."""
        if number > self._written:
            request = self._waiting[number - self._written - 1].request
            assert request is not None
            return request
        url, rest = self._one("SELECT url, rest FROM url WHERE id = ?", number)
        return self.revive(url, rest)

    def key(self, number: int) -> str:
        """Return the key of a row."""
        if number > self._written:
            return self._waiting[number - self._written - 1].key
        if number in self._held:
            return self._held[number].key
        return str(self._one("SELECT coalesce(key, url) FROM url WHERE id = ?", number)[0])

    def _one(self, query: str, number: int) -> Any:
        try:
            return self._db.execute(query, (number,)).fetchone()
        except sqlite3.Error as error:
            self._store.fail("read", error)

    def revive(self, url: str | bytes, rest: bytes | None) -> Request:
        """Return a stored request, with the headers and the deadline that are usual now."""
        more = _NOTHING if rest is None else _decode(rest)
        text = url if isinstance(url, str) else url.decode("utf-8", "surrogatepass")
        found = None
        if more.depth is not None:
            found = Found(depth=more.depth, source=more.source, text=more.text, lastmod=more.lastmod)
        return Request(
            url=text,
            target=more.target or text,
            input=text if more.input is None else more.input,
            line=more.line,
            method=more.method,
            headers=self._headers if more.headers is None else more.headers,
            body=more.body,
            seconds=self._seconds,
            purpose=Purpose(more.purpose),
            found=found,
            priority=more.priority,
            max_body=more.max_body,
            redirects=more.redirects,
            ending=more.ending,
        )

    def put(self, ended: Collection[int]) -> None:
        """Write the rows that wait, but for those whose owner is not among `ended`.

        To be called within a transaction, and `put_down` when that stands.
        """
        rows = ((number, *self._columns(row)) for number, row in self._due(ended))
        self._db.executemany("INSERT INTO url (id, url, key, owner, label, rest) VALUES (?, ?, ?, ?, ?, ?)", rows)

    def new(self) -> Iterator[tuple[int, Row]]:
        """Yield the rows that wait for their first commit, by number."""
        return enumerate(self._waiting, self._written + 1)

    def put_down(self, ended: Collection[int]) -> None:
        """Let go of the rows that `put` has written."""
        self._held |= {number: row for number, row in self.new() if row.owner is not None}
        self._held = {number: row for number, row in self._held.items() if row.owner not in ended}
        self._written += len(self._waiting)
        self._waiting.clear()

    def _due(self, ended: Collection[int]) -> Iterator[tuple[int, Row]]:
        for number, row in chain(self._held.items(), self.new()):
            if row.owner is None or row.owner in ended:
                yield number, row

    def _columns(self, row: Row) -> tuple[str | bytes | None, str | None, int | None, int | None, bytes | None]:
        request, key, owner = row.request, row.key, row.owner
        if request is None:
            return None, key, owner, None if owner is None else row.label, None
        url: str | bytes = request.url
        if not request.url.isascii() and urls.without_surrogates(request.url) != request.url:
            url = request.url.encode("utf-8", "surrogatepass")  # a line with bytes that were no UTF-8
        return url, None if key == request.url else key, owner, None, self._rest(request)

    def _rest(self, request: Request) -> bytes | None:
        found, url = request.found, request.url
        rest: list[Any] = [None if request.input == url else request.input, request.line]
        if found is not None:
            rest += (found.depth, found.source, found.text, found.lastmod)
        else:
            rest += USUAL[2:6]
        rest += (
            request.priority,
            request.purpose.value,
            None if request.headers == self._headers else request.headers,
            None if request.target == url else request.target,
            request.max_body,
            request.method,
            request.body,
            request.redirects,
            request.ending,
        )
        while rest and rest[-1] == USUAL[len(rest) - 1]:
            rest.pop()
        try:
            return _encode(rest) if rest else None
        except UnicodeEncodeError:  # what a page wrote in a link need not be text that can be stored
            return _encode([urls.without_surrogates(value) if isinstance(value, str) else value for value in rest])


def stored(
    store: Store, first: int = 1, end: int = 1 << 62
) -> Iterator[tuple[int, str | bytes | None, str | None, int | None, bytes | None]]:
    """Yield the committed rows from `first` on, and before `end`, in order: number, url, key, owner, rest."""
    query = "SELECT id, url, key, owner, rest FROM url WHERE id >= ? AND id < ? ORDER BY id"
    return store.rows(query, first, end)


def notable(store: Store, until: int) -> Iterator[tuple[int, str | bytes | None, str | None, int | None, bytes | None]]:
    """Yield, as `stored` does, the rows up to `until`, and of those behind it what a crawl's bounds count.

    Those are redirects, URLs with a query or with what may be a date (`policies/scope.py`), and sitemaps; some more may
    be among them. SQLite looks for them, at a tenth of what it costs to look at each row here.
    """
    return store.rows(
        "SELECT id, url, key, owner, rest FROM url WHERE id <= ? OR owner IS NOT NULL OR instr(url, '?') "
        "OR url GLOB '*19[0-9][0-9]*' OR url GLOB '*2[01][0-9][0-9]*' OR instr(rest, x'736974656d6170') ORDER BY id",
        until,
    )


def redirected(store: Store) -> Iterator[tuple[int, int | None]]:
    """Yield the rows that have an owner, as (row, label of its key, or None). Reads the index alone."""
    return store.rows("SELECT id, label FROM url WHERE owner IS NOT NULL")


def place_of(url: str, rest: bytes | None) -> Place:
    """Return where a stored request waits, without making it: one that another share began, where it is now."""
    if rest is None:
        return urls.origin(url), (0, 0)
    more = _decode(rest)
    if more.ending is not None:
        return NO_HOST, (0, 0)
    return urls.origin(more.target or url), (-more.priority, more.depth or 0)

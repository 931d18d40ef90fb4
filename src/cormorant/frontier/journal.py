"""A frontier that survives the process: what was found and what ended, in one SQLite file, a transaction a commit.

Theory of operation. Nothing is written when a URL is found, taken, tried again or done. All that has happened since
the last commit is in memory: new rows (`job_rows.py`), and which requests ended, in the order in which their outcomes
are handed over. A commit comes after the sink has synced its files. In one transaction it writes all new rows, marks
the rows as ended whose outcomes are among those that were synced, and keeps the lengths of the sink's files, the
position in the input and the counters. So a row is open until the commit that says where its record lies; after a
crash, what is open is fetched again, and each URL ends in the output exactly once.

The traps, and what is done about them:

* *A page found links, and its outcome is not committed.* The links are rows of their own and stay. The page is fetched
  again and finds them seen. So links never come in too late, and never twice.
* *A redirect makes its target seen (`is_new(url, by=request)`).* While the request is open, the mark counts in this
  process only: after a crash the request is made again, and must find its target new. So the mark is written in the
  very transaction in which its owner ends. (To write it at once and leave it out while its owner is open is not
  enough: made again, the owner may find its target taken by another redirect, and end without it.)
* *Retries, hops.* They are the same row, under way; only their end is settled. After a crash they begin anew.
* *Duplicates in the list.* A key is in one row, or in memory until the position behind its line is committed with
  it. With `keep_duplicates` each line has a row of its own. Equal requests under way stand for each other.
* *Lines that are no URL* have an outcome and no request: `settle_line` makes a row of them, and those that were not
  synced are given back by `lines_again`.
* *A sink that has synced nothing yet* (None: Parquet between two files): `commit(0, None, ...)` keeps the rows, and
  settles no outcome. What ended waits in memory, some hundred bytes each, until a sync covers it.
* *A service* (a sitemap), or what was left out after all, has no outcome, and ends with the next commit, whatever
  that covers. What it led to is in rows by then, and that it was left out is counted by the same commit.
* *A commit that failed* is the last: see `job_store.py`.

Memory: eight bytes for each URL waiting, its host, and the seen-set; rows and ends since the last commit; one chapter
(`job_chapters.py`: up to 15 MB).
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from cormorant.frontier.crawl import by_priority_and_depth
from cormorant.frontier.job_chapters import Chapters
from cormorant.frontier.job_ends import ENDS, code_named, code_of, tally_of, was_asked_for
from cormorant.frontier.job_labels import Labels
from cormorant.frontier.job_queues import HostQueues
from cormorant.frontier.job_rows import LINE, NO_HOST, NO_KEY, Row, Rows, notable, stored
from cormorant.frontier.job_seen import SeenRows
from cormorant.frontier.job_store import Mail, Store
from cormorant.frontier.ranked import Rank
from cormorant.interfaces import Committed, Entry, RobotsAnswer, Trace
from cormorant.messages import Failure, Headers, Kind, Outcome, Request, sealed

POSITION = "position"  # names in the book
INPUT_ROWS = "input_rows"  # behind the last row that came of the input
ALL_ROWS = 1 << 62
_BAD_LINE = Failure(url="", kind=Kind.BAD_URL, message="")


class Journal:
    """Implements `interfaces.Frontier` and `interfaces.Books` over an open `Store`; for one thread.

    All calls O(log ranks of the host).

    `headers` and `seconds` are those that requests usually have. Raises OutputError, naming the file, when it cannot
    be read or written. `left` counts what was found and is not committed as ended, `tally` the ends by `job_ends.ENDS`.
    """

    def __init__(self, store: Store, headers: Headers = (), seconds: float = 30.0) -> None:
        self._store = store
        self._rows = Rows(store, headers, seconds)
        labels = Labels(store)
        self._seen = SeenRows(self._rows, labels)
        self._chapters = Chapters(store, labels)
        self._queues = HostQueues(lambda row: by_priority_and_depth(self._rows.request(row)))
        self._first: dict[str, list[Request]] = {}  # the next one last
        self._leased: dict[_Identity, list[int]] = {}
        self._ended: deque[int] = deque()  # row << 8 | how, in the order in which outcomes are handed over
        self._services = array("Q")  # the same of those that ended without an outcome
        self._robots: list[RobotsAnswer] = []
        self._again: list[Entry] = []
        self._guests: list[Request] = []
        self._waiting = 0
        self.left = 0
        self.tally: Counter[str] = Counter()
        self._load()

    # --- the frontier ---

    def is_new(self, url: str, by: Request | None = None) -> bool:
        """Remember `url` as seen; returns whether it was not before.

        `by` is the request under way that is redirected there: without its end the mark means nothing.
        """
        if not self._seen.add(url):
            return False
        owners = self._leased.get(_identity(by)) if by is not None else None
        if owners:
            self._rows.own(len(self._rows), owners[0])
        return True

    def knows(self, url: str) -> bool:
        """Return whether `url` was seen before, and remember nothing."""
        return url in self._seen

    def add(self, host: str, request: Request, first: bool = False) -> None:
        """Put a new request behind those of its rank for its host, or one under way (a hop, a retry) before all."""
        if first:
            self._first.setdefault(host, []).append(request)
        else:
            rank = by_priority_and_depth(request)
            self._queues.put(host, self._rows.attach(request, (host, rank)), rank)
            self.left += 1
        self._waiting += 1

    def take(self, host: str) -> Request:
        """Take the first request of a host that has one. It stays open until it is settled and committed."""
        requests = self._first.get(host)
        if requests is not None:
            request = requests.pop()
            if not requests:
                del self._first[host]
        else:
            row = self._queues.pop(host)
            request = self._rows.request(row)
            self._leased.setdefault(_identity(request), []).append(row)
        self._waiting -= 1
        return request

    def has(self, host: str) -> bool:
        """Return whether anything waits for `host`."""
        return host in self._first or host in self._queues

    def hosts(self) -> list[str]:
        """Return the hosts that something waits for: whom a scheduler has to line up when it goes on with a job."""
        return list(self._queues)

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return (
            f"<Journal waiting={self._waiting} hosts={len(self._queues)} rows={len(self._rows)} "
            f"under_way={sum(map(len, self._leased.values()))} to_commit={len(self._ended)}>"
        )

    # --- ends ---

    def settle(self, request: Request, outcome: Outcome | None) -> None:
        """Note that a request has reached its end. Call it in the order in which outcomes are handed over.

        Call it before what the page leads to is added. `outcome` None: it ends, and nothing is handed over.
        """
        identity = _identity(request)
        self._end(self._leased[identity], identity, code_of(outcome), outcome is not None)

    def settle_line(self, text: str, line: int | None) -> None:
        """Note the outcome of a line that is no URL, in the same order."""
        request = Request(url=text, target=text, input=text, line=line)
        identity = (LINE, text, text, line)
        rows = self._leased.get(identity)
        if rows is None:
            rows = [self._rows.append(Row(LINE, request=request))]
            self.left += 1
        self._end(rows, identity, code_of(_BAD_LINE), True)

    def settle_guest(self, request: Request, outcome: Outcome) -> None:
        """Note the outcome of a request that another share began, in the same order; it is kept with its row."""
        identity = _identity(request)
        rows = self._leased.get(identity)
        if rows is None:
            request = msgspec.structs.replace(request, ending=sealed(outcome))
            rows = [self._rows.append(Row(NO_KEY, request=request))]
            self.left += 1
        self._end(rows, identity, code_of(outcome), True)

    def guests_again(self) -> list[Request]:
        """Return, once, the requests of that kind whose outcomes were not synced."""
        again, self._guests = self._guests, []
        return again

    def _end(self, rows: list[int], identity: _Identity, code: int, is_handed_over: bool) -> None:
        (self._ended if is_handed_over else self._services).append(rows.pop(0) << 8 | code)
        if not rows:
            self._leased.pop(identity, None)

    def lines_again(self) -> list[Entry]:
        """Return, once, the lines that are no URL whose outcomes were not synced: to be offered before all others.

        They were counted as offered before.
        """
        again, self._again = self._again, []
        return again

    def keep_robots(self, answer: RobotsAnswer) -> None:
        """Have the next commit keep what a host answered, together with the sitemaps that were queued for it."""
        self._robots.append(answer)

    def robots(self, at_most: int, keep_seconds: float) -> Iterator[RobotsAnswer]:
        """Yield what hosts answered within the last `keep_seconds`, the latest `at_most` of it, the oldest first."""
        return self._store.robots(at_most, keep_seconds)

    # --- commits ---

    @property
    def rows(self) -> int:
        """How many URLs were found."""
        return len(self._rows)

    @property
    def uncommitted_rows(self) -> int:
        """How many of them are in memory alone."""
        return self._rows.waiting

    def commit(
        self,
        written: int,
        committed: Committed | None,
        position: Any = None,
        counters: Mapping[str, Any] | None = None,
        mail: Mail | None = None,
    ) -> None:
        """Keep all that was found, and that the first `written` outcomes not committed yet are in `committed`.

        `committed` None: the sink has synced nothing, `written` must be 0. What ended without an outcome is kept in any
        case. `position` is where the input goes on after all lines that were offered: None leaves the last. `counters`
        are values of the book; those that count outcomes must count the ones that are committed. `mail` is what
        the share of a fleet has for others. Raises OutputError; then nothing of it is kept.
        """
        assert committed is not None or not written, "nothing is settled that no sync covers"
        assert written <= len(self._ended), f"{written} outcomes were written that were never settled"
        ended = self._services + array("Q", islice(self._ended, written))
        book = dict(counters or {})
        if position is not None:
            book[POSITION] = position
        rows = {row >> 8 for row in ended}
        with self._store.transaction():
            self._rows.put(rows)
            self._chapters.put(self._rows.new(), rows)
            self._store.put_ended(ended)
            self._store.put(book)
            self._store.put_robots(self._robots)
            if mail is not None:
                self._store.put_mail(mail)
            if committed is not None:
                self._store.put_committed(committed)
        self._rows.put_down(rows)
        self._robots.clear()
        self._count(written, ended)

    def _count(self, written: int, ended: array[int]) -> None:
        for _ in range(written):
            self._ended.popleft()
        del self._services[:]
        self.tally.update(ENDS[row & 0xFF] for row in ended)
        self.left -= len(ended)

    # --- going on ---

    def _load(self) -> None:
        """Take in what was seen and what is to be fetched, from the chapters."""
        ended = self._store.ended()
        self.tally = tally_of(ended)
        self._chapters.load(ended)
        self._seen.load(self._chapters.seen(), self._chapters.seen_by_redirects())
        self._queues.load(self._open(ended))

    def _open(self, ended: bytearray) -> Iterator[tuple[str, Rank, Sequence[int]]]:
        """Yield the requests that are open, by host and rank; remember the lines that are no URL."""
        for host, rank, rows in self._chapters.open(ended):
            self.left += len(rows)
            if host != NO_HOST:
                self._waiting += len(rows)
                yield host, rank, rows
                continue
            for row in rows:
                request = self._rows.request(row)
                if request.ending is not None:
                    self._leased.setdefault(_identity(request), []).append(row)
                    self._guests.append(request)
                    continue
                self._leased.setdefault((LINE, request.url, request.url, request.line), []).append(row)
                self._again.append((request.input, request.line))

    @property
    def asked_for(self) -> int:
        """How many pages were asked for, and have ended."""
        return sum(count for name, count in self.tally.items() if was_asked_for(code_named(name)))

    def trail(self, is_whole: bool = False) -> Iterator[Trace]:
        """Yield what a crawl has found so far, in the order in which it was found.

        Each request, as (request, None, whether it was asked for); each redirect of one that has ended, as (request,
        key of the target, True). Not `is_whole`: of what is no seed only what bounds count without being told of every
        page. Some 4 µs for each that is yielded.
        """
        ended, last = self._store.ended(), dict[int, str]()
        rows = stored(self._store) if is_whole else notable(self._store, self._store.value(INPUT_ROWS, ALL_ROWS))
        for row, url, key, owner, rest in rows:
            if owner is not None:
                assert key is not None
                request = self._rows.request(owner)
                yield msgspec.structs.replace(request, target=last.get(owner, request.target)), key, True
                last[owner] = key
            elif url is not None and key != LINE:
                yield self._rows.revive(url, rest), None, was_asked_for(ended[row])


_Identity = tuple[str, str, str, int | None]


def _identity(request: Request) -> _Identity:
    """Return what a request keeps through redirects and retries: requests that share it stand for each other."""
    return request.purpose.value, request.url, request.input, request.line

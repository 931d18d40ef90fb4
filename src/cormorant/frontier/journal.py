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
  settles nothing. What ended waits in memory, some hundred bytes each, until a sync covers it.
* *A service* (a sitemap) has no outcome: it ends with the next commit that covers the outcomes before it. What it led
  to is in rows by then.
* *A commit that failed* is the last: see `job_store.py`.

Memory: eight bytes for each URL waiting, its host, and the seen-set; rows and ends since the last commit.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from cormorant import urls
from cormorant.frontier.crawl import by_priority_and_depth
from cormorant.frontier.job_ends import ENDS, OPEN, code_of, tally_of
from cormorant.frontier.job_queues import HostQueues
from cormorant.frontier.job_rows import LINE, Rows, keys, rank_parts, stored
from cormorant.frontier.job_seen import SeenRows
from cormorant.frontier.job_store import RobotsAnswer, Store
from cormorant.interfaces import Committed, Entry
from cormorant.messages import Failure, Headers, Kind, Outcome, Purpose, Request

POSITION = "position"  # names in the book
_BAD_LINE = Failure(url="", kind=Kind.BAD_URL, message="")


class Journal:
    """Implements `interfaces.Frontier` over an open `Store`; for one thread. All calls O(log ranks of the host).

    `headers` and `seconds` are those that requests usually have. Raises OutputError, naming the file, when it cannot
    be read or written. `left` counts what was found and is not committed as ended, `tally` the ends by `job_ends.ENDS`.
    """

    def __init__(self, store: Store, headers: Headers = (), seconds: float = 30.0) -> None:
        self._store = store
        self._rows = Rows(store, headers, seconds)
        self._seen = SeenRows(self._rows)
        self._queues = HostQueues(lambda row: by_priority_and_depth(self._rows.request(row)))
        self._first: dict[str, list[Request]] = {}  # the next one last
        self._leased: dict[_Identity, list[int]] = {}
        self._ended: deque[tuple[int, bool]] = deque()  # row << 8 | how, and whether an outcome was handed over
        self._robots: list[RobotsAnswer] = []
        self._again: list[Entry] = []
        self._waiting = 0
        self.left = 0
        self.tally: Counter[str] = Counter()
        self.position: Any = store.value(POSITION)
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
            self._queues.put(host, self._rows.attach(request), by_priority_and_depth(request))
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

    def settle(self, request: Request, outcome: Outcome, is_handed_over: bool = True) -> None:
        """Note that a request has reached its end. Call it in the order in which outcomes are handed over.

        Call it before what the page leads to is added. Requests that never were in the frontier (for a robots.txt,
        for an address) are ignored.
        """
        rows = self._leased.get(_identity(request))
        if rows is None:
            assert not is_handed_over, f"{request.url} has an outcome, and was never taken"
            return
        self._end(rows, _identity(request), code_of(outcome, is_handed_over), is_handed_over)

    def settle_line(self, text: str, line: int | None) -> None:
        """Note the outcome of a line that is no URL, in the same order."""
        request = Request(url=text, target=text, input=text, line=line)
        identity = (LINE, text, text, line)
        rows = self._leased.get(identity)
        if rows is None:
            rows = [self._rows.append(request, LINE)]
            self.left += 1
        self._end(rows, identity, code_of(_BAD_LINE, True), True)

    def _end(self, rows: list[int], identity: _Identity, code: int, is_handed_over: bool) -> None:
        self._ended.append((rows.pop(0) << 8 | code, is_handed_over))
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

    # --- commits ---

    def commit(
        self,
        written: int,
        committed: Committed | None,
        position: Any = None,
        counters: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep all that was found, and that the first `written` outcomes not committed yet are in `committed`.

        `committed` None: the sink has synced nothing, `written` must be 0. `position` is where the input goes on
        after all lines that were offered: None leaves the last. `counters` are values of the book; those that count
        outcomes must count the ones that are committed. Raises OutputError; then nothing of it is kept.
        """
        assert committed is not None or not written, "nothing is settled that no sync covers"
        ended = self._covered(written) if committed is not None else array("Q")
        book = dict(counters or {})
        if position is not None:
            book[POSITION] = position
        rows = {row >> 8 for row in ended}
        with self._store.transaction():
            self._rows.put(rows)
            self._store.put_ended(ended)
            self._store.put(book)
            self._store.put_robots(self._robots)
            if committed is not None:
                self._store.put_committed(committed)
        self._rows.put_down(rows)
        self._robots.clear()
        self._count(ended)
        self.position = book.get(POSITION, self.position)

    def _count(self, ended: array[int]) -> None:
        for row in ended:
            self._ended.popleft()
            self.tally[ENDS[row & 0xFF]] += 1
        self.left -= len(ended)

    def _covered(self, written: int) -> array[int]:
        """Return the rows of the first `written` outcomes, and of the services up to the next one."""
        rows = array("Q")
        for row, is_handed_over in self._ended:
            written -= is_handed_over
            if written < 0:
                return rows
            rows.append(row)
        assert not written, f"{written} outcomes were written that were never settled"
        return rows

    # --- going on ---

    def _load(self) -> None:
        """Read all rows once for what was seen, and again from the first open one on for what is to be fetched."""
        ended = self._store.ended()
        self._seen.load(keys(self._store))
        self.tally = tally_of(ended)
        first_open = ended.find(OPEN, 1)
        if first_open < 0:
            return
        for row, url, key, _, rest in stored(self._store, first_open):
            if url is not None and not ended[row]:
                self.left += 1
                self._open(row, url, key, rest)

    def _open(self, row: int, url: str | bytes, key: str | None, rest: bytes | None) -> None:
        if key == LINE:
            request = self._rows.revive(url, rest)
            self._leased.setdefault((LINE, request.url, request.url, request.line), []).append(row)
            self._again.append((request.input, request.line))
            return
        assert isinstance(url, str)
        priority, depth = rank_parts(rest)
        self._queues.put(urls.origin(url), row, (-priority, depth))
        self._waiting += 1

    def trail(self) -> Iterator[tuple[Request, str | None]]:
        """Yield what a crawl's bounds have to be told when it goes on, in the order in which it was found.

        Each page that was queued, as (request, None); each redirect of one that has ended, as (request, key of the
        target). Reads all rows: some 4 µs each.
        """
        for _, url, key, owner, rest in stored(self._store):
            if owner is not None:
                assert key is not None
                yield self._rows.request(owner), key
            elif url is not None and key != LINE:
                request = self._rows.revive(url, rest)
                if request.purpose is Purpose.PAGE:
                    yield request, None


_Identity = tuple[str, str, str, int | None]


def _identity(request: Request) -> _Identity:
    """Return what a request keeps through redirects and retries: requests that share it stand for each other."""
    return request.purpose.value, request.url, request.input, request.line
